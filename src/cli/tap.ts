/** `weft tap`: the requests of one sidecar as they end. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { limits } from '../model/limits.ts';
import type { RecentAnswer, RecentRequest } from '../model/recent-request.ts';
import { AdminClient, type AdminFlags, addAdminFlags, asksOneSidecar, keptShare } from './admin-client.ts';
import { parseWait } from './flag-values.ts';
import { formatMs } from './table.ts';
import type { Terminal } from './terminal.ts';
import { printable } from './waterfall.ts';

interface TapFlags extends AdminFlags {
  readonly service?: string;
  readonly route?: string;
  readonly status?: string;
  readonly slowerThan?: number;
  readonly failed?: boolean;
  readonly limit?: number;
  readonly rate: number;
  readonly every: number;
}

/** Loops are asked one after the other, so a request may be older than one that was seen before it. */
const lateMs = 1_000;

export function tapCommand(terminal: Terminal): Command {
  const command = new Command('tap')
    .description('show requests as they end')
    .addOption(new Option('--service <name>', 'only from or to this service: NAME or NAME.NAMESPACE'))
    .addOption(new Option('--route <name>', 'only of this route'))
    .addOption(new Option('--status <status>', 'only with this status, or of a class: 503, 5xx'))
    .addOption(new Option('--slower-than <duration>', 'only those that took so long').argParser(parseWait))
    .addOption(new Option('--failed', 'only failures and answers of 5xx'))
    .addOption(new Option('--limit <count>', 'end after so many').argParser(parseCount))
    .addOption(new Option('--rate <count>', 'lines a second, at most').argParser(parseCount).default(50))
    .addOption(new Option('--every <duration>', 'how often to look').argParser(parseWait).default(500, '500ms'))
    .addHelpText(
      'after',
      `
Examples:
  weft tap
  weft tap --service cart --slower-than 100ms
  weft tap --failed --limit 10 -o json

It ends with Ctrl-C, or after --limit. What ends faster than --rate, or than ${limits.recentAnswerMax} between two looks, is not shown, and that is said.
The last column is the span id, for \`weft trace\` and \`weft why\`.
${asksOneSidecar}`,
    )
    .action(async (flags: TapFlags) => {
      const client = new AdminClient(flags);
      const query = queryOf(flags);
      const everyMs = Math.max(flags.every, 20);
      const first = await client.requests(query);
      if (first.requests.length === 0 && (flags.service !== undefined || flags.route !== undefined))
        terminal.err('... none of the last requests here is like that: this waits for one (is the name right?)');
      const news = new News(first);
      /** Said once, and again where even fewer are kept. */
      let fewestSaid = 1;
      let left = flags.limit ?? Number.POSITIVE_INFINITY;
      while (left > 0) {
        await new Promise((resolve) => setTimeout(resolve, everyMs));
        const answer = await client.requests(query);
        const { fresh, isGap } = news.take(answer);
        if (answer.keptOneIn > fewestSaid) {
          fewestSaid = answer.keptOneIn;
          terminal.err(`... ${keptShare(answer)}`);
        }
        const room = Math.min(left, Math.max(1, Math.floor((flags.rate * everyMs) / 1000)));
        for (const request of fresh.slice(0, room))
          terminal.out(flags.output === 'json' ? JSON.stringify(request) : formatLine(request));
        left -= Math.min(room, fresh.length);
        if (left > 0 && fresh.length > room)
          terminal.err(`... ${fresh.length - room} more: beyond --rate ${flags.rate}`);
        if (isGap)
          terminal.err(`... and more than one answer holds (${limits.recentAnswerMax}): narrow it with a filter`);
      }
    });
  return addAdminFlags(command);
}

function parseCount(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 1_000_000)
    throw new InvalidArgumentError('Expected a number from 1 to 1000000.');
  return count;
}

function queryOf({ service, route, status, slowerThan, failed }: TapFlags): Record<string, string> {
  return {
    limit: String(limits.recentAnswerMax),
    ...(service === undefined ? {} : { service }),
    ...(route === undefined ? {} : { route }),
    ...(status === undefined ? {} : { status }),
    ...(slowerThan === undefined ? {} : { 'min-ms': String(slowerThan) }),
    ...(failed === true ? { failed: '1' } : {}),
  };
}

/** What an answer has that none before it had. Its memory is two answers. */
class News {
  private newestMs = 0;
  private before = new Set<string>();
  private seen = new Set<string>();

  constructor(first: RecentAnswer) {
    this.take(first);
  }

  /** Oldest first. `isGap`: there may have been more. */
  take({ requests }: RecentAnswer): { readonly fresh: readonly RecentRequest[]; readonly isGap: boolean } {
    const fromMs = this.newestMs - lateMs;
    const fresh = requests.filter(
      ({ time, spanId }) => Date.parse(time) >= fromMs && !this.seen.has(spanId) && !this.before.has(spanId),
    );
    this.before = this.seen;
    this.seen = new Set(requests.map(({ spanId }) => spanId));
    if (requests.length > 0) this.newestMs = Math.max(this.newestMs, Date.parse(requests[0]!.time));
    return { fresh: fresh.toReversed(), isGap: fresh.length === limits.recentAnswerMax };
  }
}

function formatLine(request: RecentRequest): string {
  const { time, direction, source, destination, method, path, status, totalMs, failure, farFailure, spanId } = request;
  const failed = failure ?? farFailure ?? '';
  const hop = `${direction === 'inbound' ? 'in ' : 'out'} ${source || '-'} -> ${destination || '-'}`;
  const what = `${method} ${printable(path)}`;
  return `${time.slice(11, 23)}  ${hop}  ${what}  ${status}${failed === '' ? '' : ` ${printable(failed)}`}  ${formatMs(totalMs)}ms  ${spanId}`;
}
