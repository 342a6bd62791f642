/** `weft apply`: creates or replaces resources, all of them in one revision or none. */
import { Command } from 'commander';
import { RefusedError } from './client.ts';
import { collect } from './flag-values.ts';
import type { Terminal } from './terminal.ts';
import { addWriteFlags, type WriteFlags, write } from './transaction.ts';

export function applyCommand(terminal: Terminal): Command {
  const command = new Command('apply')
    .description('create or replace resources; all of them in one revision, or none')
    .requiredOption('-f, --file <path>', 'a file, a folder (with all below) or - (standard input); repeatable', collect)
    .addHelpText(
      'after',
      `
Examples:
  weft apply -f mesh.yaml                  write every resource of the file
  weft apply -f mesh/ --wait applied       the same, and return once it is in force everywhere
  weft apply -f mesh.yaml --dry-run        only check it against what the control plane holds
  generate-routes | weft apply -f -        from standard input`,
    )
    .action(async (flags: WriteFlags & { readonly file: readonly string[] }) => {
      const { locateProblems, readManifestFiles } = await import('./manifest-files.ts');
      const entries = await readManifestFiles(flags.file, terminal);
      try {
        await write({ apply: entries.map(({ resource }) => resource), delete: [] }, flags, terminal);
      } catch (error) {
        if (!(error instanceof RefusedError)) throw error;
        throw new RefusedError({ ...error.refusal, problems: locateProblems(error.refusal.problems ?? [], entries) });
      }
    });
  return addWriteFlags(command);
}
