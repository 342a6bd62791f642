/** `weft history`: who changed what, when and why, of the whole mesh or of one object. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { defaultNamespace } from '../model/resources.ts';
import {
  addClientFlags,
  type ClientFlags,
  ControlPlaneClient,
  type ObjectChange,
  type ObjectName,
  type RevisionEntry,
  type RevisionList,
} from './client.ts';
import { parseRevision } from './diff.ts';
import { parseNamespace } from './flag-values.ts';
import { kindNames, parseKind } from './kind-names.ts';
import { formatValue, type Output, tableOption } from './output-flag.ts';
import { formatAge, formatTable } from './table.ts';
import { type Terminal, usageError } from './terminal.ts';

interface HistoryFlags extends ClientFlags {
  readonly namespace?: string;
  readonly limit: number;
  readonly before?: number;
  readonly revision?: number;
  readonly output: Output;
}

const revisionsShown = 20;
/** What the API lists at a time. */
const revisionsMax = 9_999;
/** Of what a revision changed a table names so much. */
const changesShownMax = 2;

export function historyCommand(terminal: Terminal): Command {
  const command = new Command('history')
    .description('show who changed what, when and why')
    .argument('[kind]', `only changes of one object: ${kindNames}`)
    .argument('[name]', 'its name')
    .option('-n, --namespace <namespace>', `of KIND NAME (default: ${defaultNamespace})`, parseNamespace)
    .addOption(new Option('--limit <number>', 'so many at most').argParser(parseLimit).default(revisionsShown))
    .option('--before <revision>', 'only older ones', parseRevision)
    .option('--revision <revision>', 'this one, with what it changed', parseRevision)
    .addOption(tableOption())
    .addHelpText(
      'after',
      `
Newest first. How much is kept is set by weft control-plane, --history-count and --history-age.

Examples:
  weft history
  weft history httproute cart
  weft history --revision 42               who, when, why, and the diff
  weft history --limit 1 -o json           the newest, for a program
  weft rollback 41                         bring back what was in force after revision 41`,
    )
    .action(async (kind: string | undefined, name: string | undefined, flags: HistoryFlags) => {
      const client = new ControlPlaneClient(flags);
      if (flags.revision !== undefined) return showOne(client, flags.revision, flags.output, terminal);
      const object = objectOf(kind, name, flags.namespace);
      const { limit, before, output } = flags;
      const list = await client.revisions({
        limit,
        ...(before === undefined ? {} : { before }),
        ...(object === null ? {} : { object }),
      });
      if (output !== 'table') return terminal.out(await formatValue(list.items, output));
      terminal.out(list.items.length === 0 ? describeNone(object, list) : historyTable(list.items, terminal.nowMs()));
    });
  return addClientFlags(command);
}

function objectOf(kind: string | undefined, name: string | undefined, namespace?: string): ObjectName | null {
  if (kind !== undefined && name !== undefined)
    return { kind: parseKind(kind), namespace: namespace ?? defaultNamespace, name };
  if (kind !== undefined) throw usageError('Say which one: weft history KIND NAME, or leave KIND out for all changes.');
  if (namespace !== undefined) throw usageError('--namespace goes with KIND NAME.');
  return null;
}

async function showOne(
  client: ControlPlaneClient,
  revision: number,
  output: Output,
  terminal: Terminal,
): Promise<void> {
  const entry = await client.revision(revision);
  if (output !== 'table') return terminal.out(await formatValue(entry, output));
  const { formatDiff } = await import('./object-diff.ts');
  const { who, at, message, changes } = entry;
  terminal.out(`revision ${revision} by ${who}, ${at}, ${formatAge(terminal.nowMs() - Date.parse(at))} ago`);
  if (message !== '') terminal.out(message);
  const sides = { before: `revision ${revision - 1}`, after: `revision ${revision}` };
  const diff = formatDiff(changes, sides, terminal.hasColours);
  if (diff !== '') terminal.out(`\n${diff}`);
}

export const historyTable = (items: readonly RevisionEntry[], nowMs: number): string =>
  formatTable(
    ['REVISION', 'AGE', 'WHO', 'CHANGES', 'MESSAGE'],
    items.map(({ revision, at, who, changes, message }) => [
      revision,
      formatAge(nowMs - Date.parse(at)),
      who,
      changesCell(changes),
      message.replace(/\s+/g, ' ') || '-',
    ]),
  );

function changesCell(changes: readonly ObjectChange[]): string {
  const shown = changes.slice(0, changesShownMax).map(({ object, action }) => `${object} ${action}`);
  const more = changes.length - shown.length;
  return [...shown, ...(more > 0 ? [`${more} more`] : [])].join(', ') || '-';
}

function describeNone(object: ObjectName | null, { oldest }: RevisionList): string {
  const kept = `history begins with revision ${oldest + 1}`;
  if (object === null) return `no revisions; ${kept}`;
  return `nothing has changed ${object.kind} ${object.namespace}/${object.name}; ${kept}`;
}

function parseLimit(text: string): number {
  const limit = /^[0-9]{1,4}$/.test(text) ? Number(text) : 0;
  if (limit < 1) throw new InvalidArgumentError(`Expected a number, 1 to ${revisionsMax}.`);
  return limit;
}
