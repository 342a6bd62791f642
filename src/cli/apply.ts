/** `weft apply`: creates or replaces resources, and removes others with them, all in one revision or none. */
import { Command } from 'commander';
import { ControlPlaneClient } from './client.ts';
import { collect } from './flag-values.ts';
import type { Terminal } from './terminal.ts';
import { addWriteFlags, type WriteFlags, write } from './transaction.ts';
import { addChangeFlags, type ChangeFlags, fileDescription, readChanges } from './wanted-changes.ts';

export function applyCommand(terminal: Terminal): Command {
  const command = new Command('apply')
    .description('create or replace resources; all of them in one revision, or none')
    .requiredOption('-f, --file <path>', fileDescription, collect)
    .addHelpText(
      'after',
      `
A resource with metadata.resourceVersion is written only if it is still at that revision.

Examples:
  weft apply -f mesh.yaml                        write every resource of the file
  weft apply -f mesh/ -f extra.yaml --wait applied -m 'half to v2'
                                                 several; return once it is in force everywhere
  weft apply -f mesh.yaml --dry-run              check it against what the control plane holds, and show what would differ
  weft apply -f renamed.yaml --delete service/cart --delete httproute/cart
                                                 rename: nobody sees a state in between
  weft apply -f mesh/ --prune -l app=shop        and remove what has the label and is in no file any more
  generate-routes | weft apply -f -              from standard input`,
    )
    .action(async (flags: WriteFlags & ChangeFlags) => {
      const client = new ControlPlaneClient(flags);
      const { entries, changes } = await readChanges(flags, client, terminal);
      const { withPlaces } = await import('./manifest-files.ts');
      const message = flags.message ?? '';
      const send = () =>
        write((_, options) => client.transact({ ...changes, message }, options), flags, terminal, client);
      await withPlaces(entries, send);
    });
  return addWriteFlags(addChangeFlags(command));
}
