/** One transaction sent for a person: the flags of every command that writes, and what became of the write in words. */
import { type Command, Option } from 'commander';
import type { AppliedReport } from '../control/fleet.ts';
import { limits } from '../model/limits.ts';
import {
  addClientFlags,
  type ClientFlags,
  ControlPlaneClient,
  RefusedError,
  type Transaction,
  type TransactionResult,
} from './client.ts';
import { parseWait } from './flag-values.ts';
import { countOf } from './table.ts';
import { CliError, type Terminal } from './terminal.ts';

export interface WriteFlags extends ClientFlags {
  readonly wait?: 'applied';
  /** Ms. */
  readonly timeout: number;
  readonly dryRun?: true;
  readonly message?: string;
}

export function addWriteFlags(command: Command): Command {
  return addClientFlags(command)
    .addOption(new Option('--wait <state>', 'return once every sidecar concerned has it in force').choices(['applied']))
    .addOption(
      new Option('--timeout <duration>', 'how long --wait waits before it fails')
        .argParser(parseWait)
        .default(limits.waitAppliedMs, '30s'),
    )
    .option('--dry-run', 'check everything, change nothing')
    .option('-m, --message <text>', 'why; kept with the revision');
}

/**
 * Sends the changes and prints what became of each object.
 * @throws CliError when the control plane refused, or when `--wait applied` ran out: then it names the sidecars.
 */
export async function write(
  changes: Pick<Transaction, 'apply' | 'delete'>,
  flags: WriteFlags,
  terminal: Terminal,
): Promise<void> {
  const result = await send(changes, flags);
  for (const { kind, namespace, name, action } of result.results)
    terminal.out(`${kind}/${namespace}/${name} ${action}${flags.dryRun ? ' (dry run)' : ''}`);
  if (flags.dryRun) return;
  const { applied, revision } = result;
  if (applied === undefined) return terminal.out(`revision ${revision}`);
  if (applied.missing.length + applied.refused.length > 0) throw notApplied(revision, applied, flags.timeout);
  terminal.out(`revision ${revision}, in force on ${countOf(applied.applied.length, 'sidecar')}`);
}

async function send(changes: Pick<Transaction, 'apply' | 'delete'>, flags: WriteFlags): Promise<TransactionResult> {
  const isWaiting = flags.wait === 'applied' && !flags.dryRun;
  try {
    return await new ControlPlaneClient(flags).transact(
      { ...changes, message: flags.message ?? '' },
      { waitAppliedMs: isWaiting ? flags.timeout : 0, isDryRun: flags.dryRun === true },
    );
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    const { missing, refused, revision } = error.refusal;
    if (missing === undefined && refused === undefined) throw error;
    throw notApplied(revision, { missing: missing ?? [], refused: refused ?? [] }, flags.timeout);
  }
}

function notApplied(
  revision: number | undefined,
  { missing, refused }: Pick<AppliedReport, 'missing' | 'refused'>,
  timeoutMs: number,
): CliError {
  const lines = [
    ...refused.map(
      ({ service, namespace, sidecar, reason }) => `  ${service}.${namespace} (${sidecar}) refused it: ${reason}`,
    ),
    ...missing.map(({ service, namespace, sidecar }) => `  ${service}.${namespace} (${sidecar}) has not answered`),
  ];
  const what = revision === undefined ? 'The change' : `Revision ${revision}`;
  return new CliError(
    `${what} is committed, but within ${timeoutMs / 1000} s it did not come into force on ${countOf(lines.length, 'sidecar')}:\n${lines.join('\n')}`,
  );
}
