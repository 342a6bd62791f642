/** The other control planes on a store of etcd, as far as their keys say: who lives, what each says of itself, who leads. */
import type { EtcdLeader, EtcdNote } from './etcd-state.ts';
import type { StoreReplica } from './store.ts';

export class EtcdReplicas {
  readonly #ownId: string;
  readonly #notes = new Map<string, EtcdNote>();
  #leader: EtcdLeader | null = null;

  constructor(ownId: string) {
    this.#ownId = ownId;
  }

  /** Maybe this one. */
  get leader(): EtcdLeader | null {
    return this.#leader;
  }

  get isLeader(): boolean {
    return this.#leader?.id === this.#ownId;
  }

  setLeader(leader: EtcdLeader | null): void {
    this.#leader = leader;
  }

  take(note: EtcdNote): void {
    this.#notes.set(note.id, note);
  }

  drop(id: string): void {
    this.#notes.delete(id);
  }

  /** Null: it is gone, or is this one. */
  get(id: string): StoreReplica | null {
    const known = this.#notes.get(id);
    return known === undefined ? null : { id, note: known.note, isLeader: this.#leader?.id === id };
  }

  *all(): Iterable<StoreReplica> {
    for (const id of this.#notes.keys()) yield this.get(id)!;
  }

  /** etcd's revision of its note; 0: it has none. */
  toldAt(id: string): number {
    const known = this.#notes.get(id);
    return known === undefined || known.note === '' ? 0 : known.modRevision;
  }
}
