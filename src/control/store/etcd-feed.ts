/**
 * Follows a store on etcd: everything that changes below `live/`, once and in etcd's order. A watch that ends is begun anew where it
 * ended, with another member; one that comes too late, because etcd has compacted what it missed, is replaced by a fresh look at all.
 */
import { limits } from '../../model/limits.ts';
import type { EtcdCalls, EtcdEvent } from './etcd-calls.ts';
import type { StoreClock } from './store.ts';
import { reasonOf } from './store-error.ts';

export interface EtcdFeedOptions {
  readonly calls: EtcdCalls;
  readonly range: { readonly from: string; readonly to: string };
  readonly clock: StoreClock;
  /** One call after the other. When it rejects, `relist` is called. Must bear events that it has had before. */
  readonly apply: (events: readonly EtcdEvent[]) => Promise<void>;
  /** Takes in everything as it is, and answers at which revision of etcd. Called again, after a pause, until it resolves. */
  readonly relist: () => Promise<number>;
  /** `seen` has gone on. */
  readonly onSeen: () => void;
  /** Something was amiss, and is being mended. */
  readonly onTrouble: (message: string) => void;
}

export class EtcdFeed {
  readonly #options: EtcdFeedOptions;
  /** Up to where events were received, and up to where they were applied. */
  #received = 0;
  #seen = 0;
  #work: Promise<void> = Promise.resolve();
  #endWatch: () => void = () => {};
  #cancelPause: () => void = () => {};
  #isRelisting = false;
  #complaint = '';
  #isClosed = false;

  constructor(options: EtcdFeedOptions) {
    this.#options = options;
  }

  /** etcd's revision up to which all has been applied. */
  get seen(): number {
    return this.#seen;
  }

  start(afterEtcdRevision: number): void {
    this.#received = afterEtcdRevision;
    this.#seen = afterEtcdRevision;
    this.#open();
  }

  /** The member that is watched tells nothing though there is something: it may have lost the others. Watches through the next one. */
  restart(): void {
    if (this.#isClosed || this.#isRelisting) return;
    this.#options.calls.leaveMember();
    this.#open();
  }

  /** Resolves when nothing is applied any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#endWatch();
    this.#cancelPause();
    await this.#work;
  }

  #open(): void {
    const { calls, range } = this.#options;
    this.#endWatch();
    this.#cancelPause();
    this.#endWatch = calls.watch(
      { ...range, afterEtcdRevision: this.#received },
      {
        onEvents: (events, etcdRevision) => this.#receive(events, etcdRevision),
        onEnd: ({ isCompacted, message }) => {
          if (this.#isClosed) return;
          if (isCompacted) this.#relistSoon(`etcd has compacted what came meanwhile: ${message}`);
          else this.#pause(() => this.#open());
        },
      },
    );
  }

  #receive(events: readonly EtcdEvent[], etcdRevision: number): void {
    this.#received = etcdRevision;
    this.#work = this.#work.then(async () => {
      if (this.#isClosed || this.#isRelisting || etcdRevision <= this.#seen) return;
      try {
        await this.#options.apply(events);
        this.#seen = etcdRevision;
        this.#options.onSeen();
      } catch (error) {
        this.#relistSoon(`what came could not be replayed: ${reasonOf(error)}`);
      }
    });
  }

  #relistSoon(reason: string): void {
    if (this.#isRelisting) return;
    this.#isRelisting = true;
    this.#endWatch();
    this.#cancelPause();
    this.#complain(`The store on etcd is read anew: ${reason}.`);
    this.#work = this.#work.then(() => this.#relist());
  }

  async #relist(): Promise<void> {
    if (this.#isClosed) return;
    try {
      const etcdRevision = await this.#options.relist();
      this.#isRelisting = false;
      this.#complaint = '';
      this.#received = etcdRevision;
      this.#seen = etcdRevision;
      this.#options.onSeen();
      if (!this.#isClosed) this.#open();
    } catch (error) {
      this.#complain(`The store on etcd could not be read: ${reasonOf(error)} It is tried again.`);
      this.#pause(() => {
        this.#work = this.#work.then(() => this.#relist());
      });
    }
  }

  /** What lasts is said once. */
  #complain(message: string): void {
    if (message === this.#complaint) return;
    this.#complaint = message;
    this.#options.onTrouble(message);
  }

  #pause(then: () => void): void {
    this.#cancelPause();
    this.#cancelPause = this.#options.clock.after(limits.etcdRetryMs, then);
  }
}
