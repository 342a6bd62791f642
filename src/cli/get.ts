/** `weft get`: resources and sidecars, as a table for people, or as YAML or JSON for programs. */
import { Command, Option } from 'commander';
import type { SidecarStatus } from '../control/fleet.ts';
import {
  defaultNamespace,
  type HTTPRoute,
  type Kind,
  kinds,
  namespaceOf,
  type Resource,
  type Service,
  type TrafficPolicy,
} from '../model/resources.ts';
import { addClientFlags, type ClientFlags, ControlPlaneClient, RefusedError } from './client.ts';
import { parseNamespace } from './flag-values.ts';
import { kindNames, parseKind } from './kind-names.ts';
import { sidecarTable } from './status.ts';
import { type Cell, formatAge, formatTable } from './table.ts';
import { CliError, type Terminal } from './terminal.ts';

interface GetFlags extends ClientFlags {
  readonly output: 'table' | 'yaml' | 'json';
  readonly namespace?: string;
}

export function getCommand(terminal: Terminal): Command {
  const command = new Command('get')
    .description('show resources and sidecars')
    .argument('<kind>', `what to show: ${kindNames}, sidecars`)
    .argument('[name]', 'one of them')
    .option(
      '-n, --namespace <namespace>',
      `only this one (default: all; with NAME: ${defaultNamespace})`,
      parseNamespace,
    )
    .addOption(new Option('-o, --output <format>', 'how').choices(['table', 'yaml', 'json']).default('table'))
    .addHelpText(
      'after',
      `
Examples:
  weft get services
  weft get httproute cart -o yaml          can be changed and given to weft apply
  weft get sidecars -o json                an array, also for one or none`,
    )
    .action(async (kind: string, name: string | undefined, flags: GetFlags) => {
      const client = new ControlPlaneClient(flags);
      if (['sidecar', 'sidecars'].includes(kind.toLowerCase())) await showSidecars(client, name, flags, terminal);
      else await showResources(client, parseKind(kind, ['sidecars']), name, flags, terminal);
    });
  return addClientFlags(command);
}

async function showResources(
  client: ControlPlaneClient,
  kind: Kind,
  name: string | undefined,
  { namespace, output }: GetFlags,
  terminal: Terminal,
): Promise<void> {
  if (name === undefined) {
    const { items } = await client.list(kind, namespace);
    if (output !== 'table') return terminal.out(await formatValues(items, output));
    return terminal.out(
      items.length === 0
        ? `no ${kinds[kind].collection}${namespace === undefined ? '' : ` in namespace ${namespace}`}`
        : resourceTable(kind, items, terminal.nowMs(), await registrations(client, kind)),
    );
  }
  const item = await getOne(client, { kind, namespace: namespace ?? defaultNamespace, name });
  if (output === 'json') return terminal.out(JSON.stringify(item, null, 2));
  terminal.out(
    output === 'yaml'
      ? await formatValues([item], 'yaml')
      : resourceTable(kind, [item], terminal.nowMs(), await registrations(client, kind)),
  );
}

async function getOne(client: ControlPlaneClient, name: Parameters<ControlPlaneClient['get']>[0]): Promise<Resource> {
  try {
    return await client.get(name);
  } catch (error) {
    if (!(error instanceof RefusedError) || error.refusal.status !== 404) throw error;
    throw new CliError(`There is no ${name.kind} "${name.name}" in namespace ${name.namespace}.`, undefined, {
      cause: error,
    });
  }
}

async function showSidecars(
  client: ControlPlaneClient,
  name: string | undefined,
  { namespace, output }: GetFlags,
  terminal: Terminal,
): Promise<void> {
  const all = await client.sidecars();
  const sidecars = all.filter(
    (sidecar: SidecarStatus) =>
      (namespace === undefined || sidecar.namespace === namespace) &&
      (name === undefined || sidecar.service === name || sidecar.sidecar === name),
  );
  if (output !== 'table') return terminal.out(await formatValues(sidecars, output));
  terminal.out(sidecars.length === 0 ? 'no sidecars' : sidecarTable(sidecars));
}

async function formatValues(values: readonly object[], output: 'yaml' | 'json'): Promise<string> {
  if (output === 'json') return JSON.stringify(values, null, 2);
  const { formatYaml } = await import('./yaml-output.ts');
  return formatYaml(values);
}

/** Addresses that sidecars registered, by `NAMESPACE/SERVICE`: a Service's resource does not have them. */
type Registrations = ReadonlyMap<string, readonly string[]>;

async function registrations(client: ControlPlaneClient, kind: Kind): Promise<Registrations> {
  const byService = new Map<string, string[]>();
  if (kind !== 'Service') return byService;
  for (const { namespace, service, registration } of await client.sidecars()) {
    if (registration === null) continue;
    const key = `${namespace}/${service}`;
    byService.set(key, [...(byService.get(key) ?? []), registration.address]);
  }
  return byService;
}

function resourceTable(kind: Kind, items: readonly Resource[], nowMs: number, registered: Registrations): string {
  const { head, cells } = columns[kind];
  return formatTable(
    ['NAMESPACE', 'NAME', ...head, 'REVISION', 'AGE'],
    items.map((item) => [
      namespaceOf(item),
      item.metadata.name,
      // A list holds one kind only, which is the kind of this row of `columns`.
      ...cells(item as Service & HTTPRoute & TrafficPolicy, registered),
      item.metadata.resourceVersion ?? '-',
      item.metadata.creationTimestamp === undefined
        ? '-'
        : formatAge(nowMs - Date.parse(item.metadata.creationTimestamp)),
    ]),
  );
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
