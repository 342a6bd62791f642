/**
 * Compiles one Service with its routes into the tables that loops look up. Pure: the control plane runs it before it commits, the
 * sidecar's pool after every push, with the same result.
 */
import { limits } from '../../model/limits.ts';
import type { ServiceUnit } from '../../model/snapshot.ts';
import {
  type CompiledUnit,
  type EndpointNames,
  sections,
  slotsHeader,
  type UnitFacts,
} from '../../proxy/compiled-unit.ts';
import { buildMaglev } from './maglev.ts';
import { buildRing } from './ring.ts';
import { compileRoutes } from './routes.ts';
import { cumulativeWeights, fitWeights, smoothSchedule } from './schedule.ts';
import { TextWriter, UnitWriter } from './unit-writer.ts';

/** Throws an Error that names what cannot be compiled. Endpoints are at most `limits.endpointsPerServiceMax`. */
export function compileUnit(unit: ServiceUnit): CompiledUnit {
  const writer = new UnitWriter();
  const texts = new TextWriter();
  compileEndpoints(unit, writer);
  compileBalancer(unit, writer);
  const facts: UnitFacts = {
    service: unit.service,
    namespace: unit.namespace,
    hosts: unit.hosts,
    timeouts: unit.timeouts,
    limits: unit.limits,
    pipelinedDepth: unit.pipelinedDepth,
    balancer: unit.balancer,
    ...compileRoutes(unit, writer, texts),
  };
  writer.setJson(sections.facts, facts);
  const { ends, bytes } = texts.finish();
  writer.set(sections.textEnds, ends);
  writer.set(sections.textBytes, bytes);
  return writer.finish(unit.name);
}

function compileEndpoints({ endpoints, actions }: ServiceUnit, writer: UnitWriter): void {
  const records = new Int32Array(4 * endpoints.length);
  const identities = new Map<string, number>();
  for (let i = 0; i < endpoints.length; i++) {
    const { port, weight, hasSidecar, identity } = endpoints[i]!;
    if (!identities.has(identity)) identities.set(identity, identities.size);
    records.set([port, weight, hasSidecar ? 1 : 0, identities.get(identity)!], 4 * i);
  }
  const names: EndpointNames = {
    addresses: endpoints.map(({ address }) => address),
    hosts: endpoints.map(({ host }) => host),
    zones: endpoints.map(({ zone }) => zone),
    links: endpoints.some(({ link }) => link.length > 0) ? endpoints.map(({ link }) => link) : [],
    identities: [...identities.keys()],
  };
  writer.set(sections.endpoints, records);
  writer.setJson(sections.endpointNames, names);
  // Room for a slot of each split: at most one an action.
  writer.set(sections.slots, new Int32Array(slotsHeader + endpoints.length + actions.length));
}

/** Only the table of the policy in use is built. */
function compileBalancer({ endpoints, balancer }: ServiceUnit, writer: UnitWriter): void {
  const members = endpoints.filter(({ weight }) => weight > 0);
  if (members.length === 0) return;
  const weights = members.map(({ weight }) => weight);
  const { policy } = balancer;
  switch (policy) {
    case 'RoundRobin':
      break;
    case 'WeightedRoundRobin':
      writer.set(sections.schedule, smoothSchedule(fitWeights(weights, limits.scheduleEntriesMax)));
      break;
    case 'Random':
    case 'LeastRequest':
    case 'PeakEwma':
      writer.set(sections.cumulative, cumulativeWeights(weights));
      break;
    case 'RingHash': {
      const ring = buildRing(members, balancer.ringEntries);
      writer.set(sections.ringPositions, ring.positions);
      writer.set(sections.ringOwners, ring.owners);
      break;
    }
    case 'Maglev':
      writer.set(sections.maglev, buildMaglev(members));
      break;
    default:
      policy satisfies never;
  }
}
