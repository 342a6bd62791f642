/** What a command is to change: resources in files, names to delete in the same revision, and what a label selector prunes. */
import { type Command, InvalidArgumentError } from 'commander';
import { isLabelName, isLabelValue } from '../model/endpoint-fields.ts';
import { formatProblem } from '../model/problem.ts';
import { defaultNamespace, type Kind, keyOf, kinds, namespaceOf, type ObjectKey } from '../model/resources.ts';
import type { ControlPlaneClient, ObjectName, Transaction } from './client.ts';
import { collect } from './flag-values.ts';
import { parseKind } from './kind-names.ts';
import type { ManifestEntry } from './manifest-files.ts';
import { CliError, type Terminal, usageError } from './terminal.ts';

export interface ChangeFlags {
  readonly file: readonly string[];
  readonly delete?: readonly ObjectName[];
  readonly prune?: true;
  readonly selector?: Labels;
}

type Labels = Readonly<Record<string, string>>;

export interface WantedChanges {
  readonly entries: readonly ManifestEntry[];
  readonly changes: Pick<Transaction, 'apply' | 'delete'>;
}

/** Of `--file` only the others: whether it is needed differs. */
export function addChangeFlags(command: Command): Command {
  return command
    .option(
      '--delete <kind/name>',
      'remove this one in the same revision: KIND/NAME or KIND/NAMESPACE/NAME; repeatable',
      collectObject,
    )
    .option('--prune', 'remove, in the same revision, what has the labels of --selector and is in none of the files')
    .option('-l, --selector <labels>', 'for --prune: KEY=VALUE, several separated by commas', parseSelector);
}

/** @throws CliError naming what cannot be read or is wrong. */
export async function readChanges(
  flags: ChangeFlags,
  client: ControlPlaneClient,
  terminal: Terminal,
): Promise<WantedChanges> {
  const { file, delete: named = [], prune, selector } = flags;
  if (prune === true && selector === undefined)
    throw usageError('--prune removes what has certain labels: say which with --selector KEY=VALUE.');
  if (prune === undefined && selector !== undefined) throw usageError('--selector is for --prune: give both, or none.');
  const { readManifestFiles } = await import('./manifest-files.ts');
  const entries = await readManifestFiles(file, terminal);
  const apply = entries.map(({ resource }) => resource);
  if (selector === undefined) return { entries, changes: { apply, delete: named } };
  refuseUnlabelled(entries, selector);
  const known = new Set<ObjectKey>([...apply.map(keyOf), ...named.map(keyOfName)]);
  return { entries, changes: { apply, delete: [...named, ...(await surplus(client, selector, known))] } };
}

/** What lacks the labels would be left behind by the next prune. */
function refuseUnlabelled(entries: readonly ManifestEntry[], selector: Labels): void {
  const lines = entries
    .filter(({ resource }) => !hasLabels(resource.metadata.labels, selector))
    .map(({ resource, locate }) => {
      const object = `${resource.kind} ${namespaceOf(resource)}/${resource.metadata.name}`;
      const message = 'lacks a label of --selector: a later --prune would never remove it';
      return formatProblem(locate({ object, path: 'metadata.labels', message }));
    });
  if (lines.length > 0) throw new CliError(`${lines.join('\n')}\nNothing was changed.`);
}

/** With their revisions: what somebody changes meanwhile is not removed, and nothing else is written either. */
async function surplus(client: ControlPlaneClient, selector: Labels, known: ReadonlySet<ObjectKey>) {
  const lists = await Promise.all((Object.keys(kinds) as Kind[]).map((kind) => client.list(kind)));
  return lists
    .flatMap(({ items }) => items)
    .filter((item) => hasLabels(item.metadata.labels, selector) && !known.has(keyOf(item)))
    .map((item) => {
      const { name, resourceVersion } = item.metadata;
      const object = { kind: item.kind, namespace: namespaceOf(item), name };
      return resourceVersion === undefined ? object : { ...object, resourceVersion };
    });
}

const hasLabels = (labels: Labels | undefined, wanted: Labels): boolean =>
  Object.entries(wanted).every(([key, value]) => labels?.[key] === value);

const keyOfName = ({ kind, namespace, name }: ObjectName): ObjectKey => `${kind}/${namespace}/${name}`;

function collectObject(text: string, earlier: readonly ObjectName[] = []): readonly ObjectName[] {
  const object = parseObjectName(text);
  if (object === null)
    throw new InvalidArgumentError('Expected KIND/NAME or KIND/NAMESPACE/NAME, for instance httproute/cart.');
  return [...earlier, object];
}

/**
 * `KIND/NAME`, which is in `usualNamespace`, or `KIND/NAMESPACE/NAME`. Null: neither of them.
 * @throws CliError (exit code 2) for a name that is no kind.
 */
export function parseObjectName(text: string, usualNamespace: string = defaultNamespace): ObjectName | null {
  const [kind, ...names] = text.split('/');
  const name = names.pop() ?? '';
  const namespace = names.pop() ?? usualNamespace;
  if (kind === undefined || names.length > 0 || name === '' || namespace === '') return null;
  return { kind: parseKind(kind), namespace, name };
}

function parseSelector(text: string): Labels {
  const pairs = text.split(',').map((part) => part.split('='));
  for (const [key = '', value, ...more] of pairs)
    if (value === undefined || more.length > 0 || !isLabelName(key) || !isLabelValue(value))
      throw new InvalidArgumentError('Expected KEY=VALUE or KEY=VALUE,KEY=VALUE, for instance app=shop.');
  return Object.fromEntries(pairs) as Labels;
}

/** `-f`, for commands that need not have it. */
export const addFileOption = (command: Command): Command =>
  command.option('-f, --file <path>', fileDescription, collect);

export const fileDescription = 'a file, a folder (with all below) or - (standard input); repeatable';
