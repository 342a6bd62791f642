/** `weft delete`: removes one resource by name, or all that a file names, in one revision or none. */
import { Command } from 'commander';
import { defaultNamespace, namespaceOf } from '../model/resources.ts';
import type { ObjectName } from './client.ts';
import { collect, parseNamespace } from './flag-values.ts';
import { kindNames, parseKind } from './kind-names.ts';
import { type Terminal, usageError } from './terminal.ts';
import { addWriteFlags, type WriteFlags, write } from './transaction.ts';

interface DeleteFlags extends WriteFlags {
  readonly file?: readonly string[];
  readonly namespace?: string;
}

export function deleteCommand(terminal: Terminal): Command {
  const command = new Command('delete')
    .description('remove resources; all of them in one revision, or none')
    .argument('[kind]', `what to remove: ${kindNames}`)
    .argument('[name]', 'its name')
    .option('-f, --file <path>', 'remove all that a file or folder names instead; repeatable', collect)
    .option('-n, --namespace <namespace>', `of KIND NAME (default: ${defaultNamespace})`, parseNamespace)
    .addHelpText(
      'after',
      `
Examples:
  weft delete httproute cart
  weft delete service cart -n shop --wait applied
  weft delete httproute cart --dry-run     only show what would go
  weft delete -f mesh.yaml -m 'shop closes'`,
    )
    .action(async (kind: string | undefined, name: string | undefined, flags: DeleteFlags) => {
      const names = await namesToDelete(kind, name, flags, terminal);
      const message = flags.message ?? '';
      await write(
        (client, options) => client.transact({ apply: [], delete: names, message }, options),
        flags,
        terminal,
      );
    });
  return addWriteFlags(command);
}

async function namesToDelete(
  kind: string | undefined,
  name: string | undefined,
  { file, namespace }: DeleteFlags,
  terminal: Terminal,
): Promise<readonly ObjectName[]> {
  if (file === undefined) {
    if (kind === undefined || name === undefined) throw usageError('Say what to delete: KIND NAME, or -f FILE.');
    return [{ kind: parseKind(kind), namespace: namespace ?? defaultNamespace, name }];
  }
  if (kind !== undefined || namespace !== undefined)
    throw usageError('-f says everything about what to delete: leave KIND, NAME and --namespace out.');
  const { readManifestFiles } = await import('./manifest-files.ts');
  const entries = await readManifestFiles(file, terminal);
  return entries.map(({ resource }) => ({
    kind: resource.kind,
    namespace: namespaceOf(resource),
    name: resource.metadata.name,
  }));
}
