/** What became of a request, in a sentence that names the cause, and what to change: out of the closed table of failures and what was recorded. */
import type { Decision, DryDecision, RefusedHeadRecord, Staleness } from '../model/decision.ts';
import { limits } from '../model/limits.ts';
import type { RecentRequest } from '../model/recent-request.ts';
import { type Failure, type FailureCode, failures } from '../proxy/failure.ts';
import { adviceFor } from './failure-advice.ts';
import { countOf, formatMs } from './table.ts';
import { printable } from './waterfall.ts';

export interface Verdict {
  /** One sentence; a second one where the configuration may be to blame. */
  readonly cause: string;
  readonly attempts: string;
  /** Timeouts in force. */
  readonly limits: string;
  /** What to do; empty: nothing. */
  readonly change: string;
}

/** Failures that a newer configuration might not have had. */
const mayBeStale: ReadonlySet<string> = new Set<FailureCode>([
  'unknown-service',
  'no-route',
  'no-configuration',
  'discovery-timeout',
  'backend-not-found',
  'no-backend',
  'no-endpoint',
  'connect-refused',
  'connect-failed',
  'connect-timeout',
  'wrong-identity',
  'link-handshake-failed',
  'link-refused',
]);

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

export const timeoutText = (ms: number): string => (ms === 0 ? 'none' : `${ms} ms`);

type Cause = Pick<Verdict, 'cause' | 'change'>;

function causeOf(request: RecentRequest): Cause {
  const { status, failure, farFailure, totalMs, endpoint, destination } = request;
  if (failure !== undefined) return causeOfFailure(request, failure);
  if (farFailure !== undefined) {
    const known = knownFailure(farFailure);
    const said = known === null ? '' : `: ${withoutStop(known.message)}`;
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
  const before = triesText(request);
  return { cause: `It did not fail: ${who} answered ${status} after ${spent}${before}.`, change: '' };
}

function causeOfFailure(request: RecentRequest, failure: string): Cause {
  const { status, totalMs, stale } = request;
  const why = reasonText(failure, request.detail ?? '', triesText(request));
  const known = knownFailure(failure);
  const isStale = stale !== undefined && mayBeStale.has(failure);
  return {
    cause: `It failed after ${formatMs(totalMs)} ms with ${status} ${failure}: ${why}.${isStale ? ` ${staleText(stale)}` : ''}`,
    change: known === null ? '' : changeText(known.code, request.decision ?? null, isStale),
  };
}

/** `tries`: as `triesText` has them. */
function reasonText(code: string, detail: string, tries: string): string {
  const known = knownFailure(code);
  const said = known === null ? 'a newer sidecar knows what that is.' : known.message;
  const inBrackets = `${withoutStop(printable(detail))}${tries}`;
  return `${withoutStop(said)}${inBrackets === '' ? '' : ` (${inBrackets.replace(/^; /, '')})`}`;
}

export const staleText = ({ since, reason }: Staleness): string =>
  `Its configuration may be out of date since ${since}: ${withoutStop(printable(reason))}.`;

/** Of the attempts before the last, and whether there was anywhere else to go; begins with `; `, or is empty. */
function triesText({ decision, endpoint, failure }: RecentRequest): string {
  const tries = decision?.tries ?? [];
  if (decision === undefined || tries.length === 0) return '';
  const before = tries.map(({ endpoint: at, failure: code }) => `${at} ${code}`).join(', ');
  if (failure === undefined) return `; before it ${before}`;
  const tried = new Set([...tries.map(({ endpoint: at }) => at), ...(endpoint === '' ? [] : [endpoint])]);
  return `; before it ${before}; ${reachText(tried.size, decision)}`;
}

function reachText(tried: number, { candidates, candidatesLeftOut, destination }: Decision): string {
  const eligible = candidates.filter(({ weight }) => weight > 0).length + candidatesLeftOut;
  if (eligible === 1) return `it is the only endpoint of ${destination}`;
  return tried >= eligible
    ? `all ${eligible} endpoints of ${destination} were tried`
    : `${tried} of ${eligible} endpoints of ${destination} were tried`;
}

/** What to change, where more is known than the code says. */
function changeText(code: FailureCode, decision: Decision | null, isStale: boolean): string {
  const advice = changeOf(code, decision);
  return isStale
    ? `First let this sidecar reach its control plane (\`weft status\`, its log); then: ${advice}`
    : advice;
}

function changeOf(code: FailureCode, decision: Decision | null): string {
  const { trials = [], candidates = [] } = decision ?? {};
  if (code === 'no-route' && trials.some(({ why }) => why.startsWith('the method is')))
    return 'Use a method that the rules take, or add a match for this one to the HTTPRoute.';
  if (code === 'no-endpoint' && candidates.length > 0) return 'Give an endpoint of the Service a weight above 0.';
  return adviceFor(code);
}

/** Of a head that never became a request. */
export function refusalVerdict({ status, failure, detail }: RefusedHeadRecord): Cause {
  const known = knownFailure(failure);
  return {
    cause: `It was refused with ${status} ${failure} before it became a request: ${reasonText(failure, detail, '')}.`,
    change: known === null ? '' : adviceFor(known.code),
  };
}

/** Of a request that was not sent. */
export function dryVerdict({ failure, detail, location, decision, stale }: DryDecision): Cause {
  const doubt = stale === null ? '' : ` ${staleText(stale)}`;
  if (failure !== null) {
    const known = knownFailure(failure);
    const status = known === null ? '' : `${known.status} `;
    const cause = `It would fail with ${status}${failure}: ${reasonText(failure, detail, '')}.${doubt}`;
    return { cause, change: known === null ? '' : changeText(known.code, decision, stale !== null) };
  }
  const rule = decision === null || decision.route === '' ? '' : ` by rule ${decision.route}`;
  if (location !== '') return { cause: `It would be redirected to ${printable(location)}${rule}.${doubt}`, change: '' };
  return { cause: `It would go${rule} ${decision === null ? 'on' : placeText(decision)}.${doubt}`, change: '' };
}

function placeText({ candidates, candidatesLeftOut, destination }: Decision): string {
  const eligible = candidates.filter(({ weight }) => weight > 0);
  const next = eligible.find(({ isNext }) => isNext);
  const count = eligible.length + candidatesLeftOut;
  const where = next === undefined ? `one of its ${countOf(count, 'endpoint')}` : next.address;
  return `to ${destination}, at ${where}`;
}

function longestPart({ partsMs }: RecentRequest): readonly [part: string, ms: number] {
  const all = Object.entries(partsMs);
  return all.length === 0 ? ['own', 0] : all.reduce((most, each) => (each[1] > most[1] ? each : most));
}

const withoutStop = (text: string): string => text.replace(/\.$/, '');

const knownFailure = (code: string): Failure | null =>
  Object.hasOwn(failures, code) ? failures[code as FailureCode] : null;
