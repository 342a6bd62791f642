/**
 * The one Service that the inbound side of a sidecar knows: its own, with its app as the only endpoint. Whatever the Host, requests go
 * there; routes were applied by the caller.
 */
import { isDeepStrictEqual } from 'node:util';
import { compileUnit } from '../decisions/compile/compile-unit.ts';
import { limits } from '../model/limits.ts';
import type { ServiceUnit, Timeouts, UnitLimits } from '../model/snapshot.ts';
import { monotonicMs, SharedLiveState } from '../proxy/live-state.ts';
import { type OpenSnapshot, openSnapshot } from '../proxy/open-snapshot.ts';
import type { ConfigurationInForce } from '../proxy/proxy.ts';
import { SlotTable } from '../proxy/slot-table.ts';
import type { LoopService, LoopSnapshot } from '../proxy/tables.ts';
import type { HostPort, SidecarOptions } from './options.ts';

const defaultTimeouts: Timeouts = { requestMs: 0, perTryMs: 0, idleMs: limits.idleTimeoutMs };

export class InboundService implements ConfigurationInForce {
  /** A state of its own: the numbers of the outbound side's slots mean other endpoints. */
  readonly live = new SharedLiveState(monotonicMs);
  current: LoopSnapshot;
  private opened: OpenSnapshot;
  private timeouts = defaultTimeouts;
  private limits: UnitLimits | null = null;
  private readonly slots: SlotTable;
  private readonly app: HostPort;

  constructor(
    private readonly options: SidecarOptions & { readonly app: HostPort },
    private readonly random: () => number,
  ) {
    this.app = options.app;
    this.slots = new SlotTable({ live: this.live, random, nowMs: monotonicMs });
    this.opened = this.open(null);
    this.current = this.answerEveryHost();
  }

  /** The Service's inbound policy; null when there is no such Service (any more). Compiled in place: a unit of one endpoint takes some 50 µs. */
  setPolicy(policy: Pick<ServiceUnit, 'timeouts' | 'limits'> | null): void {
    const { timeouts, limits } = policy ?? { timeouts: defaultTimeouts, limits: null };
    if (isDeepStrictEqual([timeouts, limits], [this.timeouts, this.limits])) return;
    this.timeouts = timeouts;
    this.limits = limits;
    this.opened = this.open(this.opened);
    this.current = this.answerEveryHost();
  }

  private open(previous: OpenSnapshot | null): OpenSnapshot {
    const { service, namespace, zone, labels } = this.options;
    const { host, port } = this.app;
    const name = `${service}.${namespace}`;
    const unit: ServiceUnit = {
      name,
      service,
      namespace,
      port: 80,
      hosts: [],
      endpoints: [
        {
          address: `${host.includes(':') ? `[${host}]` : host}:${port}`,
          host,
          port,
          weight: 1,
          zone,
          labels,
          hasSidecar: false,
          link: [],
          identity: '',
        },
      ],
      balancer: { policy: 'RoundRobin', hashOn: [], boundedLoadPercent: 0, ringEntries: 0, decayMs: 0 },
      timeouts: this.timeouts,
      limits: this.limits,
      matches: [],
      actions: [],
    };
    const { live, slots, random } = this;
    return openSnapshot({ revision: 0, compiled: [compileUnit(unit)], previous, live, slots, random }).snapshot;
  }

  private answerEveryHost(): LoopSnapshot {
    const [service] = this.opened.services.values() as Iterable<LoopService>;
    const own = service!;
    return { revision: 0, findByHost: () => own, find: () => own };
  }
}
