/** Resources as rows: what a table shows of each kind. */
import {
  type HTTPRoute,
  type Kind,
  namespaceOf,
  type Resource,
  type Service,
  type TrafficPolicy,
} from '../model/resources.ts';
import type { ControlPlaneClient } from './client.ts';
import { type Cell, formatAge, formatTable } from './table.ts';

/** Addresses that sidecars registered, by `NAMESPACE/SERVICE`: a Service's resource does not have them. */
export type Registrations = ReadonlyMap<string, readonly string[]>;

/** Asks only where a table needs it. */
export async function registrations(client: ControlPlaneClient, kind: Kind): Promise<Registrations> {
  const byService = new Map<string, string[]>();
  if (kind !== 'Service') return byService;
  for (const { namespace, service, registration } of await client.sidecars()) {
    if (registration === null) continue;
    const key = `${namespace}/${service}`;
    byService.set(key, [...(byService.get(key) ?? []), registration.address]);
  }
  return byService;
}

export function resourceTable(
  kind: Kind,
  items: readonly Resource[],
  nowMs: number,
  registered: Registrations,
): string {
  return formatTable(
    headOf(kind),
    items.map((item) => rowOf(item, nowMs, registered)),
  );
}

export const headOf = (kind: Kind): readonly string[] => [
  'NAMESPACE',
  'NAME',
  ...columns[kind].head,
  'REVISION',
  'AGE',
];

export function rowOf(item: Resource, nowMs: number, registered: Registrations): readonly Cell[] {
  const { name, resourceVersion, creationTimestamp } = item.metadata;
  return [
    namespaceOf(item),
    name,
    // The row of `columns` is that of the item's own kind.
    ...columns[item.kind].cells(item as Service & HTTPRoute & TrafficPolicy, registered),
    resourceVersion ?? '-',
    creationTimestamp === undefined ? '-' : formatAge(nowMs - Date.parse(creationTimestamp)),
  ];
}

/** What a table shows of each kind beyond its name. */
const columns = {
  Service: {
    head: ['PORT', 'ENDPOINTS', 'BALANCER'],
    cells: (service: Service, registered: Registrations): Cell[] => [
      service.spec.port ?? 80,
      endpointCount(service, registered),
      service.spec.loadBalancer?.policy ?? 'LeastRequest',
    ],
  },
  HTTPRoute: {
    head: ['SERVICES', 'HOSTNAMES', 'RULES', 'BACKENDS'],
    cells: ({ spec }: HTTPRoute): Cell[] => [
      spec.parentRefs.map(({ name }) => name).join(','),
      spec.hostnames?.join(',') ?? '-',
      spec.rules?.length ?? 0,
      backendsOf(spec),
    ],
  },
  TrafficPolicy: {
    head: ['TARGETS', 'TIMEOUTS'],
    cells: ({ spec }: TrafficPolicy): Cell[] => [
      spec.targetRefs.map(({ kind, name }) => `${kind}/${name}`).join(','),
      Object.entries(spec.timeouts ?? {})
        .map(([name, value]) => `${name}=${value}`)
        .join(',') || '-',
    ],
  },
} as const satisfies Record<
  Kind,
  { head: readonly string[]; cells: (item: never, registered: Registrations) => Cell[] }
>;

/** Written and registered ones, each address once, as the sidecars join them. */
function endpointCount(service: Service, registered: Registrations): number {
  const written = (service.spec.endpoints ?? []).map((each) => (typeof each === 'string' ? each : each.address));
  return new Set([...written, ...(registered.get(`${namespaceOf(service)}/${service.metadata.name}`) ?? [])]).size;
}

/** `cart:90 cart-next:10`, rules separated by `|`. */
const backendsOf = (spec: HTTPRoute['spec']): string =>
  (spec.rules ?? [])
    .map(({ backendRefs = [] }) => backendRefs.map(({ name, weight = 1 }) => `${name}:${weight}`).join(' ') || '-')
    .join(' | ');
