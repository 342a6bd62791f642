/** `weft rollback`: brings the resources back to what they were right after a revision, as a new revision. */
import { Command } from 'commander';
import { parseRevision } from './diff.ts';
import type { Terminal } from './terminal.ts';
import { addWriteFlags, type WriteFlags, write } from './transaction.ts';

export function rollbackCommand(terminal: Terminal): Command {
  const command = new Command('rollback')
    .description('bring the resources back to what they were right after a revision, as a new revision')
    .argument('<revision>', 'as weft history lists them', parseRevision)
    .addHelpText(
      'after',
      `
Everything that people have changed since is taken back in one revision, checked as a whole as any other change is. Services that a sidecar has made by
its registration stay. Certificates, roots and tokens never go back. A rollback can itself be rolled back.

Examples:
  weft rollback 41 --dry-run                     what would change, and whether it would be taken
  weft rollback 41 --wait applied -m 'v2 is slow'
  weft history                                   which revisions there are`,
    )
    .action(async (revision: number, flags: WriteFlags) => {
      await write(
        async (client, options) => {
          const result = await client.rollBack(revision, flags.message ?? '', options);
          if (result.results.length === 0 && flags.output === 'text')
            terminal.out(`nothing to change: the resources are as they were after revision ${revision}`);
          return result;
        },
        flags,
        terminal,
      );
    });
  return addWriteFlags(command);
}
