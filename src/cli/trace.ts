/** `weft trace`: the waterfall of one call, or of all calls of a trace, as one sidecar saw them. */
import { Command } from 'commander';
import {
  AdminClient,
  type AdminFlags,
  addAdminFlags,
  asksOneSidecar,
  missingLoops,
  onlyTheLast,
  parseRequestId,
} from './admin-client.ts';
import type { Terminal } from './terminal.ts';
import { formatWaterfall } from './waterfall.ts';

export function traceCommand(terminal: Terminal): Command {
  const command = new Command('trace')
    .description('draw where the time of one call went, its far hop included')
    .argument('<id>', 'Weft-Request-Id of an answer, a trace id, a span id or a traceparent', parseRequestId)
    .addHelpText(
      'after',
      `
Examples:
  weft trace 4bf92f3577b34da6a3ce929d0e0e4736
  weft trace 00f067aa0ba902b7 --admin 127.0.0.1:15012
  weft trace 4bf92f3577b34da6a3ce929d0e0e4736 -o json

Parts are drawn in their order and sum to the total; \`own\` lies between the others and is drawn last, and how \`network\` was shared
between there and back is not known. \`far\` is what the other sidecar said of its own hop. ~ marks an upper bound (docs/ledger.md).
${asksOneSidecar}`,
    )
    .action(async (id: string, flags: AdminFlags) => {
      const answer = await new AdminClient(flags).request(id);
      if (flags.output === 'json') return terminal.out(JSON.stringify(answer.requests, null, 2));
      terminal.out(
        [...answer.requests].reverse().map(formatWaterfall).join('\n\n') + onlyTheLast(answer) + missingLoops(answer),
      );
    });
  return addAdminFlags(command);
}
