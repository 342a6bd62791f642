/** `weft why`: what became of one call in a sentence, and what to change, out of the closed table of failures. */
import { Command } from 'commander';
import { limits } from '../model/limits.ts';
import type { RecentRequest } from '../model/recent-request.ts';
import { type Failure, type FailureCode, failures } from '../proxy/failure.ts';
import {
  AdminClient,
  type AdminFlags,
  addAdminFlags,
  asksOneSidecar,
  missingLoops,
  parseRequestId,
} from './admin-client.ts';
import { adviceFor } from './failure-advice.ts';
import { formatMs } from './table.ts';
import type { Terminal } from './terminal.ts';
import { describeRequest, printable } from './waterfall.ts';

export interface Verdict {
  /** One sentence. */
  readonly cause: string;
  readonly attempts: string;
  /** Timeouts in force. */
  readonly limits: string;
  /** What to do; empty: nothing. */
  readonly change: string;
}

export function whyCommand(terminal: Terminal): Command {
  const command = new Command('why')
    .description('say why one call failed, or what took its time, and what to change')
    .argument('<id>', 'Weft-Request-Id of an answer, a trace id, a span id or a traceparent', parseRequestId)
    .addHelpText(
      'after',
      `
Examples:
  weft why 4bf92f3577b34da6a3ce929d0e0e4736
  weft why 00f067aa0ba902b7 --admin 127.0.0.1:15012 -o json

An answer of Weft's own has the id in Weft-Request-Id; \`weft tap --failed\` shows those of others.
${asksOneSidecar}`,
    )
    .action(async (id: string, flags: AdminFlags) => {
      const answer = await new AdminClient(flags).request(id);
      const told = [...answer.requests].reverse().map((request) => ({ request, verdict: verdictOf(request) }));
      if (flags.output === 'json') return terminal.out(JSON.stringify(told, null, 2));
      terminal.out(told.map(formatVerdict).join('\n\n') + missingLoops(answer));
    });
  return addAdminFlags(command);
}

function formatVerdict({ request, verdict }: { readonly request: RecentRequest; readonly verdict: Verdict }): string {
  const change = verdict.change === '' ? [] : [`  change    ${verdict.change}`];
  return [
    verdict.cause,
    `  attempts  ${verdict.attempts}`,
    `  limits    ${verdict.limits}`,
    ...change,
    ...describeRequest(request)
      .split('\n')
      .map((line) => `  ${line}`),
  ].join('\n');
}

export function verdictOf(request: RecentRequest): Verdict {
  const { attempts, endpoint, timeoutsMs } = request;
  const last = endpoint === '' ? '' : `, the last at ${endpoint}`;
  return {
    ...causeOf(request),
    attempts:
      attempts === 0
        ? 'none: it was decided before an endpoint was chosen'
        : `${attempts} of at most ${limits.attemptsMax}${last}`,
    limits: [
      `timeouts.request ${timeoutText(timeoutsMs.request)}`,
      `timeouts.backendRequest ${timeoutText(timeoutsMs.perTry)}`,
      `timeouts.idle ${timeoutText(timeoutsMs.idle)}`,
    ].join(', '),
  };
}

const timeoutText = (ms: number): string => (ms === 0 ? 'none' : `${ms} ms`);

function causeOf(request: RecentRequest): Pick<Verdict, 'cause' | 'change'> {
  const { status, failure, farFailure, totalMs, endpoint, destination } = request;
  if (failure !== undefined) {
    const known = knownFailure(failure);
    const said = known === null ? 'a newer sidecar knows what that is.' : known.message;
    const detail =
      request.detail === undefined || request.detail === '' ? '' : ` (${printable(request.detail).replace(/\.$/, '')})`;
    const cause = `It failed after ${formatMs(totalMs)} ms with ${status} ${failure}: ${said.replace(/\.$/, '')}${detail}.`;
    return { cause, change: known === null ? '' : adviceFor(known.code) };
  }
  if (farFailure !== undefined) {
    const known = knownFailure(farFailure);
    const said = known === null ? '' : `: ${known.message.replace(/\.$/, '')}`;
    return {
      cause: `The sidecar of ${destination} at ${endpoint} answered ${status} ${printable(farFailure)} after ${formatMs(totalMs)} ms${said}.`,
      change:
        `Ask that sidecar: weft why ${request.traceId} --admin HOST:PORT. ${known === null ? '' : adviceFor(known.code)}`.trim(),
    };
  }
  const [part, ms] = longestPart(request);
  const spent = `${formatMs(totalMs)} ms, of which ${formatMs(ms)} ms were ${part}`;
  if (status >= 500) {
    return {
      cause: `The app of ${destination} at ${endpoint} answered ${status} by itself, and Weft passed it on (${spent}).`,
      change: "Look into that app's own log for the trace id: no failure of the mesh is involved.",
    };
  }
  const who = endpoint === '' ? 'this sidecar' : endpoint;
  return { cause: `It did not fail: ${who} answered ${status} after ${spent}.`, change: '' };
}

function longestPart({ partsMs }: RecentRequest): readonly [part: string, ms: number] {
  const all = Object.entries(partsMs);
  return all.length === 0 ? ['own', 0] : all.reduce((most, each) => (each[1] > most[1] ? each : most));
}

const knownFailure = (code: string): Failure | null =>
  Object.hasOwn(failures, code) ? failures[code as FailureCode] : null;
