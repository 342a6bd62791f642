/** Configuration at scale, the pure parts in one process: what it takes to build, to compile and to open it, and to look something up in it. */
import { compileUnit } from '../../src/decisions/compile/compile-unit.ts';
import { buildSnapshot } from '../../src/model/build-snapshot.ts';
import type { Resource, Service } from '../../src/model/resources.ts';
import type { BalancerPolicy } from '../../src/model/snapshot.ts';
import { monotonicMs, SharedLiveState } from '../../src/proxy/live-state.ts';
import { type OpenSnapshot, openSnapshot } from '../../src/proxy/open-snapshot.ts';
import type { RequestHead } from '../../src/proxy/request.ts';
import { route } from '../../src/proxy/router.ts';
import { SlotTable } from '../../src/proxy/slot-table.ts';
import * as mesh from '../fixtures/large-mesh.ts';

export * from '../fixtures/large-mesh.ts';

export interface TableFigures {
  readonly mesh: string;
  /** Best of the tries, ms: joined into units; the same after one object changed; compiled; opened on a loop. */
  readonly buildMs: number;
  readonly rebuildMs: number;
  readonly compileMs: number;
  readonly openMs: number;
  readonly tableBytes: number;
}

export interface LookUpFigures {
  readonly kind: string;
  /** ns a look-up (host, route, backend) by number of rules, or of hosts: the best of many short turns. */
  readonly ns: Readonly<Record<number, number>>;
  readonly ratio: number;
}

export const policies = [
  'RoundRobin',
  'WeightedRoundRobin',
  'LeastRequest',
  'Maglev',
  'RingHash',
] as const satisfies readonly BalancerPolicy[];
const sizes = [10, 1_000, 10_000] as const;
const requestCount = 20_000;
const turnRequests = 500;
const rounds = 20;

/** @param tries of each figure */
export function measureTables(tries: number, report: (figures: TableFigures) => void): void {
  const backends = mesh.backendServices();
  for (const [kind, perRoute] of [
    ...mesh.matchKinds.map((kind) => [kind, mesh.rulesPerRoute] as const),
    ['mixed', 1] as const,
  ]) {
    const routes = mesh.routesOf(kind, 10_000, perRoute);
    report(
      tableFigures(
        `10,000 rules, ${kind}, in ${routes.length} HTTPRoutes`,
        [mesh.serviceOf('shop', 3), ...backends, ...routes],
        tries,
      ),
    );
  }
  for (const policy of policies) {
    const shop = mesh.serviceOf('shop', 5_000, policy);
    report(
      tableFigures(`5,000 endpoints, ${policy}`, [policy === 'WeightedRoundRobin' ? weighted(shop) : shop], tries),
    );
  }
}

/** Weights 1 to 7 in turn. */
function weighted(service: Service): Service {
  const endpoints = (service.spec.endpoints ?? []).map((endpoint, i) =>
    typeof endpoint === 'string' ? { address: endpoint, weight: 1 + (i % 7) } : endpoint,
  );
  return { ...service, spec: { ...service.spec, endpoints } };
}

function tableFigures(name: string, objects: readonly Resource[], tries: number): TableFigures {
  // Copies: what is known of an object is kept with it.
  const copies = Array.from({ length: tries }, () => structuredClone(objects));
  const [buildMs] = bestOf(tries, (i) => build(copies[i]!));
  const before = build(objects);
  const [rebuildMs] = bestOf(tries, (i) => build([...objects.slice(0, -1), copies[i]!.at(-1)!], before));
  const unit = before.units.get('shop.default')!;
  const [compileMs, compiled] = bestOf(tries, () => compileUnit(unit));
  // Slots are written into a unit once: each try has units of its own.
  const units = Array.from({ length: tries }, () => [...before.units.values()].map(compileUnit));
  const [openMs] = bestOf(tries, (i) => open(units[i]!));
  return { mesh: name, buildMs, rebuildMs, compileMs, openMs, tableBytes: compiled.buffer.byteLength };
}

const build = (objects: readonly Resource[], previous: ReturnType<typeof buildSnapshot> | null = null) =>
  buildSnapshot({ objects, revision: 1, namespace: 'default', previous });

function open(compiled: readonly ReturnType<typeof compileUnit>[]): OpenSnapshot {
  const live = new SharedLiveState(monotonicMs, false);
  const slots = new SlotTable({ live, random: Math.random, nowMs: monotonicMs });
  return openSnapshot({ revision: 1, compiled, previous: null, live, slots, random: Math.random }).snapshot;
}

function bestOf<Result>(tries: number, run: (i: number) => Result): readonly [bestMs: number, result: Result] {
  let best = Number.POSITIVE_INFINITY;
  let result: Result | undefined;
  for (let i = 0; i < tries; i++) {
    const startMs = performance.now();
    result = run(i);
    best = Math.min(best, performance.now() - startMs);
  }
  return [best, result as Result];
}

export function measureLookUps(report: (figures: LookUpFigures) => void): void {
  for (const kind of mesh.matchKinds) {
    const contestants = sizes.map((size) => {
      const objects = [mesh.serviceOf('shop', 3), ...mesh.backendServices(), ...mesh.routesOf(kind, size)];
      return contestant(
        objects,
        mesh.randomNumbers(requestCount, size).map((rule) => mesh.requestOf(kind, rule)),
      );
    });
    report(race(kind, contestants));
  }
  report(race('host', sizes.map(hostContestant)));
}

interface Contestant {
  readonly snapshot: OpenSnapshot;
  readonly requests: readonly RequestHead[];
  bestNs: number;
}

function contestant(objects: readonly Resource[], requests: readonly RequestHead[]): Contestant {
  const snapshot = open([...build(objects).units.values()].map(compileUnit));
  // Strings and actions are opened at their first use.
  for (const request of requests) lookUp(snapshot, request);
  return { snapshot, requests, bestNs: Number.POSITIVE_INFINITY };
}

/** As many Services, each with a route for a hostname of its own. */
function hostContestant(size: number): Contestant {
  const names = Array.from({ length: size }, (_, i) => `service-${i}`);
  const objects = names.flatMap((name) => [
    mesh.serviceOf(name, 3),
    mesh.routeOf(name, name, [{ backendRefs: [{ name, port: 80 }] }], [`${name}.example.com`]),
  ]);
  const request = (i: number) => mesh.requestTo(mesh.fresh(`service-${i}.example.com`), mesh.fresh('/items/7'), 't');
  return contestant(objects, mesh.randomNumbers(requestCount, size).map(request));
}

function lookUp(snapshot: OpenSnapshot, request: RequestHead): void {
  const decision = route(snapshot.findByHost(request.host)!, request, null);
  if (decision.tag !== 'action' || decision.action.pickBackend() === null)
    throw new Error(`nobody has ${request.path}`);
}

/**
 * The contestants take turns, with all requests of each in a round, so that none comes twice within the caches; the best turn of
 * `turnRequests` counts, which is shorter than what the kernel gives a process at a time.
 */
function race(kind: string, contestants: readonly Contestant[]): LookUpFigures {
  for (let round = 0; round < rounds; round++) {
    for (const each of contestants) {
      for (let first = 0; first < requestCount; first += turnRequests) {
        const startNs = process.hrtime.bigint();
        for (let i = first; i < first + turnRequests; i++) lookUp(each.snapshot, each.requests[i]!);
        each.bestNs = Math.min(each.bestNs, Number(process.hrtime.bigint() - startNs) / turnRequests);
      }
    }
  }
  const ns = Object.fromEntries(sizes.map((size, i) => [size, contestants[i]!.bestNs]));
  return { kind, ns, ratio: contestants.at(-1)!.bestNs / contestants[0]!.bestNs };
}
