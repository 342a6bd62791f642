/** One transaction sent for a person: the flags of every command that writes, and what became of the write in words. */
import { type Command, Option } from 'commander';
import { limits } from '../model/limits.ts';
import {
  addClientFlags,
  type ClientFlags,
  ControlPlaneClient,
  type Refusal,
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
  const isDryRun = flags.dryRun === true;
  const say = (results: TransactionResult['results']) => {
    for (const { kind, namespace, name, action } of results)
      terminal.out(`${kind}/${namespace}/${name} ${action}${isDryRun ? ' (dry run)' : ''}`);
  };
  try {
    const { applied, results, revision } = await new ControlPlaneClient(flags).transact(
      { ...changes, message: flags.message ?? '' },
      { waitAppliedMs: flags.wait === 'applied' && !isDryRun ? flags.timeout : 0, isDryRun },
    );
    say(results);
    if (isDryRun) return;
    const where = applied === undefined ? '' : `, in force on ${countOf(applied.applied.length, 'sidecar')}`;
    terminal.out(`revision ${revision}${where}`);
  } catch (error) {
    if (!(error instanceof RefusedError) || error.refusal.code !== 'not-applied') throw error;
    say(error.refusal.results ?? []);
    throw notApplied(error.refusal, flags.timeout);
  }
}

function notApplied({ revision, missing = [], refused = [] }: Refusal, timeoutMs: number): CliError {
  const lines = [
    ...refused.map(
      ({ service, namespace, sidecar, reason }) => `  ${service}.${namespace} (${sidecar}) refused it: ${reason}`,
    ),
    ...missing.map(({ service, namespace, sidecar }) => `  ${service}.${namespace} (${sidecar}) has not answered`),
  ];
  return new CliError(
    `Revision ${revision} is committed, but within ${timeoutMs / 1000} s it did not come into force on ${countOf(lines.length, 'sidecar')}:\n${lines.join('\n')}`,
  );
}
