/** `weft describe`: one object with all that hangs together with it. */
import { Command } from 'commander';
import {
  defaultNamespace,
  type HTTPRoute,
  type Kind,
  namespaceOf,
  type Resource,
  type Service,
  type TrafficPolicy,
} from '../model/resources.ts';
import { addClientFlags, type ClientFlags, ControlPlaneClient, type RevisionEntry } from './client.ts';
import { parseNamespace } from './flag-values.ts';
import { getOne } from './get.ts';
import { historyTable } from './history.ts';
import { kindNames, parseKind } from './kind-names.ts';
import { formatValue, type TextOutput, textOption } from './output-flag.ts';
import { type EndpointFacts, type Relations, relationsOf, type SidecarUse } from './relations.ts';
import { formatAge, formatTable } from './table.ts';
import type { Terminal } from './terminal.ts';

interface DescribeFlags extends ClientFlags {
  readonly namespace?: string;
  readonly output: TextOutput;
}

const revisionsShown = 5;

export function describeCommand(terminal: Terminal): Command {
  const command = new Command('describe')
    .description('show an object with its routes, policies, endpoints, last changes, and the sidecars that use it')
    .argument('<kind>', kindNames)
    .argument('<name>', 'its name')
    .option('-n, --namespace <namespace>', `default: ${defaultNamespace}`, parseNamespace)
    .addOption(textOption())
    .addHelpText(
      'after',
      `
Endpoints: written (in the resource), registered (by a sidecar) or both; STATE is that of the sidecar (weft status --help).
Sidecars: those beside the Service's own app serve it; those that have called it, or a Service whose routes lead to it, call it.

Examples:
  weft describe service cart
  weft describe httproute cart -n shop
  weft describe service cart -o json`,
    )
    .action(async (kind: string, name: string, { namespace = defaultNamespace, output, ...flags }: DescribeFlags) => {
      const client = new ControlPlaneClient(flags);
      const object = await getOne(client, { kind: parseKind(kind), namespace, name });
      const [relations, { items: revisions }] = await Promise.all([
        readRelations(client, object),
        client.revisions({ limit: revisionsShown, object: { kind: object.kind, namespace, name } }),
      ]);
      if (output !== 'text') return terminal.out(await formatValue({ object, ...relations, revisions }, output));
      terminal.out(await format(object, relations, revisions, terminal.nowMs()));
    });
  return addClientFlags(command);
}

async function readRelations(client: ControlPlaneClient, object: Resource): Promise<Relations> {
  const list = async <T extends Resource>(kind: Kind) => (await client.list(kind)).items as readonly T[];
  const [services, routes, policies, sidecars] = await Promise.all([
    list<Service>('Service'),
    list<HTTPRoute>('HTTPRoute'),
    list<TrafficPolicy>('TrafficPolicy'),
    client.sidecars(),
  ]);
  return relationsOf(object, { services, routes, policies, sidecars });
}

async function format(
  object: Resource,
  { hosts, routes, policies, endpoints, sidecars }: Relations,
  revisions: readonly RevisionEntry[],
  nowMs: number,
): Promise<string> {
  const { name, resourceVersion, creationTimestamp, labels, annotations } = object.metadata;
  const created =
    creationTimestamp === undefined ? '' : `, created ${formatAge(nowMs - Date.parse(creationTimestamp))} ago`;
  const named = { ...(labels && { labels }), ...(annotations && { annotations }), spec: object.spec };
  const parts = [
    `${object.kind} ${namespaceOf(object)}/${name}, revision ${resourceVersion}${created}`,
    await formatValue(named, 'yaml'),
    ...(hosts === undefined ? [] : [`Called as: ${hosts.join(', ')}`]),
    ...(routes === undefined
      ? []
      : [section('Routes', routes.join('\n'), 'none: every request goes to its endpoints')]),
    section('Policies', policies.join('\n'), 'none'),
    ...(endpoints === undefined
      ? []
      : [section('Endpoints', endpointTable(endpoints), 'none: requests are answered 503')]),
    section('Sidecars', useTable(sidecars), 'none has a use for it so far'),
    section('Last changes', revisions.length === 0 ? '' : historyTable(revisions, nowMs), 'older than the history'),
  ];
  return parts.join('\n\n');
}

const section = (title: string, text: string, none: string): string =>
  `${title}:\n${(text === '' ? none : text).replace(/^/gm, '  ')}`;

function endpointTable(endpoints: readonly EndpointFacts[]): string {
  if (endpoints.length === 0) return '';
  return formatTable(
    ['ADDRESS', 'ORIGIN', 'STATE', 'WEIGHT', 'ZONE', 'LABELS', 'LINK', 'SIDECAR'],
    endpoints.map(({ address, origin, state, weight, zone, labels, link, sidecar }) => [
      address,
      origin,
      state ?? '-',
      weight,
      zone || '-',
      Object.entries(labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(',') || '-',
      link.join(',') || '-',
      sidecar ?? '-',
    ]),
  );
}

function useTable(uses: readonly SidecarUse[]): string {
  if (uses.length === 0) return '';
  return formatTable(
    ['SERVICE', 'SIDECAR', 'USE', 'STATE', 'REVISION', 'REASON'],
    uses.map(({ service, namespace, sidecar, uses: use, state, revision, reason }) => [
      `${service}.${namespace}`,
      sidecar,
      use,
      state,
      revision,
      reason ?? '-',
    ]),
  );
}
