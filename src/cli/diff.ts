/** `weft diff`: what changed between two revisions, or what applying files would change. Its exit codes are those of `kubectl diff`. */
import { Command, InvalidArgumentError } from 'commander';
import { addClientFlags, type ClientFlags, ControlPlaneClient, type ObjectChange } from './client.ts';
import { formatValue, type TextOutput, textOption } from './output-flag.ts';
import { CliError, exitCodes, type Terminal, usageError } from './terminal.ts';
import { addChangeFlags, addFileOption, type ChangeFlags, readChanges } from './wanted-changes.ts';

type DiffFlags = ClientFlags &
  Omit<ChangeFlags, 'file'> & { readonly file?: readonly string[]; readonly output: TextOutput };

interface Difference {
  readonly changes: readonly ObjectChange[];
  readonly before: string;
  readonly after: string;
}

/** 1 says that there are differences, so that what goes wrong needs another code. */
const codes = { same: exitCodes.ok, different: 1, failed: 2 } as const;

export function diffCommand(terminal: Terminal): Command {
  const command = addFileOption(new Command('diff'))
    .description('show what changed between two revisions, or what applying files would change')
    .argument('[revision]', 'what changed after this one', parseRevision)
    .argument('[later]', 'up to this one (default: now)', parseRevision)
    .addHelpText(
      'after',
      `
A unified diff of YAML, without what the control plane adds (resourceVersion, creationTimestamp). In colour on a terminal, unless NO_COLOR is set.
With -f everything is checked as weft apply does it, --delete and --prune too, and nothing is changed.
Exit codes: 0 nothing differs, 1 something does, 2 it could not be found out.

Examples:
  weft diff 41                     what has changed since revision 41
  weft diff 41 42                  what revision 42 changed
  weft diff 42 41                  what going back would change
  weft diff -f mesh/               what weft apply -f mesh/ would change`,
    )
    .action(async (revision: number | undefined, later: number | undefined, flags: DiffFlags) => {
      const { changes, before, after } = await withCode(() => find(revision, later, flags, terminal));
      terminal.exitCode = changes.length === 0 ? codes.same : codes.different;
      if (flags.output !== 'text') return terminal.out(await formatValue(changes, flags.output));
      const { formatDiff } = await import('./object-diff.ts');
      const diff = formatDiff(changes, { before, after }, terminal.hasColours);
      if (diff === '') terminal.exitCode = codes.same;
      else terminal.out(diff);
    });
  return addClientFlags(addChangeFlags(command).addOption(textOption()));
}

async function find(
  revision: number | undefined,
  later: number | undefined,
  flags: DiffFlags,
  terminal: Terminal,
): Promise<Difference> {
  const client = new ControlPlaneClient(flags);
  const { file, ...others } = flags;
  if (file === undefined) {
    if (revision === undefined) throw usageError('Say what to compare: REVISION [LATER], or -f FILE.');
    if (others.delete !== undefined || others.prune !== undefined || others.selector !== undefined)
      throw usageError('--delete, --prune and --selector go with -f FILE.');
    const { from, to, changes } = await client.diff(revision, later);
    return { changes, before: `revision ${from}`, after: `revision ${to}` };
  }
  if (revision !== undefined) throw usageError('-f compares with what is there now: leave the revisions out.');
  const { entries, changes } = await readChanges({ ...others, file }, client, terminal);
  const { withPlaces } = await import('./manifest-files.ts');
  const dryRun = { waitAppliedMs: 0, isDryRun: true };
  const { results } = await withPlaces(entries, () => client.transact({ ...changes, message: '' }, dryRun));
  const { changesOf } = await import('./object-diff.ts');
  return { changes: changesOf(results), before: 'now', after: 'after this' };
}

async function withCode<T>(find: () => Promise<T>): Promise<T> {
  try {
    return await find();
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    throw new CliError(error.message, codes.failed, { cause: error });
  }
}

/** Shared with every command that takes one. */
export function parseRevision(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text))
    throw new InvalidArgumentError('Expected the number of a revision, as weft history lists them.');
  return Number(text);
}
