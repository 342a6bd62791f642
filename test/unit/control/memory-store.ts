/** A Store in memory with the leases of the real drivers, and a clock that tests own. */
import type {
  Commit,
  CommitResult,
  Revision,
  Store,
  StoreClock,
  StoredLease,
  StoredObject,
  StoreEvent,
  StoreOutage,
  StoreReplica,
} from '../../../src/control/store/store.ts';
import type { Resource } from '../../../src/model/resources.ts';
import { keyOf } from '../../../src/model/resources.ts';

export class ManualClock implements StoreClock {
  #nowMs = 1_000_000;
  readonly #timers = new Set<{ atMs: number; run: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Runs what falls due, in order. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const due = [...this.#timers].filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      this.#timers.delete(due);
      due.run();
    }
    this.#nowMs = untilMs;
  }
}

export class MemoryStore implements Store {
  revision = 0;
  readonly commits: Revision[] = [];
  leaseWrites = 0;
  /** Set to make the next lease write fail. */
  leaseFault: Error | null = null;
  /** Whether this one is the leader. */
  isLeader = true;
  /** Set to make the next commits fail. */
  commitFault: Error | null = null;
  /** Runs once, right before the next commit: somebody else who writes meanwhile. */
  beforeCommit: (() => Promise<unknown>) | null = null;
  readonly #madeBy = new Map<string, Revision>();
  readonly #objects = new Map<string, StoredObject>();
  readonly #leases = new Map<string, StoredLease & { cancel: () => void }>();
  readonly #listeners = new Set<(event: StoreEvent) => void>();
  readonly #clock: StoreClock;

  constructor(clock: StoreClock) {
    this.#clock = clock;
  }

  /** Set to refuse writes. */
  outage: StoreOutage | null = null;
  /** Set to be cut off from the store since then. */
  cutOffAtMs: number | null = null;

  get knownAtMs(): number {
    return this.cutOffAtMs ?? this.#clock.nowMs();
  }

  get(key: string): StoredObject | null {
    return this.#objects.get(key) ?? null;
  }

  list(): Iterable<StoredObject> {
    return this.#objects.values();
  }

  async commit({ expect, changes, who, message, requestId, atMs, onlyAsLeader }: Commit): Promise<CommitResult> {
    const { beforeCommit } = this;
    this.beforeCommit = null;
    await beforeCommit?.();
    if (this.commitFault !== null) throw this.commitFault;
    if (onlyAsLeader === true && !this.isLeader) return { tag: 'not-leading' };
    const made = this.madeBy(requestId);
    if (made !== null) return { tag: 'committed', revision: made.revision };
    for (const [key, expected] of expect) {
      const actual = this.#objects.get(key)?.revision ?? 0;
      if (actual !== expected) return { tag: 'conflict', key, expected, actual };
    }
    this.revision++;
    const done = Array.from(changes, ([key, after]) => {
      const before = this.#objects.get(key)?.value ?? null;
      if (after === null) this.#objects.delete(key);
      else this.#objects.set(key, { key, value: after, revision: this.revision });
      return { key, before, after };
    });
    const revision = { revision: this.revision, who, message, atMs, changes: done };
    this.commits.push(revision);
    if (requestId !== '') this.#madeBy.set(requestId, revision);
    this.#emit({ tag: 'revision', revision });
    return { tag: 'committed', revision: this.revision };
  }

  /** Writes resources under the next revision; a string is the key of one to delete. */
  async put(...resources: (Resource | string)[]): Promise<number> {
    const changes = new Map(
      resources.map((of): [string, string | null] =>
        typeof of === 'string' ? [of, null] : [keyOf(of), JSON.stringify(of)],
      ),
    );
    await this.commit({ expect: new Map(), changes, who: 'test', message: '', requestId: '', atMs: 0 });
    return this.revision;
  }

  revisionsAfter(from: number): readonly Revision[] {
    return this.commits.filter(({ revision }) => revision > from);
  }

  madeBy(requestId: string): Revision | null {
    return this.#madeBy.get(requestId) ?? null;
  }

  history(limit: number): readonly Revision[] {
    return this.commits.slice(-limit).reverse();
  }

  async putLease(id: string, value: string, ttlMs: number): Promise<void> {
    this.leaseWrites++;
    if (this.leaseFault !== null) throw this.leaseFault;
    await Promise.resolve();
    this.#leases.get(id)?.cancel();
    const cancel = this.#clock.after(ttlMs, () => this.#end(id));
    const lease = { id, value, endsAtMs: this.#clock.nowMs() + ttlMs, cancel };
    const isRenewal = this.#leases.get(id)?.value === value;
    this.#leases.set(id, lease);
    if (!isRenewal) this.#emit({ tag: 'lease', id, lease });
  }

  async deleteLease(id: string): Promise<void> {
    await Promise.resolve();
    this.#leases.get(id)?.cancel();
    this.#end(id);
  }

  leases(): Iterable<StoredLease> {
    return this.#leases.values();
  }

  async sync(): Promise<void> {}

  /** Set to have others: a note for each, and whose leases they hold. */
  readonly others = new Map<string, StoreReplica>();
  readonly held = new Map<string, string>();
  readonly untold = new Set<string>();
  told: (() => string) | null = null;
  readonly replicaId = 'self';

  replicas(): Iterable<StoreReplica> {
    return this.others.values();
  }

  tell(compose: () => string): void {
    this.told = compose;
  }

  holderOf(leaseId: string): StoreReplica | null {
    return this.others.get(this.held.get(leaseId) ?? '') ?? null;
  }

  isTold(leaseId: string): boolean {
    return !this.untold.has(leaseId);
  }

  /** Another control plane says this of itself; null: it is gone. */
  hear(id: string, note: string | null): void {
    const replica = note === null ? null : { id, note, isLeader: false };
    if (replica === null) this.others.delete(id);
    else this.others.set(id, replica);
    this.#emit({ tag: 'replica', id, replica });
  }

  subscribe(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {}

  #end(id: string): void {
    if (this.#leases.delete(id)) this.#emit({ tag: 'lease', id, lease: null });
  }

  #emit(event: StoreEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

export const silentLogger = { debug() {}, info() {}, warn() {}, error() {}, fatal() {} };

export const service = (name: string, ...endpoints: string[]): Resource => ({
  apiVersion: 'weft.mesh/v1',
  kind: 'Service',
  metadata: { name },
  spec: endpoints.length === 0 ? {} : { endpoints },
});

export const route = (name: string, parent: string, backends: string[], hostnames: string[] = []): Resource => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name },
  spec: {
    parentRefs: [{ name: parent }],
    ...(hostnames.length === 0 ? {} : { hostnames }),
    rules: [{ backendRefs: backends.map((backend) => ({ name: backend })) }],
  },
});

export const policy = (name: string, kind: 'Service' | 'HTTPRoute', target: string): Resource => ({
  apiVersion: 'weft.mesh/v1',
  kind: 'TrafficPolicy',
  metadata: { name },
  spec: { targetRefs: [{ kind, name: target }], timeouts: { request: '1s' } },
});
