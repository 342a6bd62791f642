/** `weft latency`: where the time of the requests around p50, p95 and p99 went, for every hop of a Service. */
import { Command } from 'commander';
import type { HopLatency, LatencyAt, RecentHop } from '../model/recent-request.ts';
import { parts } from '../telemetry/recorder.ts';
import { AdminClient, type AdminFlags, addAdminFlags, asksOneSidecar, missingLoops } from './admin-client.ts';
import { type Cell, formatMs, formatTable } from './table.ts';
import { CliError, type Terminal } from './terminal.ts';

export function latencyCommand(terminal: Terminal): Command {
  const command = new Command('latency')
    .description("show where a Service's time goes at p50, p95 and p99, hop by hop")
    .argument('<service>', 'hops from or to this service: NAME or NAME.NAMESPACE')
    .addHelpText(
      'after',
      `
Examples:
  weft latency cart
  weft latency cart --admin 127.0.0.1:15012
  weft latency cart -o json

Each row is the mean of the requests around that percentile, in milliseconds, and adds up to its TOTAL; OF says how many requests that
is. The row "far" below it is what the sidecar at the other end said of its own hop. ~ marks a LOOP that holds upper bounds.
\`weft stat --help\` explains the parts.
${asksOneSidecar}`,
    )
    .action(async (service: string, flags: AdminFlags) => {
      const answer = await new AdminClient(flags).latency(service);
      if (flags.output === 'json') return terminal.out(JSON.stringify(answer, null, 2));
      if (answer.hops.length === 0)
        throw new CliError(`This sidecar keeps no request from or to ${service}.${missingLoops(answer)}`);
      terminal.out(answer.hops.map(formatHop).join('\n\n') + missingLoops(answer));
    });
  return addAdminFlags(command);
}

function formatHop({ direction, source, destination, requests, at }: HopLatency): string {
  const seen = parts.filter((part) =>
    at.some((each) => part in each.partsMs || (each.far && part in each.far.partsMs)),
  );
  const cells = ({ partsMs, totalMs }: RecentHop): Cell[] => [
    ...seen.map((part) => (partsMs[part] === undefined ? '-' : formatMs(partsMs[part]))),
    formatMs(totalMs),
  ];
  const rows = at.flatMap((each) => [
    [`p${each.percentile}`, ...cells(each), `${each.requests}${estimateMark(each)}`],
    ...(each.far === null ? [] : [['  far', ...cells(each.far), String(each.far.requests)]]),
  ]);
  const head = ['', ...seen.map((part) => part.toUpperCase()), 'TOTAL', 'OF'];
  return `${direction}  ${source || '-'} -> ${destination || '-'}  (${requests} requests kept)\n${formatTable(head, rows)}`;
}

const estimateMark = ({ loopEstimates }: LatencyAt): string => (loopEstimates > 0 ? ' ~' : '');
