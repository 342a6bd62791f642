/** `weft why`: what became of one call in a sentence, or what would become of one that is described; what that was decided by, and what to change. */
import { Command, InvalidArgumentError, Option } from 'commander';
import type { Decision, DescribedRequest, DryDecision, RefusedHeadRecord } from '../model/decision.ts';
import type { RecentRequest } from '../model/recent-request.ts';
import {
  AdminClient,
  type AdminFlags,
  addAdminFlags,
  asksOneSidecar,
  missingLoops,
  onlyTheLast,
  parseRequestId,
} from './admin-client.ts';
import { decisionLines, line } from './decision-text.ts';
import { type Terminal, usageError } from './terminal.ts';
import { dryVerdict, refusalVerdict, staleText, type Verdict, verdictOf } from './verdict.ts';
import { describeRequest, printable } from './waterfall.ts';

interface WhyFlags extends AdminFlags {
  readonly method?: string;
  readonly host?: string;
  readonly path?: string;
  readonly header?: readonly (readonly [name: string, value: string])[];
}

export function whyCommand(terminal: Terminal): Command {
  const command = new Command('why')
    .description('say why one call failed, or what took its time, or what would become of one, and what to change')
    .argument('[id]', 'Weft-Request-Id of an answer, a trace id, a span id or a traceparent', parseRequestId)
    .addOption(new Option('--host <name>', 'instead of an id: the host that a call would name'))
    .addOption(new Option('--method <method>', 'of that call (default: GET)'))
    .addOption(new Option('--path <path>', 'of that call, with its query (default: /)').argParser(parsePath))
    .addOption(
      new Option('-H, --header <name: value>', 'a field of that call; several times for several').argParser(addHeader),
    )
    .addHelpText(
      'after',
      `
Examples:
  weft why 4bf92f3577b34da6a3ce929d0e0e4736
  weft why 00f067aa0ba902b7 --admin 127.0.0.1:15012 -o json
  weft why --method DELETE --host cart --path /items/7
  weft why --host cart --path '/items?page=2' -H 'tenant: blue'

An answer of Weft's own has the id in Weft-Request-Id, also that to a head that was refused; \`weft tap --failed\` shows those of others.
A call that is described is not sent: the sidecar decides by the configuration in force what would become of it, for its own app, and the rules
that it was held against are shown with why each did not match.
${asksOneSidecar}`,
    )
    .action(async (id: string | undefined, flags: WhyFlags) => {
      const client = new AdminClient(flags);
      if (id === undefined) return sayDry(await client.describe(describedIn(flags)), flags, terminal);
      if (isDescribing(flags)) throw usageError('Name an id, or describe a call with --host, not both.');
      const answer = await client.request(id);
      const told: Told[] = [];
      // One after the other: a trace may have more of them than an admin port takes connections.
      for (const request of answer.requests.toReversed()) {
        const again = isReplayed(request) ? await replay(client, request) : null;
        told.push({ request, verdict: verdictOf(request), replay: again });
      }
      const refused = (answer.refusals ?? []).map((refusal) => ({ refusal, verdict: refusalVerdict(refusal) }));
      if (flags.output === 'json') return terminal.out(JSON.stringify([...told, ...refused], null, 2));
      const texts = [
        ...told.map((each) => formatRequest(each)),
        ...refused.map(({ refusal }) => formatRefusal(refusal)),
      ];
      terminal.out(texts.join('\n\n') + onlyTheLast(answer) + missingLoops(answer));
    });
  return addAdminFlags(command);
}

/** One whose decision was not written down: nothing went wrong, or too much at a time. */
const isReplayed = ({ decision, direction, called }: RecentRequest): boolean =>
  decision === undefined && direction === 'outbound' && called !== '';

/** By what is kept of it: neither its fields nor its query are. */
const replay = (client: AdminClient, { method, called, path }: RecentRequest): Promise<DryDecision> =>
  client.describe({ method, host: called, path, headers: [] });

const isDescribing = ({ method, host, path, header }: WhyFlags): boolean =>
  method !== undefined || host !== undefined || path !== undefined || header !== undefined;

function describedIn({ method = 'GET', host, path = '/', header = [] }: WhyFlags): DescribedRequest {
  if (host === undefined)
    throw usageError(
      'Name an id, or describe a call: weft why --method GET --host cart --path /items. `weft why --help` shows more.',
    );
  return { method, host, path, headers: header };
}

function parsePath(text: string): string {
  if (!text.startsWith('/')) throw new InvalidArgumentError('Expected a path that begins with /.');
  return text;
}

function addHeader(
  text: string,
  before: readonly (readonly [string, string])[] = [],
): readonly (readonly [string, string])[] {
  const colon = text.indexOf(':');
  if (colon < 1) throw new InvalidArgumentError("Expected 'name: value'.");
  return [...before, [text.slice(0, colon).trim(), text.slice(colon + 1).trim()]];
}

function sayDry(dry: DryDecision, { output }: WhyFlags, terminal: Terminal): void {
  const verdict = dryVerdict(dry);
  const text = () =>
    [
      verdict.cause,
      ...changeLines(verdict.change),
      ...(dry.decision === null ? [] : decisionLines(dry.decision)),
      '  No request was sent.',
    ].join('\n');
  terminal.out(output === 'json' ? JSON.stringify({ ...dry, verdict }, null, 2) : text());
}

const changeLines = (change: string): readonly string[] => (change === '' ? [] : [line('change', change)]);

interface Told {
  readonly request: RecentRequest;
  readonly verdict: Verdict;
  readonly replay: DryDecision | null;
}

function formatRequest({ request, verdict, replay: again }: Told): string {
  const { decision, revision, stale } = request;
  const isSaid = stale !== undefined && verdict.cause.includes(staleText(stale));
  return [
    verdict.cause,
    line('attempts', verdict.attempts),
    ...(decision?.tries ?? []).map(({ endpoint, failure: code, detail }, i) =>
      line('', `${i + 1}. ${endpoint} ${code}${detail === '' ? '' : `: ${printable(detail)}`}`),
    ),
    line('limits', verdict.limits),
    ...changeLines(verdict.change),
    ...(stale === undefined || isSaid ? [] : [line('stale', staleText(stale))]),
    ...(decision === undefined ? replayLines(revision, again?.decision ?? null) : decisionLines(decision)),
    ...describeRequest(request)
      .split('\n')
      .map((each) => `  ${each}`),
  ].join('\n');
}

/** What decided is not known any more; what would decide now is. */
function replayLines(revision: number, decision: Decision | null): readonly string[] {
  if (decision === null) return revision === 0 ? [] : [line('version', `revision ${revision}`)];
  const same = decision.revision === revision ? 'which is in force' : `now ${decision.revision} is in force`;
  return [
    line('decided', `by revision ${revision}, ${same}: asked again, without fields and query, which are not kept:`),
    ...decisionLines(decision),
  ];
}

function formatRefusal(refusal: RefusedHeadRecord): string {
  const { cause, change } = refusalVerdict(refusal);
  const { direction, listener, source, sourceAddress, method, host, path, time, requestId } = refusal;
  const who = [source, sourceAddress].filter((each) => each !== '').join(' at ') || 'unknown';
  return [
    cause,
    ...changeLines(change),
    line('listener', `${listener} (${direction})`),
    line('from', who),
    line('asked', [method, host, path].map((each) => printable(each) || '-').join('  ')),
    `  ${time}  id ${requestId}`,
  ].join('\n');
}
