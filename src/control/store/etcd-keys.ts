/**
 * The keys of a store on etcd. Below `live/` is what every control plane watches: the head, the revisions, the leases, who is there.
 * Below `bulk/` is what is too large for one value, as chunks: nobody watches it, whoever needs it reads it.
 */

const digits = 16;

/** Sorts as the number does. */
const padded = (revision: number): string => String(revision).padStart(digits, '0');

export type LiveKey =
  | { readonly tag: 'format' | 'head' | 'base' | 'leader' }
  | { readonly tag: 'revision'; readonly revision: number }
  | { readonly tag: 'lease' | 'replica'; readonly id: string }
  /** A newer Weft's, or somebody else's. */
  | { readonly tag: 'unknown' };

export class EtcdKeys {
  /** Of everything. `to` is the first key behind it: "0" comes after "/". */
  readonly all: { readonly from: string; readonly to: string };
  readonly live: { readonly from: string; readonly to: string };
  readonly bulk: { readonly from: string; readonly to: string };
  /** Version of this layout. */
  readonly format: string;
  /** The newest revision: it moves by compare-and-swap, and whatever is not below it does not exist. */
  readonly head: string;
  /** Where a reader begins: a snapshot of all objects as of a revision. */
  readonly base: string;
  /** Who does what only one may do. */
  readonly leader: string;

  /** `prefix` without slashes at its ends. */
  constructor(prefix: string) {
    this.all = { from: `${prefix}/`, to: `${prefix}0` };
    this.live = { from: `${prefix}/live/`, to: `${prefix}/live0` };
    this.bulk = { from: `${prefix}/bulk/`, to: `${prefix}/bulk0` };
    this.format = `${this.live.from}format`;
    this.head = `${this.live.from}head`;
    this.base = `${this.live.from}base`;
    this.leader = `${this.live.from}leader`;
  }

  revision(revision: number): string {
    return `${this.live.from}revision/${padded(revision)}`;
  }

  lease(id: string): string {
    return `${this.live.from}lease/${id}`;
  }

  replica(id: string): string {
    return `${this.live.from}replica/${id}`;
  }

  /** A chunk of a revision. Two writers of the same one do not meet: each has an id of its own, and the revision names the winner's. */
  revisionChunk(revision: number, id: string, index: number): string {
    return `${this.bulk.from}revision/${padded(revision)}/${id}/${padded(index)}`;
  }

  snapshotChunk(revision: number, id: string, index: number): string {
    return `${this.bulk.from}snapshot/${padded(revision)}/${id}/${padded(index)}`;
  }

  /** The revisions before `revision`, and their chunks. */
  revisionsBefore(revision: number): readonly { readonly from: string; readonly to: string }[] {
    return [
      { from: this.revision(0), to: this.revision(revision) },
      { from: `${this.bulk.from}revision/`, to: `${this.bulk.from}revision/${padded(revision)}` },
    ];
  }

  snapshotsBefore(revision: number): { readonly from: string; readonly to: string } {
    return { from: `${this.bulk.from}snapshot/`, to: `${this.bulk.from}snapshot/${padded(revision)}` };
  }

  /** What a key below `live/` is of. */
  parse(key: string): LiveKey {
    const [kind = '', ...rest] = key.slice(this.live.from.length).split('/');
    switch (kind) {
      case 'format':
      case 'head':
      case 'base':
      case 'leader':
        return { tag: kind };
      case 'revision':
        return /^\d{16}$/.test(rest[0] ?? '') ? { tag: 'revision', revision: Number(rest[0]) } : { tag: 'unknown' };
      case 'lease':
      case 'replica':
        // Whatever is in it: an id is opaque here.
        return { tag: kind, id: rest.join('/') };
      default:
        return { tag: 'unknown' };
    }
  }
}
