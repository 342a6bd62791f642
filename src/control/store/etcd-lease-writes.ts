/** The lease changes of one control plane on etcd: those of one turn of the event loop are written together, and the ends of leases in time. */
import { limits } from '../../model/limits.ts';
import type { EtcdLeases } from './etcd-leases.ts';
import type { EtcdLease } from './etcd-state.ts';
import type { EtcdWriter, LeaseView } from './etcd-writer.ts';
import { LeaseBatch } from './lease-batch.ts';
import { StoreError } from './store-error.ts';
import type { WriteQueue } from './write-queue.ts';

export interface EtcdLeaseWritesOptions {
  readonly leases: EtcdLeases;
  readonly queue: WriteQueue;
  readonly writer: EtcdWriter;
  readonly view: (untilMs: number) => Omit<LeaseView, 'known'>;
  readonly onTrouble: (error: unknown) => void;
}

export class EtcdLeaseWrites {
  readonly #options: EtcdLeaseWritesOptions;
  /** Null: the next change begins a batch, behind what was asked for meanwhile. */
  #gathering: LeaseBatch | null = null;
  /** Ended here, and still in etcd as far as is known. */
  readonly #unwrittenEnds = new Map<string, EtcdLease>();

  constructor(options: EtcdLeaseWritesOptions) {
    this.#options = options;
  }

  /** Something else is asked for: lease changes that follow are written behind it. */
  seal(): void {
    this.#gathering = null;
  }

  /** A renewal asks nothing of etcd: as long as this control plane lives, it says what lives here. */
  async put(id: string, value: string, ttlMs: number): Promise<void> {
    const { leases } = this.#options;
    const known = leases.get(id);
    if (this.#gathering?.get(id) === undefined && known?.value === value && leases.isOwn(id)) {
      leases.renew(id, ttlMs);
      return;
    }
    if (known === null && leases.size >= limits.leasesMax)
      throw new StoreError(
        'store-full',
        `The store keeps at most ${limits.leasesMax} leases. Withdraw some, then try again.`,
      );
    const batch = this.#open();
    batch.add({ id, lease: leases.drawUp(id, value, ttlMs) });
    await batch.written;
  }

  async delete(id: string): Promise<void> {
    if (this.#gathering?.get(id) === undefined && this.#options.leases.get(id) === null) return;
    const batch = this.#open();
    batch.add({ id, lease: null });
    await batch.written;
  }

  /** They have ended here, whether etcd answers or not; there they end as they were, so that what somebody has put since stays. */
  end(ended: readonly EtcdLease[]): void {
    for (const lease of ended) this.#unwrittenEnds.set(lease.id, lease);
    this.writeEnds();
  }

  /** etcd has another one of this id by now, or none. */
  forget(id: string): void {
    this.#unwrittenEnds.delete(id);
  }

  /** Once more for those that could not be written. */
  writeEnds(): void {
    if (this.#unwrittenEnds.size === 0) return;
    const ended = [...this.#unwrittenEnds.values()];
    this.seal();
    const { queue, writer, onTrouble } = this.#options;
    queue
      .add(async (untilMs) => {
        await writer.deleteLeases(ended, untilMs);
        for (const lease of ended)
          if (this.#unwrittenEnds.get(lease.id) === lease) this.#unwrittenEnds.delete(lease.id);
      })
      .catch(onTrouble);
  }

  /** As etcd has it. */
  #known(id: string): EtcdLease | null {
    return this.#options.leases.get(id) ?? this.#unwrittenEnds.get(id) ?? null;
  }

  #open(): LeaseBatch {
    if (this.#gathering !== null) return this.#gathering;
    const batch = new LeaseBatch();
    this.#gathering = batch;
    const { queue, writer, view } = this.#options;
    queue
      .add((untilMs) => {
        if (this.#gathering === batch) this.#gathering = null;
        return writer.writeLeases(batch.outcome(), { ...view(untilMs), known: (id) => this.#known(id) });
      })
      .then(
        () => batch.resolve(),
        (thrown: unknown) => batch.reject(thrown),
      );
    return batch;
  }
}
