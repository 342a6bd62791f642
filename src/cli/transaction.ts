/** One write sent for a person: the flags of every command that writes, and what became of it in words. */
import { type Command, Option } from 'commander';
import { limits } from '../model/limits.ts';
import {
  addClientFlags,
  type ClientFlags,
  ControlPlaneClient,
  type Refusal,
  RefusedError,
  type TransactionOptions,
  type TransactionResult,
} from './client.ts';
import { parsePercent, parseWait } from './flag-values.ts';
import { formatValue, type TextOutput, textOption } from './output-flag.ts';
import { countOf } from './table.ts';
import { CliError, type Terminal } from './terminal.ts';

export interface WriteFlags extends ClientFlags {
  readonly wait?: 'applied';
  /** Of the sidecars concerned. */
  readonly percent: number;
  /** Ms. */
  readonly timeout: number;
  readonly dryRun?: true;
  readonly message?: string;
  readonly output: TextOutput;
}

/** More unchanged objects than these are counted and not listed. */
const unchangedShownMax = 10;

export type Send = (client: ControlPlaneClient, options: TransactionOptions) => Promise<TransactionResult>;

export function addWriteFlags(command: Command): Command {
  return addClientFlags(command)
    .addOption(new Option('--wait <state>', 'return once every sidecar concerned has it in force').choices(['applied']))
    .addOption(
      new Option('--percent <number>', 'how many of them are enough for --wait, 1 to 100')
        .argParser(parsePercent)
        .default(100),
    )
    .addOption(
      new Option('--timeout <duration>', 'how long --wait waits before it fails')
        .argParser(parseWait)
        .default(limits.waitAppliedMs, '30s'),
    )
    .option('--dry-run', 'check everything, show what would change, change nothing')
    .option('-m, --message <text>', 'why; kept with the revision')
    .addOption(textOption());
}

/**
 * Sends a change and prints what became of each object; of a dry run also what would differ.
 * @throws CliError when the control plane refused, or when `--wait applied` ran out: then it names the sidecars.
 */
export async function write(
  send: Send,
  flags: WriteFlags,
  terminal: Terminal,
  client = new ControlPlaneClient(flags),
): Promise<void> {
  const isDryRun = flags.dryRun === true;
  if (flags.percent < 100 && flags.wait === undefined)
    throw new CliError('--percent says how many sidecars --wait applied waits for: say that too.');
  const waitAppliedMs = flags.wait === 'applied' && !isDryRun ? flags.timeout : 0;
  try {
    const result = await send(client, { waitAppliedMs, percent: flags.percent, isDryRun });
    if (flags.output !== 'text') return terminal.out(await formatValue(result, flags.output));
    say(result.results, isDryRun, terminal);
    const total = totalOf(result.results);
    if (isDryRun) {
      await showDiff(result.results, terminal);
      if (total !== null) terminal.out(`${total}; a dry run: nothing was written`);
      return;
    }
    const { applied, revision } = result;
    const where = applied === undefined ? '' : `, in force on ${countOf(applied.applied.length, 'sidecar')}`;
    terminal.out(`revision ${revision}${where}${notCounted(applied?.gone)}`);
    if (total !== null) terminal.out(total);
    // Where fewer than all were enough.
    const behind = applied === undefined ? [] : linesOf(applied);
    if (behind.length > 0) terminal.err(`not yet on ${countOf(behind.length, 'sidecar')}:\n${behind.join('\n')}`);
  } catch (error) {
    if (!(error instanceof RefusedError) || error.refusal.code !== 'not-applied') throw error;
    if (flags.output === 'text') say(error.refusal.results ?? [], isDryRun, terminal);
    throw notApplied(error.refusal, flags.timeout);
  }
}

function say(results: TransactionResult['results'], isDryRun: boolean, terminal: Terminal): void {
  const unchanged = results.filter(({ action }) => action === 'unchanged').length;
  const areLeftOut = unchanged > unchangedShownMax;
  for (const { kind, namespace, name, action } of results)
    if (!areLeftOut || action !== 'unchanged')
      terminal.out(`${kind}/${namespace}/${name} ${action}${isDryRun ? ' (dry run)' : ''}`);
  if (areLeftOut) terminal.out(`(${unchanged} that are unchanged are not listed)`);
}

/** `1 replaced, 399 unchanged`; null: they are so few that each was seen. */
function totalOf(results: TransactionResult['results']): string | null {
  if (results.length <= unchangedShownMax) return null;
  const counts = new Map<string, number>();
  for (const { action } of results) counts.set(action, (counts.get(action) ?? 0) + 1);
  const last = counts.get('unchanged');
  counts.delete('unchanged');
  if (last !== undefined) counts.set('unchanged', last);
  return [...counts].map(([action, count]) => `${count} ${action}`).join(', ');
}

async function showDiff(results: TransactionResult['results'], terminal: Terminal): Promise<void> {
  const { changesOf, formatDiff } = await import('./object-diff.ts');
  const diff = formatDiff(changesOf(results), { before: 'now', after: 'after this' }, terminal.hasColours);
  if (diff !== '') terminal.out(`\n${diff}`);
}

/** They have perhaps not got it, and perhaps serve. */
function notCounted(gone: Refusal['gone'] = []): string {
  if (gone.length === 0) return '';
  return `; not counted: ${countOf(gone.length, 'sidecar')} not heard of any more (gone in \`weft status\`), which may serve without it`;
}

function linesOf({ missing = [], refused = [] }: Pick<Refusal, 'missing' | 'refused'>): string[] {
  return [
    ...refused.map(
      ({ service, namespace, sidecar, reason }) => `  ${service}.${namespace} (${sidecar}) refused it: ${reason}`,
    ),
    ...missing.map(({ service, namespace, sidecar }) => `  ${service}.${namespace} (${sidecar}) has not answered`),
  ];
}

function notApplied(refusal: Refusal, timeoutMs: number): CliError {
  const { revision } = refusal;
  const lines = linesOf(refusal);
  return new CliError(
    `Revision ${revision} is committed, but within ${timeoutMs / 1000} s it did not come into force on ${countOf(lines.length, 'sidecar')}${notCounted(refusal.gone)}:\n${lines.join('\n')}`,
  );
}
