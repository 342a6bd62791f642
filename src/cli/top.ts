/** `weft top`: the busiest hops of the mesh, live. */
import { setTimeout } from 'node:timers/promises';
import { Command, Option } from 'commander';
import { limits } from '../model/limits.ts';
import type { MeshStats, SeriesStats } from '../model/report.ts';
import { parts } from '../telemetry/recorder.ts';
import { addClientFlags, type ClientFlags, ControlPlaneClient } from './client.ts';
import { durationFlag } from './duration-flag.ts';
import { scopeNotes, secondsOf } from './reported-traffic.ts';
import type { OpenScreen, Screen } from './screen.ts';
import { successPercent } from './stat.ts';
import { countOf, formatMs, formatTable } from './table.ts';
import { CliError, type Terminal } from './terminal.ts';
import { printable } from './waterfall.ts';

const orders = ['rate', 'success', 'p50', 'p95', 'p99', 'name'] as const;
type Order = (typeof orders)[number];

interface TopFlags extends ClientFlags {
  readonly sort: Order;
  readonly every: number;
  readonly window: number;
  readonly once?: boolean;
  readonly output: 'table' | 'json';
}

const quitKeys: ReadonlySet<string> = new Set(['q', 'Q', '\u0003', '\u0004']);

export function topCommand(terminal: Terminal): Command {
  const command = new Command('top')
    .description('show the busiest hops of the mesh, live')
    .argument('[service]', 'only hops from or to this service: NAME or NAME.NAMESPACE')
    .addOption(new Option('--sort <column>', 'by what').choices(orders).default('rate'))
    .addOption(
      new Option('--every <duration>', 'how often to look')
        .argParser(durationFlag(500, 60_000, '500ms to 60s'))
        .default(2_000, '2s'),
    )
    .addOption(
      new Option('--window <duration>', 'of how long the numbers are, in steps of 5s')
        .argParser(durationFlag(5_000, limits.statWindowMs, `5s to ${limits.statWindowMs / 1000}s`))
        .default(15_000, '15s'),
    )
    .addOption(new Option('--once', 'print one frame and end'))
    .addOption(
      new Option('-o, --output <format>', 'how; json prints one frame').choices(['table', 'json']).default('table'),
    )
    .addHelpText(
      'after',
      `
Examples:
  weft top
  weft top cart --sort p99
  weft top --once
  weft top -o json --window 60s

Keys: q ends it, s sorts by the next column (${orders.join(', ')}). Where there is no terminal one frame is printed, as with --once.
MOSTLY is the part that took the largest share of the time, on average; \`weft stat\` has all of them and says what they are, and
\`weft latency SERVICE\` has them for the slow requests.`,
    )
    .action(async (service: string | undefined, flags: TopFlags) => {
      const client = new ControlPlaneClient(flags);
      const seconds = Math.ceil(flags.window / 1000);
      const ask = () => client.stats({ seconds, ...(service === undefined ? {} : { service }) });
      const first = await ask();
      if (flags.output === 'json')
        return terminal.out(JSON.stringify({ ...first, series: sorted(first, flags.sort) }, null, 2));
      const { screen } = terminal;
      if (flags.once === true || screen === null) return terminal.out(frameOf(first, flags.sort).join('\n'));
      await watch(screen, first, ask, flags, client.server);
    });
  return addClientFlags(command);
}

/** Draws until it is told to end. A control plane that does not answer leaves the last frame, and is asked again. */
async function watch(
  screen: Screen,
  first: MeshStats,
  ask: () => Promise<MeshStats>,
  { sort, every }: TopFlags,
  server: string,
): Promise<void> {
  let stats = first;
  let order = sort;
  let trouble = '';
  let isOver = false;
  let quit = () => {};
  /** Waits for the work, or until it is told to end. */
  const orQuit = (work: Promise<unknown>) =>
    new Promise<void>((resolve, reject) => {
      quit = resolve;
      work.then(() => resolve(), reject);
    });
  const open: OpenScreen = screen.open((keys) => {
    for (const key of keys) {
      if (quitKeys.has(key)) isOver = true;
      if (key === 's') order = orders[(orders.indexOf(order) + 1) % orders.length]!;
    }
    if (isOver) quit();
    else draw();
  });
  const draw = () => {
    const foot = trouble === '' ? `${server}  every ${every / 1000} s  sorted by ${order}  q: quit  s: sort` : trouble;
    open.draw([...frameOf(stats, order).slice(0, open.rows - 2), '', foot]);
  };
  const look = async () => {
    try {
      stats = await ask();
      trouble = '';
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      trouble = error.message.split('\n', 1)[0]!;
    }
  };
  try {
    while (!isOver) {
      draw();
      const pause = new AbortController();
      await orQuit(setTimeout(every, undefined, { signal: pause.signal }));
      pause.abort();
      if (!isOver) await orQuit(look());
    }
  } finally {
    open.close();
  }
}

/** One line an item; the first has the whole. */
export function frameOf(stats: MeshStats, order: Order): string[] {
  const series = sorted(stats, order);
  const seconds = stats.windowMs / 1000;
  const calls = series.filter(({ direction }) => direction === 'outbound');
  const rate = calls.reduce((sum, { requests }) => sum + requests, 0) / seconds;
  const head = `last ${secondsOf(stats)} s  ${countOf(series.length, 'hop')}  ${rate.toFixed(1)} calls/s`;
  if (series.length === 0) return [`${head}: no requests${scopeNotes(stats.scope)}`];
  const table = formatTable(
    ['FROM', 'TO', 'ROUTE', 'HOP', 'SUCCESS', 'REQ/S', 'P50', 'P95', 'P99', 'MOSTLY'],
    series.map((each) => [
      ...[each.source, each.destination, each.route].map((name) => printable(name) || '-'),
      each.direction,
      `${successPercent(each).toFixed(2)}%`,
      (each.requests / seconds).toFixed(1),
      ...[each.p50Ms, each.p95Ms, each.p99Ms].map((ms) => `${formatMs(ms)}ms`),
      mostly(each),
    ]),
  );
  return `${head}${scopeNotes(stats.scope)}\n${table}`.split('\n');
}

function sorted({ series }: MeshStats, order: Order): readonly SeriesStats[] {
  return [...series].sort((a, b) => compare(a, b, order) || byName(a, b));
}

function compare(a: SeriesStats, b: SeriesStats, order: Order): number {
  switch (order) {
    case 'rate':
      return b.requests - a.requests;
    case 'success':
      return successPercent(a) - successPercent(b);
    case 'p50':
      return b.p50Ms - a.p50Ms;
    case 'p95':
      return b.p95Ms - a.p95Ms;
    case 'p99':
      return b.p99Ms - a.p99Ms;
    case 'name':
      return 0;
    default:
      return order satisfies never;
  }
}

function byName(a: SeriesStats, b: SeriesStats): number {
  return (
    a.source.localeCompare(b.source) ||
    a.destination.localeCompare(b.destination) ||
    a.route.localeCompare(b.route) ||
    b.direction.localeCompare(a.direction)
  );
}

/** `wait 82%`: what to look at first. */
function mostly({ parts: meanMs }: SeriesStats): string {
  const totalMs = Object.values(meanMs).reduce((sum, ms) => sum + ms, 0);
  if (totalMs === 0) return '-';
  const [part] = [...parts].sort((a, b) => (meanMs[b] ?? 0) - (meanMs[a] ?? 0));
  return `${part} ${Math.round((100 * (meanMs[part!] ?? 0)) / totalMs)}%`;
}
