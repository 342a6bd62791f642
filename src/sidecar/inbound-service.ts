/**
 * The one Service that the inbound side of a sidecar knows: its own, with its app as the only endpoint. Whatever the Host, requests go
 * there; routes were applied by the caller. `OwnUnit` compiles it, once for all loops; each loop opens an `InboundService` of it.
 */
import { isDeepStrictEqual } from 'node:util';
import { compileUnit } from '../decisions/compile/compile-unit.ts';
import { formatAddress, isSocketPath, type LocalAddress } from '../model/host-port.ts';
import { limits } from '../model/limits.ts';
import type { ServiceUnit, Timeouts } from '../model/snapshot.ts';
import type { CompiledUnit } from '../proxy/compiled-unit.ts';
import type { SharedLiveState } from '../proxy/live-state.ts';
import { type OpenResult, type OpenSnapshot, openSnapshot } from '../proxy/open-snapshot.ts';
import type { ConfigurationInForce } from '../proxy/proxy.ts';
import type { SlotTable } from '../proxy/slot-table.ts';
import type { LoopService, LoopSnapshot } from '../proxy/tables.ts';
import type { SidecarOptions } from './options.ts';

const defaultTimeouts: Timeouts = { requestMs: 0, perTryMs: 0, idleMs: limits.idleTimeoutMs };

export type OwnPolicy = Pick<ServiceUnit, 'timeouts' | 'limits' | 'pipelinedDepth'>;
const noPolicy: OwnPolicy = { timeouts: defaultTimeouts, limits: null, pipelinedDepth: 1 };

export class OwnUnit {
  /** What the loops open. */
  current: CompiledUnit;
  private policy = noPolicy;
  private readonly app: LocalAddress;

  /** `slots`: of a live state of its own, for the numbers of the outbound side mean other endpoints. */
  constructor(
    private readonly options: Pick<SidecarOptions, 'service' | 'namespace' | 'zone' | 'labels'> & {
      readonly app: LocalAddress;
    },
    private readonly slots: SlotTable,
  ) {
    this.app = options.app;
    this.current = this.compile();
  }

  /** The Service's inbound policy; null when there is no such Service (any more). Compiled in place: a unit of one endpoint takes some 50 µs. */
  setPolicy(policy: OwnPolicy | null): void {
    const { timeouts, limits, pipelinedDepth } = policy ?? noPolicy;
    const wanted = { timeouts, limits, pipelinedDepth };
    if (isDeepStrictEqual(wanted, this.policy)) return;
    this.policy = wanted;
    this.current = this.compile();
  }

  private compile(): CompiledUnit {
    const { service, namespace, zone, labels } = this.options;
    const { app } = this;
    // The address of a socket says all: endpoints in configuration have none (docs/adr/0016).
    const { host, port } = isSocketPath(app) ? { host: '', port: 0 } : app;
    const name = `${service}.${namespace}`;
    const compiled = compileUnit({
      name,
      service,
      namespace,
      port: 80,
      hosts: [],
      endpoints: [
        {
          address: formatAddress(app),
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
      ...this.policy,
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
    this.opened = this.open(null).snapshot;
    this.current = this.answerEveryHost();
  }

  swap(unit: CompiledUnit): void {
    if (unit === this.compiled) return;
    this.compiled = unit;
    const { snapshot, left } = this.open(this.opened);
    this.opened = snapshot;
    this.current = this.answerEveryHost();
    for (const endpoint of left) endpoint.upstream?.retire();
  }

  private open(previous: OpenSnapshot | null): OpenResult {
    const { compiled, live, random } = this;
    return openSnapshot({ revision: 0, compiled: [compiled], previous, live, slots: null, random });
  }

  private answerEveryHost(): LoopSnapshot {
    const [service] = this.opened.services.values() as Iterable<LoopService>;
    const own = service!;
    return { revision: 0, findByHost: () => own, find: () => own };
  }
}
