/**
 * The one Service that the inbound side of a sidecar knows: its own, with its app as the only endpoint. Whatever the Host, requests go
 * there; routes were applied by the caller. `OwnUnit` compiles it, once for all loops; each loop opens an `InboundService` of it.
 */
import { isDeepStrictEqual } from 'node:util';
import { compileUnit } from '../decisions/compile/compile-unit.ts';
import { limits } from '../model/limits.ts';
import type { ServiceUnit, Timeouts, UnitLimits } from '../model/snapshot.ts';
import type { CompiledUnit } from '../proxy/compiled-unit.ts';
import type { SharedLiveState } from '../proxy/live-state.ts';
import { type OpenSnapshot, openSnapshot } from '../proxy/open-snapshot.ts';
import type { ConfigurationInForce } from '../proxy/proxy.ts';
import type { SlotTable } from '../proxy/slot-table.ts';
import type { LoopService, LoopSnapshot } from '../proxy/tables.ts';
import type { HostPort, SidecarOptions } from './options.ts';

const defaultTimeouts: Timeouts = { requestMs: 0, perTryMs: 0, idleMs: limits.idleTimeoutMs };

export type OwnPolicy = Pick<ServiceUnit, 'timeouts' | 'limits'>;

export class OwnUnit {
  /** What the loops open. */
  current: CompiledUnit;
  private timeouts = defaultTimeouts;
  private limits: UnitLimits | null = null;
  private readonly app: HostPort;

  /** `slots`: of a live state of its own, for the numbers of the outbound side mean other endpoints. */
  constructor(
    private readonly options: Pick<SidecarOptions, 'service' | 'namespace' | 'zone' | 'labels'> & {
      readonly app: HostPort;
    },
    private readonly slots: SlotTable,
  ) {
    this.app = options.app;
    this.current = this.compile();
  }

  /** The Service's inbound policy; null when there is no such Service (any more). Compiled in place: a unit of one endpoint takes some 50 µs. */
  setPolicy(policy: OwnPolicy | null): void {
    const { timeouts, limits } = policy ?? { timeouts: defaultTimeouts, limits: null };
    if (isDeepStrictEqual([timeouts, limits], [this.timeouts, this.limits])) return;
    this.timeouts = timeouts;
    this.limits = limits;
    this.current = this.compile();
  }

  private compile(): CompiledUnit {
    const { service, namespace, zone, labels } = this.options;
    const { host, port } = this.app;
    const name = `${service}.${namespace}`;
    const compiled = compileUnit({
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
    });
    this.slots.assign([compiled]);
    return compiled;
  }
}

export class InboundService implements ConfigurationInForce {
  current: LoopSnapshot;
  private compiled: CompiledUnit;
  private opened: OpenSnapshot;

  constructor(
    unit: CompiledUnit,
    /** The one of its `OwnUnit`, shared by all loops. */
    readonly live: SharedLiveState,
    private readonly random: () => number,
  ) {
    this.compiled = unit;
    this.opened = this.open(null);
    this.current = this.answerEveryHost();
  }

  swap(unit: CompiledUnit): void {
    if (unit === this.compiled) return;
    this.compiled = unit;
    this.opened = this.open(this.opened);
    this.current = this.answerEveryHost();
  }

  private open(previous: OpenSnapshot | null): OpenSnapshot {
    const { compiled, live, random } = this;
    return openSnapshot({ revision: 0, compiled: [compiled], previous, live, slots: null, random }).snapshot;
  }

  private answerEveryHost(): LoopSnapshot {
    const [service] = this.opened.services.values() as Iterable<LoopService>;
    const own = service!;
    return { revision: 0, findByHost: () => own, find: () => own };
  }
}
