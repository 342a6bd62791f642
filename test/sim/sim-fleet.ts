/** Many simulated sidecars in one process: who they are, their clockwork, and what came of the changes. */
import { limits } from '../../src/model/limits.ts';
import type { Registration } from '../../src/model/registration.ts';
import { silenceLookMs } from '../../src/sidecar/silence.ts';
import { emptyState } from './held-states.ts';
import { type Counts, noCounts, type SidecarPlan, SimSidecar } from './sim-sidecar.ts';

export interface FleetPlan {
  /** Numbers of its sidecars in the whole simulation. */
  readonly from: number;
  readonly count: number;
  /** Services of the mesh beside `common`; the sidecars are spread over them. */
  readonly services: number;
  /** Services that each calls: `common` and those that follow its own. */
  readonly calls: number;
  /** Different sets of subscriptions among the sidecars of a Service: so many scopes it has. */
  readonly sets: number;
  /** Each registers an endpoint of its Service. */
  readonly registers: boolean;
  /** `HOST:PORT` of the control plane's API. */
  readonly api: string;
  /** Of this machine: each process has one of its own, and with it ephemeral ports of its own. */
  readonly localAddress: string;
  /** Sidecars that start in a second. */
  readonly joinPerSecond: number;
  /** How long a change takes to come into force on each. */
  readonly applyMs: number;
}

export interface FleetStatus {
  readonly sidecars: number;
  /** Connected, with a first ChangeSet in force. */
  readonly synced: number;
  /** In force on those. */
  readonly revisionMin: number;
  readonly revisionMax: number;
  /** Objects that each holds. */
  readonly objectsMin: number;
  readonly objectsMax: number;
  readonly counts: Counts;
  /** What must not happen, and how often it did. */
  readonly faults: Readonly<Record<string, number>>;
}

export const commonService = 'common';
export const serviceName = (index: number): string => `service-${index}`;

const tickMs = 50;
const ticksPerRenewal = limits.leaseRenewMs / tickMs;
const ticksPerReport = limits.reportIntervalMs / tickMs;
const ticksPerLook = silenceLookMs / tickMs;
/** A process that was stopped does not make up for all that it has missed. */
const ticksAtOnceMax = ticksPerRenewal;
/** Times are kept of so many revisions. */
const revisionsKeptMax = 1_000;

const registrationAt = (host: string, index: number): Registration => ({
  ...{ address: `${host}:8080`, zone: `zone-${index % 3}`, labels: {}, weight: 1, link: [`${host}:15008`] },
});

/** A host that some sidecars subscribe to and that no Service has. */
export const unknownHost = (set: number): string => `nothing-${set}`;

export function planOf(
  index: number,
  { services, calls, sets, registers }: Pick<FleetPlan, 'services' | 'calls' | 'sets' | 'registers'>,
): SidecarPlan {
  const own = index % services;
  const set = Math.floor(index / services) % sets;
  const others = Array.from({ length: calls - 1 }, (_, i) => serviceName((own + 1 + i) % services));
  const host = `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;
  return {
    sidecar: `sim-${index}`,
    service: serviceName(own),
    services: [commonService, ...others],
    unknown: sets > 1 ? [unknownHost(set)] : [],
    registration: registers ? registrationAt(host, index) : null,
  };
}

export class SimFleet {
  readonly #plan: FleetPlan;
  readonly #nowMs: () => number;
  readonly #sidecars: readonly SimSidecar[];
  readonly #counts = noCounts();
  readonly #faults = new Map<string, number>();
  /** When each sidecar had a revision in force, by revision. */
  readonly #appliedAtMs = new Map<number, number[]>();
  #syncedAtMs: number[] = [];
  /** Those that are connected, by the tick at which they renew. */
  readonly #byTick: Set<SimSidecar>[] = Array.from({ length: ticksPerRenewal }, () => new Set());
  readonly #tickOf = new Map<SimSidecar, Set<SimSidecar>>();
  readonly #unsynced = new Set<SimSidecar>();
  readonly #startedAtMs: number;
  #tick = 0;
  #isReporting = false;
  #joined = 0;
  readonly #timer: NodeJS.Timeout;
  readonly #first = emptyState();

  /** Begins at once. `nowMs` has any zero, `random` gives 0 to 1. */
  constructor(plan: FleetPlan, { nowMs, random }: { readonly nowMs: () => number; readonly random: () => number }) {
    this.#plan = plan;
    this.#nowMs = nowMs;
    this.#startedAtMs = nowMs();
    const [host = '', port = ''] = plan.api.split(':');
    const rooms = {
      ...{ api: { host, port: Number(port), localAddress: plan.localAddress }, applyMs: plan.applyMs, random, nowMs },
      ...{ counts: this.#counts, resumed: new WeakMap(), first: this.#first },
      onFault: (fault: string) => void this.#faults.set(fault, (this.#faults.get(fault) ?? 0) + 1),
      onApplied: (revision: number) => this.#applied(revision),
      onSynced: (sidecar: SimSidecar) => this.#synced(sidecar),
      onLost: (sidecar: SimSidecar) => this.#lost(sidecar),
    };
    this.#sidecars = Array.from({ length: plan.count }, (_, i) => new SimSidecar(planOf(plan.from + i, plan), rooms));
    this.#timer = setInterval(() => this.#turn(), tickMs);
  }

  status(): FleetStatus {
    let synced = 0;
    let revisionMin = Number.POSITIVE_INFINITY;
    let revisionMax = 0;
    let objectsMin = Number.POSITIVE_INFINITY;
    let objectsMax = 0;
    for (const { phase, held } of this.#sidecars) {
      if (phase === 'synced') synced++;
      revisionMin = Math.min(revisionMin, held.revision);
      revisionMax = Math.max(revisionMax, held.revision);
      objectsMin = Math.min(objectsMin, held.versions.size);
      objectsMax = Math.max(objectsMax, held.versions.size);
    }
    return {
      ...{ sidecars: this.#sidecars.length, synced, revisionMin, revisionMax, objectsMin, objectsMax },
      ...{ counts: { ...this.#counts }, faults: Object.fromEntries(this.#faults) },
    };
  }

  /** From now on each reports every `limits.reportIntervalMs`, or no longer. */
  setReporting(isReporting: boolean): void {
    this.#isReporting = isReporting;
  }

  /** When sidecars acknowledged a ChangeSet that led to exactly this revision. */
  appliedAtMs(revision: number): readonly number[] {
    return this.#appliedAtMs.get(revision) ?? [];
  }

  /** When sidecars were synced again or for the first time, since the last call. */
  takeSyncedAtMs(): readonly number[] {
    const times = this.#syncedAtMs;
    this.#syncedAtMs = [];
    return times;
  }

  close(): void {
    clearInterval(this.#timer);
    for (const sidecar of this.#sidecars) sidecar.close();
  }

  #turn(): void {
    const nowMs = this.#nowMs();
    const due = Math.floor((nowMs - this.#startedAtMs) / tickMs);
    this.#tick = Math.max(this.#tick, due - ticksAtOnceMax);
    for (; this.#tick < due; this.#tick++) this.#renewThoseDue();
    this.#join(nowMs);
    for (const sidecar of this.#unsynced) sidecar.check(nowMs);
  }

  #renewThoseDue(): void {
    const at = this.#tick % ticksPerRenewal;
    // All that anybody has held before hangs on it.
    if (at === 0) this.#first.next.length = 0;
    for (const sidecar of this.#byTick[at]!) {
      sidecar.renew();
      sidecar.look();
    }
    for (const sidecar of this.#byTick[(at + ticksPerLook) % ticksPerRenewal]!) sidecar.look();
    if (this.#isReporting)
      for (let tick = at % ticksPerReport; tick < ticksPerRenewal; tick += ticksPerReport)
        for (const sidecar of this.#byTick[tick]!) sidecar.report();
  }

  #join(nowMs: number): void {
    const due = Math.floor(((nowMs - this.#startedAtMs) / 1_000) * this.#plan.joinPerSecond);
    const until = Math.min(due, this.#sidecars.length);
    for (; this.#joined < until; this.#joined++) {
      const sidecar = this.#sidecars[this.#joined]!;
      this.#unsynced.add(sidecar);
      sidecar.start();
    }
  }

  #synced(sidecar: SimSidecar): void {
    this.#unsynced.delete(sidecar);
    const tick = this.#byTick[this.#tick % ticksPerRenewal]!;
    tick.add(sidecar);
    this.#tickOf.set(sidecar, tick);
    this.#syncedAtMs.push(this.#nowMs());
  }

  #lost(sidecar: SimSidecar): void {
    this.#tickOf.get(sidecar)?.delete(sidecar);
    this.#unsynced.add(sidecar);
  }

  #applied(revision: number): void {
    let times = this.#appliedAtMs.get(revision);
    if (times === undefined) {
      times = [];
      this.#appliedAtMs.set(revision, times);
      if (this.#appliedAtMs.size > revisionsKeptMax)
        this.#appliedAtMs.delete(this.#appliedAtMs.keys().next().value ?? 0);
    }
    times.push(this.#nowMs());
  }
}
