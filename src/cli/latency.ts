/** `weft latency`: where the time of the requests around p50, p95 and p99 went, for every hop of a Service, over the mesh or as one sidecar knows it. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { formatAddress, type HostPort } from '../model/host-port.ts';
import { limits } from '../model/limits.ts';
import type { HopLatency, LatencyAnswer, LatencyAt, RecentHop } from '../model/recent-request.ts';
import type { MeshHop, MeshLatency } from '../model/report.ts';
import { type Part, parts } from '../telemetry/recorder.ts';
import { AdminClient, missingLoops } from './admin-client.ts';
import { addClientFlags, type ClientFlags, ControlPlaneClient, isUnreachable } from './client.ts';
import { parseTargetAddress } from './flag-values.ts';
import { describeNone, scopeNotes, secondsOf, someOf } from './reported-traffic.ts';
import { type Cell, countOf, formatMs, formatTable } from './table.ts';
import { CliError, type Terminal, usageError } from './terminal.ts';

interface LatencyFlags extends ClientFlags {
  readonly admin?: HostPort;
  readonly route?: string;
  readonly routes?: boolean;
  readonly depth?: number;
  readonly output: 'table' | 'json';
}

/** Where a sidecar's admin port is unless it was told otherwise. */
const usualAdmin: HostPort = { host: '127.0.0.1', port: 15_000 };

export function latencyCommand(terminal: Terminal): Command {
  const command = new Command('latency')
    .description("show where a Service's time goes at p50, p95 and p99, hop by hop")
    .argument('<service>', 'hops from or to this service, and those behind them: NAME or NAME.NAMESPACE')
    .addOption(new Option('--route <name>', 'only of this route'))
    .addOption(new Option('--routes', 'each route of a hop by itself'))
    .addOption(
      new Option(
        '--depth <count>',
        `how far to follow the calls: 0 shows those to the service, 1 its own too (default: ${limits.latencyDepthMax})`,
      ).argParser(parseDepth),
    )
    .addOption(
      new Option('--admin <host:port>', 'ask one sidecar by its admin port instead').argParser(parseTargetAddress),
    )
    .addOption(new Option('-o, --output <format>', 'how').choices(['table', 'json']).default('table'))
    .addHelpText(
      'after',
      `
Examples:
  weft latency web
  weft latency cart --depth 0 --routes
  weft latency cart --server http://127.0.0.1:7070 -o json
  weft latency cart --admin 127.0.0.1:15012

Each row is the mean of the requests around that percentile, in milliseconds, and adds up to its TOTAL: percentiles of single parts would
not. The control plane knows the last minute of all sidecars that report to it: the requests of a row are those whose total lies BETWEEN
two bounds that have the percentile (AT), at most 28 % apart, and OF says how many they are. An outbound hop is a call as the caller's
sidecar saw it; the inbound hop below it is the same call at the other side. Behind the calls to a service come those that it makes, and
so on: all of them, whoever had caused them. ~ marks a LOOP that holds upper bounds. \`weft stat --help\` explains the parts.

With --admin one sidecar is asked for the last requests that it keeps, 1,024 of each event loop (docs/ledger.md); the row "far" is what the
sidecar at the other end said of its own hop. Where no control plane was named and none answers, the sidecar at ${formatAddress(usualAdmin)} is asked.`,
    )
    .action(async (service: string, flags: LatencyFlags, self: Command) => {
      const isMeshOnly = flags.route !== undefined || flags.routes === true || flags.depth !== undefined;
      if (flags.admin !== undefined) {
        if (isMeshOnly) throw usageError('--route, --routes and --depth are for the control plane, not for --admin.');
        return terminal.out(await ofSidecar(service, flags.admin, flags.output));
      }
      const client = new ControlPlaneClient(flags);
      try {
        terminal.out(await ofMesh(service, client, flags));
      } catch (error) {
        if (!isUnreachable(error) || isMeshOnly || self.getOptionValueSource('server') !== 'default') throw error;
        const answer = await ofSidecar(service, usualAdmin, flags.output).catch(() => null);
        if (answer === null)
          throw new CliError(`${(error as CliError).message} Or ask one sidecar with --admin HOST:PORT.`);
        terminal.err(
          `No control plane answers at ${client.server}: this is what the sidecar at ${formatAddress(usualAdmin)} knows.`,
        );
        terminal.out(answer);
      }
    });
  return addClientFlags(command);
}

function parseDepth(text: string): number {
  const depth = Number(text);
  if (!/^[0-9]{1,2}$/.test(text) || depth > limits.latencyDepthMax)
    throw new InvalidArgumentError(`Expected a number from 0 to ${limits.latencyDepthMax}.`);
  return depth;
}

async function ofSidecar(service: string, admin: HostPort, output: LatencyFlags['output']): Promise<string> {
  const answer: LatencyAnswer = await new AdminClient({ admin, output }).latency(service);
  if (output === 'json') return JSON.stringify(answer, null, 2);
  if (answer.hops.length === 0)
    throw new CliError(`This sidecar keeps no request from or to ${service}.${missingLoops(answer)}`);
  return answer.hops.map(formatHop).join('\n\n') + missingLoops(answer);
}

async function ofMesh(service: string, client: ControlPlaneClient, flags: LatencyFlags): Promise<string> {
  const { route = null, routes = false, depth = limits.latencyDepthMax, output } = flags;
  const answer = await client.latency({ service, route, isByRoute: routes, depth });
  if (output === 'json') return JSON.stringify(answer, null, 2);
  if (answer.hops.length === 0 && route !== null) await refuseUnusedRoute(service, route, depth, client);
  if (answer.hops.length === 0)
    return (await describeNone(service, secondsOf(answer), client)) + scopeNotes(answer.scope);
  return formatMesh(service, answer);
}

/**
 * A route's name is long and easily mistaken: `NAMESPACE/NAME/RULE`.
 * @throws CliError with those that had requests, where there are any.
 */
async function refuseUnusedRoute(
  service: string,
  route: string,
  depth: number,
  client: ControlPlaneClient,
): Promise<void> {
  const answer = await client.latency({ service, route: null, isByRoute: true, depth });
  const used = [...new Set(answer.hops.map((hop) => hop.route || '(none)'))].sort();
  if (used.length === 0) return;
  throw new CliError(`no requests of route ${route} in the last ${secondsOf(answer)} s, but of ${someOf(used)}`);
}

function formatMesh(service: string, { windowMs, hops, hopsLeftOut, scope }: MeshLatency): string {
  const depths = [...new Set(hops.map(({ depth }) => depth))];
  const sections = depths.map((depth) => {
    const shown = hops.filter((hop) => hop.depth === depth).map(formatMeshHop);
    return [headOf(service, depth), ...shown].join('\n\n');
  });
  const leftOut = hopsLeftOut === 0 ? '' : `\n(${countOf(hopsLeftOut, 'hop')} more: --depth and --route narrow it)`;
  return `last ${secondsOf({ windowMs })} s\n\n${sections.join('\n\n')}${leftOut}${scopeNotes(scope)}`;
}

const headOf = (service: string, depth: number): string =>
  depth === 0
    ? `== calls to ${service} ==`
    : depth === 1
      ? `== calls that ${service} makes ==`
      : `== ${depth - 1} further on ==`;

function formatMeshHop({ direction, source, destination, route, requests, at }: MeshHop): string {
  const ofRoute = route === null ? '' : `  route ${route || '-'}`;
  const seen = seenParts(at);
  const rows = at.map((each) => [
    `p${each.percentile}`,
    formatMs(each.percentileMs ?? each.totalMs),
    ...hopCells(each, seen),
    `${each.requests}${estimateMark(each)}`,
    `${formatMs(each.fromMs ?? 0)} to ${each.toMs === null || each.toMs === undefined ? 'any' : formatMs(each.toMs)}`,
  ]);
  const head = ['', 'AT', ...seen.map((part) => part.toUpperCase()), 'TOTAL', 'OF', 'BETWEEN'];
  return `${direction}  ${source || '-'} -> ${destination || '-'}${ofRoute}  (${countOf(requests, 'request')})\n${formatTable(head, rows)}`;
}

function formatHop({ direction, source, destination, requests, at }: HopLatency): string {
  const seen = seenParts(at);
  const rows = at.flatMap((each) => [
    [`p${each.percentile}`, ...hopCells(each, seen), `${each.requests}${estimateMark(each)}`],
    ...(each.far === null ? [] : [['  far', ...hopCells(each.far, seen), String(each.far.requests)]]),
  ]);
  const head = ['', ...seen.map((part) => part.toUpperCase()), 'TOTAL', 'OF'];
  return `${direction}  ${source || '-'} -> ${destination || '-'}  (${requests} requests kept)\n${formatTable(head, rows)}`;
}

const seenParts = (at: readonly LatencyAt[]): readonly Part[] =>
  parts.filter((part) => at.some((each) => part in each.partsMs || (each.far && part in each.far.partsMs)));

const hopCells = ({ partsMs, totalMs }: RecentHop, seen: readonly Part[]): Cell[] => [
  ...seen.map((part) => (partsMs[part] === undefined ? '-' : formatMs(partsMs[part]))),
  formatMs(totalMs),
];

const estimateMark = ({ loopEstimates }: LatencyAt): string => (loopEstimates > 0 ? ' ~' : '');
