/**
 * Opens compiled units on one loop: a version of the configuration that requests look up. What did not change is taken over from the
 * version before: whole Services, and within a changed one the endpoints whose address and link stay, with their upstream.
 */
import assert from 'node:assert';
import type { Candidate } from '../model/decision.ts';
import { limits } from '../model/limits.ts';
import type { Timeouts, UnitBackend, UnitLimits, UnitName } from '../model/snapshot.ts';
import { finish, type Steps } from '../model/steps.ts';
import { type Balancer, type Candidates, none } from './balancer/balancer.ts';
import { type ConsistentOptions, Maglev, RingHash } from './balancer/consistent.ts';
import { WeightedRandom } from './balancer/random.ts';
import { RoundRobin, WeightedRoundRobin } from './balancer/round-robin.ts';
import { LeastRequest, PeakEwma } from './balancer/two-choices.ts';
import {
  bytesOf,
  type CompiledUnit,
  endpointNamesOf,
  factsOf,
  float64Of,
  int32Of,
  sections,
  slotsHeader,
  Texts,
  type UnitFacts,
  uint16Of,
  uint32Of,
} from './compiled-unit.ts';
import type { SharedLiveState } from './live-state.ts';
import { type ActionFacts, OpenAction, openDirectAction } from './loop-action.ts';
import { RouteTable } from './router.ts';
import type { SlotTable } from './slot-table.ts';
import type {
  Departure,
  EndpointStandings,
  LoopAction,
  LoopEndpoint,
  LoopService,
  LoopSnapshot,
  PickFacts,
} from './tables.ts';
import type { Upstream } from './upstream/upstream.ts';

export interface OpenOptions {
  readonly revision: number;
  readonly compiled: Iterable<CompiledUnit>;
  /** The version in force on this loop. */
  readonly previous: OpenSnapshot | null;
  readonly live: SharedLiveState;
  /** On the loop that applies configuration. Null on every other: the units come with their slots assigned. */
  readonly slots: SlotTable | null;
  /** `Math.random`. */
  readonly random: () => number;
}

export interface OpenResult {
  readonly snapshot: OpenSnapshot;
  /** Endpoints that the new version does not hold: their upstreams can retire once it is in force. */
  readonly left: readonly LoopEndpoint[];
}

/**
 * The previous version stays usable by the requests that hold it. Costs about a microsecond an endpoint and nothing a route: actions and strings are opened at their first use.
 */
export const openSnapshot = (options: OpenOptions): OpenResult => finish(openSteps(options));

/** The same a step at a time: 5,000 endpoints take longer than a loop that serves requests may be held. Nothing is in force before its caller says so. */
export function* openSteps({ revision, compiled, previous, live, slots, random }: OpenOptions): Steps<OpenResult> {
  const units = [...compiled];
  if (slots !== null) yield* slots.assignSteps(units);
  const services = new Map<UnitName, OpenService>();
  const left: LoopEndpoint[] = [];
  for (const unit of units) {
    const before = previous?.services.get(unit.name) ?? null;
    if (before?.compiled === unit) services.set(unit.name, before);
    else {
      const facts = factsOf(unit);
      const endpoints = yield* openEndpoints(unit, facts, before);
      services.set(unit.name, new OpenService(unit, facts, endpoints, before, live, random));
      yield;
    }
  }
  for (const before of previous?.services.values() ?? []) {
    const now = services.get(before.name);
    if (now === before) continue;
    const kept = new Set<LoopEndpoint>(now?.endpoints);
    for (const endpoint of before.endpoints) if (!kept.has(endpoint)) left.push(endpoint);
    yield;
  }
  return { snapshot: new OpenSnapshot(revision, services), left };
}

export class OpenSnapshot implements LoopSnapshot {
  readonly revision: number;
  readonly services: ReadonlyMap<UnitName, OpenService>;
  private readonly exactHosts = new Map<string, OpenService>();
  /** By suffix, with its leading dot. */
  private readonly wildcardHosts = new Map<string, OpenService>();

  constructor(revision: number, services: ReadonlyMap<UnitName, OpenService>) {
    this.revision = revision;
    this.services = services;
    for (const service of services.values()) {
      for (const host of service.hosts) {
        if (host.startsWith('*.')) this.wildcardHosts.set(host.slice(1), service);
        else this.exactHosts.set(host, service);
      }
    }
  }

  findByHost(host: string): LoopService | null {
    const exact = this.exactHosts.get(host);
    if (exact !== undefined) return exact;
    if (this.wildcardHosts.size === 0) return null;
    // From the left, so the longest suffix comes first; a wildcard stands for at least one label, so never from index 0.
    for (let dot = host.indexOf('.', 1); dot !== -1; dot = host.indexOf('.', dot + 1)) {
      const service = this.wildcardHosts.get(host.slice(dot));
      if (service !== undefined) return service;
    }
    return null;
  }

  find(unit: UnitName): LoopService | null {
    return this.services.get(unit) ?? null;
  }
}

class OpenEndpoint implements LoopEndpoint {
  readonly address: string;
  readonly host: string;
  readonly port: number;
  readonly slot: number;
  readonly link: readonly string[];
  readonly identity: string;
  readonly pipelinedDepth: number;
  // These two may change while the address stays. The object is kept then, because its upstream is: a request under the old version
  // sees the newer facts, which only say how to speak to the same process.
  zone: string;
  hasSidecar: boolean;
  upstream: Upstream | null = null;

  constructor(facts: Omit<LoopEndpoint, 'upstream'>) {
    this.address = facts.address;
    this.host = facts.host;
    this.port = facts.port;
    this.slot = facts.slot;
    this.link = facts.link;
    this.identity = facts.identity;
    this.pipelinedDepth = facts.pipelinedDepth;
    this.zone = facts.zone;
    this.hasSidecar = facts.hasSidecar;
  }

  /** Whether its upstream leads where the new version says, in the same way. It does not when the link differs, or who must answer there. */
  leadsTo(slot: number, link: readonly string[], identity: string, pipelinedDepth: number): boolean {
    return (
      this.slot === slot &&
      this.identity === identity &&
      this.pipelinedDepth === pipelinedDepth &&
      this.link.length === link.length &&
      this.link.every((address, i) => address === link[i])
    );
  }
}

class OpenService implements LoopService {
  readonly compiled: CompiledUnit;
  readonly name: UnitName;
  readonly service: string;
  readonly namespace: string;
  readonly hosts: readonly string[];
  readonly timeouts: Timeouts;
  readonly limits: UnitLimits | null;
  readonly endpoints: readonly OpenEndpoint[];
  readonly directAction: LoopAction;
  readonly routes: RouteTable | null;
  readonly departed: Departure | null;
  private readonly policy: UnitFacts['balancer']['policy'];
  private readonly balancer: Balancer | null;
  private readonly live: SharedLiveState;

  constructor(
    unit: CompiledUnit,
    facts: UnitFacts,
    endpoints: readonly OpenEndpoint[],
    before: OpenService | null,
    live: SharedLiveState,
    random: () => number,
  ) {
    const slots = int32Of(unit, sections.slots);
    this.compiled = unit;
    this.name = unit.name;
    this.service = facts.service;
    this.namespace = facts.namespace;
    this.hosts = facts.hosts;
    this.timeouts = facts.timeouts;
    this.limits = facts.limits;
    this.endpoints = endpoints;
    this.directAction = openDirectAction(unit.name, facts.timeouts, live);
    this.routes = facts.hasRoutes ? openRoutes(unit, facts, slots, this.endpoints.length, live) : null;
    this.departed = endpoints.length > 0 || before === null ? null : departureFrom(before);
    this.policy = facts.balancer.policy;
    this.balancer = openBalancer(unit, facts, this.endpoints, slots[1]!, live, random);
    this.live = live;
  }

  pick(facts: PickFacts): LoopEndpoint | null {
    return this.balancer === null ? null : this.balancer.pick(facts);
  }

  get hasChoice(): boolean {
    return this.balancer !== null;
  }

  standings(facts: PickFacts): EndpointStandings {
    const { balancer, endpoints, live, policy } = this;
    const records = int32Of(this.compiled, sections.endpoints);
    const next = balancer === null ? none : balancer.nextFor(facts);
    const first: Candidate[] = [];
    const others: Candidate[] = [];
    // A position counts the endpoints with weight.
    let position = 0;
    for (let i = 0; i < endpoints.length; i++) {
      const weight = records[4 * i + 1]!;
      const at = weight === 0 ? none : position++;
      const { address, slot, upstream } = endpoints[i]!;
      const isTried = facts.tried.includes(slot);
      const isNext = at !== none && at === next;
      const list = isTried || isNext ? first : others;
      if (list.length === limits.decisionCandidatesMax) continue;
      const score = at === none ? null : balancer!.scoreAt(at);
      const activeRequests = live.activeRequests(slot);
      list.push({ address, weight, activeRequests, score, isTried, isNext, trouble: upstream?.trouble ?? '' });
    }
    const candidates = [...first, ...others].slice(0, limits.decisionCandidatesMax);
    return { policy, candidates, leftOut: endpoints.length - candidates.length };
  }
}

function departureFrom({ endpoints, departed }: OpenService): Departure | null {
  const last = endpoints.at(-1);
  return last === undefined ? departed : { address: last.address, trouble: last.upstream?.trouble ?? '' };
}

const noLink: readonly string[] = [];
/** Opened without a chance to interrupt: some ten microseconds. */
const endpointsPerStep = 32;

function* openEndpoints(unit: CompiledUnit, facts: UnitFacts, before: OpenService | null): Steps<OpenEndpoint[]> {
  const slots = int32Of(unit, sections.slots);
  assert(slots[0] === 1, 'a unit has its slots before it is opened');
  const records = int32Of(unit, sections.endpoints);
  const { addresses, hosts, zones, links, identities } = endpointNamesOf(unit);
  const known = new Map<string, OpenEndpoint>();
  for (const endpoint of before?.endpoints ?? []) known.set(endpoint.address, endpoint);
  yield;
  const opened: OpenEndpoint[] = [];
  for (const [i, address] of addresses.entries()) {
    if (i % endpointsPerStep === 0) yield;
    const slot = slots[slotsHeader + i]!;
    const hasSidecar = records[4 * i + 2] === 1;
    const zone = zones[i]!;
    const link = links[i] ?? noLink;
    const identity = identities[records[4 * i + 3]!]!;
    const pipelinedDepth = link.length === 0 ? facts.pipelinedDepth : 1;
    const kept = known.get(address);
    if (kept === undefined || !kept.leadsTo(slot, link, identity, pipelinedDepth)) {
      const [host, port] = [hosts[i]!, records[4 * i]!];
      const way = { host, port, link, identity, pipelinedDepth };
      opened.push(new OpenEndpoint({ address, slot, zone, hasSidecar, ...way }));
      continue;
    }
    kept.zone = zone;
    kept.hasSidecar = hasSidecar;
    opened.push(kept);
  }
  return opened;
}

function openRoutes(
  unit: CompiledUnit,
  facts: UnitFacts,
  slots: Int32Array,
  endpointCount: number,
  live: SharedLiveState,
): RouteTable {
  const texts = new Texts(unit);
  const actions = int32Of(unit, sections.actions);
  const entries = bytesOf(unit, sections.splitEntries);
  // Many rules lead to few backends: one object for all of them stays in the cache.
  const backends = new Map<string, UnitBackend>();
  const shareBackend = (backend: UnitBackend): UnitBackend => {
    const key = JSON.stringify(backend);
    const known = backends.get(key);
    if (known === undefined) backends.set(key, backend);
    return known ?? backend;
  };
  return new RouteTable(unit, facts, texts, actions.length / 4, (index) => {
    const split = actions[4 * index + 3]!;
    const slot = split === -1 ? 0 : slots[slotsHeader + endpointCount + split]!;
    const own: ActionFacts = JSON.parse(texts.at(actions[4 * index]!));
    return new OpenAction(
      { ...own, backends: own.backends.map(shareBackend) },
      { entries, first: actions[4 * index + 1]!, count: actions[4 * index + 2]!, slot },
      live,
    );
  });
}

function openBalancer(
  unit: CompiledUnit,
  { balancer }: UnitFacts,
  endpoints: readonly LoopEndpoint[],
  slot: number,
  live: SharedLiveState,
  random: () => number,
): Balancer | null {
  const candidates = candidatesOf(unit, endpoints);
  if (candidates.endpoints.length === 0) return null;
  const { hashOn, boundedLoadPercent, policy } = balancer;
  const hashing: ConsistentOptions = { candidates, hashOn, boundedLoadPercent, live, slot, random };
  switch (policy) {
    case 'RoundRobin':
      return new RoundRobin(candidates, live, slot);
    case 'WeightedRoundRobin':
      return new WeightedRoundRobin(candidates, uint16Of(unit, sections.schedule), live, slot);
    case 'Random':
      return new WeightedRandom(candidates, float64Of(unit, sections.cumulative), random);
    case 'LeastRequest':
      return new LeastRequest(candidates, float64Of(unit, sections.cumulative), live, random);
    case 'PeakEwma':
      return new PeakEwma(candidates, float64Of(unit, sections.cumulative), live, random);
    case 'RingHash':
      return new RingHash(uint32Of(unit, sections.ringPositions), uint16Of(unit, sections.ringOwners), hashing);
    case 'Maglev':
      return new Maglev(uint16Of(unit, sections.maglev), hashing);
    default:
      return policy satisfies never;
  }
}

function candidatesOf(unit: CompiledUnit, endpoints: readonly LoopEndpoint[]): Candidates {
  const records = int32Of(unit, sections.endpoints);
  const weighted: LoopEndpoint[] = [];
  const weights: number[] = [];
  let sum = 0;
  for (let i = 0; i < endpoints.length; i++) {
    const weight = records[4 * i + 1]!;
    if (weight === 0) continue;
    weighted.push(endpoints[i]!);
    weights.push(weight);
    sum += weight;
  }
  const average = sum / weights.length;
  return { endpoints: weighted, weights: Float64Array.from(weights, (weight) => weight / average) };
}
