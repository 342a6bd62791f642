/**
 * The presence of one control plane on etcd: a lease of etcd's that it renews while it lives, and under it the key by which the others know
 * of it, and leadership, when it has that. With the lease both go.
 */
import { limits } from '../../model/limits.ts';
import type { EtcdCalls } from './etcd-calls.ts';
import type { EtcdKeys } from './etcd-keys.ts';
import type { EtcdOutage } from './etcd-outage.ts';
import type { StoreClock } from './store.ts';
import { reasonOf } from './store-error.ts';

/** How soon it is tried again while etcd does not answer. */
const retryMs = 1_000;

export interface EtcdSessionOptions {
  readonly calls: EtcdCalls;
  readonly keys: EtcdKeys;
  readonly replicaId: string;
  readonly clock: StoreClock;
  /** Told how each tick went. */
  readonly outage: EtcdOutage;
  /** Nobody leads, as far as is known here. */
  readonly isLeaderless: () => boolean;
  /** The others know of this control plane, and nothing else yet: what it had told them it must tell again. */
  readonly onEstablished: () => void;
  /** Called regularly while it is established. Rejections are told to `onTrouble`. */
  readonly onTick: () => Promise<void>;
  readonly onTrouble: (message: string) => void;
}

export class EtcdSession {
  readonly #options: EtcdSessionOptions;
  #lease: string | null = null;
  #isClosed = false;
  #cancelTick: () => void = () => {};
  #ticking: Promise<void> = Promise.resolve();
  #isTicking = false;
  /** The next look is due at once. */
  #isHurried = false;
  /** One line for each outage. */
  #isTroubled = false;

  constructor(options: EtcdSessionOptions) {
    this.#options = options;
  }

  /** Null: not established just now. */
  get lease(): string | null {
    return this.#lease;
  }

  /** Rejects with EtcdFailure. */
  async open(): Promise<void> {
    await this.#establish();
    this.#schedule();
  }

  /** Looks at once what else it looks at regularly: after somebody has left. */
  hurry(): void {
    if (this.#lease === null) return;
    this.#isHurried = true;
    if (!this.#isTicking) this.#schedule();
  }

  /** The others see at once that it is gone. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelTick();
    await this.#ticking;
    const lease = this.#lease;
    this.#lease = null;
    if (lease !== null) await this.#options.calls.endLease(lease);
  }

  #schedule(): void {
    if (this.#isClosed) return;
    const ms = this.#isHurried ? 0 : this.#isTroubled ? retryMs : limits.replicaRenewMs;
    this.#cancelTick();
    this.#cancelTick = this.#options.clock.after(ms, () => {
      this.#isHurried = false;
      this.#isTicking = true;
      this.#ticking = this.#tick().finally(() => {
        this.#isTicking = false;
        this.#schedule();
      });
    });
  }

  async #tick(): Promise<void> {
    const { calls, outage, isLeaderless, onTick, onTrouble } = this.#options;
    try {
      if (this.#lease !== null && !(await calls.keepLease(this.#lease))) this.#lease = null;
      if (this.#isClosed) return;
      if (this.#lease === null) await this.#establish();
      else if (isLeaderless()) await this.#elect(this.#lease);
      await onTick();
      outage.ended();
      this.#isTroubled = false;
    } catch (error) {
      outage.failed(error);
      const reason = reasonOf(error).replace(/\.$/, '');
      if (!this.#isTroubled) onTrouble(`etcd does not answer as it should: ${reason}. It is tried again.`);
      this.#isTroubled = true;
    }
  }

  async #establish(): Promise<void> {
    const { calls, keys, replicaId, isLeaderless, onEstablished } = this.#options;
    const lease = await calls.grantLease(limits.replicaLeaseMs);
    await calls.write([], [{ tag: 'put', key: keys.replica(replicaId), value: '', lease }]);
    if (isLeaderless()) await this.#elect(lease);
    this.#lease = lease;
    onEstablished();
  }

  /** Who creates the key leads until its lease ends. */
  async #elect(lease: string): Promise<void> {
    const { calls, keys, replicaId } = this.#options;
    const isFree = { key: keys.leader, at: 'createRevision', is: 0 } as const;
    await calls.write([isFree], [{ tag: 'put', key: keys.leader, value: replicaId, lease }]);
  }
}
