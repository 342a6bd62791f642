/** `weft delete`: removes one resource by name, or all that a file names, in one revision or none. */
import { Command } from 'commander';
import { defaultNamespace, namespaceOf } from '../model/resources.ts';
import { type ControlPlaneClient, type ObjectName, RefusedError } from './client.ts';
import { elsewhere } from './elsewhere.ts';
import { collect, parseNamespace } from './flag-values.ts';
import { kindNames, parseKind } from './kind-names.ts';
import { CliError, type Terminal, usageError } from './terminal.ts';
import { addWriteFlags, type WriteFlags, write } from './transaction.ts';
import { parseObjectName } from './wanted-changes.ts';

interface DeleteFlags extends WriteFlags {
  readonly file?: readonly string[];
  readonly namespace?: string;
}

export function deleteCommand(terminal: Terminal): Command {
  const command = new Command('delete')
    .description('remove resources; all of them in one revision, or none')
    .argument('[kind]', `what to remove: ${kindNames}; or KIND/NAME or KIND/NAMESPACE/NAME`)
    .argument('[name]', 'its name')
    .option('-f, --file <path>', 'remove all that a file or folder names instead; repeatable', collect)
    .option('-n, --namespace <namespace>', `of KIND NAME (default: ${defaultNamespace})`, parseNamespace)
    .addHelpText(
      'after',
      `
Examples:
  weft delete httproute cart
  weft delete service cart -n shop --wait applied
  weft delete service/shop/cart            the same object in one word
  weft delete httproute cart --dry-run     only show what would go
  weft delete -f mesh.yaml -m 'shop closes'`,
    )
    .action(async (kind: string | undefined, name: string | undefined, flags: DeleteFlags) => {
      const names = await namesToDelete(kind, name, flags, terminal);
      const message = flags.message ?? '';
      await write(
        (client, options) =>
          client
            .transact({ apply: [], delete: names, message }, options)
            .catch(async (error: unknown) => throwMissing(error, names, client)),
        flags,
        terminal,
      );
    });
  return addWriteFlags(command);
}

/** Rejects with `error`, and with where an object of the name is, where only one was to go and it is not there. */
async function throwMissing(error: unknown, names: readonly ObjectName[], client: ControlPlaneClient): Promise<never> {
  const [only, ...others] = names;
  if (!(error instanceof RefusedError) || error.refusal.status !== 404 || only === undefined || others.length > 0)
    throw error;
  const hint = await elsewhere(client, only);
  throw hint === '' ? error : new CliError(`${error.message}${hint}`, error.exitCode, { cause: error });
}

async function namesToDelete(
  kind: string | undefined,
  name: string | undefined,
  { file, namespace }: DeleteFlags,
  terminal: Terminal,
): Promise<readonly ObjectName[]> {
  if (file === undefined) {
    if (kind?.includes('/') && name === undefined) return [oneWord(kind, namespace)];
    if (kind === undefined || name === undefined)
      throw usageError('Say what to delete: KIND NAME, KIND/NAME, or -f FILE.');
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

/** As `weft apply --delete` takes it. */
function oneWord(text: string, namespace: string | undefined): ObjectName {
  const object = parseObjectName(text, namespace);
  if (object === null)
    throw usageError(`"${text}" names no object: say KIND/NAME or KIND/NAMESPACE/NAME, for instance httproute/cart.`);
  if (namespace !== undefined && object.namespace !== namespace)
    throw usageError(
      `"${text}" is in namespace ${object.namespace}, and --namespace says ${namespace}: give one of them.`,
    );
  return object;
}
