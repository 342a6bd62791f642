/** `weft get`: resources and sidecars, as a table for people, or as YAML or JSON for programs. */
import { Command } from 'commander';
import type { SidecarStatus } from '../control/fleet.ts';
import { defaultNamespace, type Kind, kinds, type Resource } from '../model/resources.ts';
import { addClientFlags, type ClientFlags, ControlPlaneClient, RefusedError } from './client.ts';
import { elsewhere } from './elsewhere.ts';
import { parseNamespace } from './flag-values.ts';
import { kindNames, parseKind } from './kind-names.ts';
import { type Output, tableOption } from './output-flag.ts';
import { registrations, resourceTable } from './resource-table.ts';
import { sidecarTable } from './status.ts';
import { CliError, type Terminal, usageError } from './terminal.ts';

interface GetFlags extends ClientFlags {
  readonly output: Output;
  readonly namespace?: string;
  readonly watch?: true;
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
    .option('-w, --watch', 'go on showing what changes, until Ctrl-C')
    .addOption(tableOption())
    .addHelpText(
      'after',
      `
Examples:
  weft get services
  weft get httproute cart -o yaml          can be changed and given to weft apply
  weft get httproutes -w                   and every change from now on; lost connections are resumed
  weft get services -w -o json             one object a line, { "event": "put", "object": ... }
  weft get sidecars -o json                an array, also for one or none`,
    )
    .action(async (kind: string, name: string | undefined, flags: GetFlags) => {
      const client = new ControlPlaneClient(flags);
      if (['sidecar', 'sidecars'].includes(kind.toLowerCase())) {
        if (flags.watch === true) throw usageError('Sidecars cannot be watched: ask again, or look at weft status.');
        return showSidecars(client, name, flags, terminal);
      }
      const resources = parseKind(kind, ['sidecars']);
      if (flags.watch !== true) return showResources(client, resources, name, flags, terminal);
      const { watchResources } = await import('./watch-resources.ts');
      const { namespace = name === undefined ? undefined : defaultNamespace } = flags;
      await watchResources({ client, kind: resources, name, namespace, output: flags.output }, terminal);
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

export async function getOne(
  client: ControlPlaneClient,
  name: Parameters<ControlPlaneClient['get']>[0],
): Promise<Resource> {
  try {
    return await client.get(name);
  } catch (error) {
    if (!(error instanceof RefusedError) || error.refusal.status !== 404) throw error;
    throw new CliError(
      `There is no ${name.kind} "${name.name}" in namespace ${name.namespace}; \`weft get ${kinds[name.kind].collection}\` lists those there are.${await elsewhere(client, name)}`,
      undefined,
      { cause: error },
    );
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
