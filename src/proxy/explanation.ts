/** What a request was, or would be, decided by, written down for people. Cold: for failures, a few a second, and for who asks. */
import type { Decision } from '../model/decision.ts';
import { limits } from '../model/limits.ts';
import type { Exchange } from './exchange.ts';
import type { RequestHead } from './request.ts';
import type { LoopAction, LoopService } from './tables.ts';

export type DecisionFacts = Pick<
  Exchange,
  'service' | 'destination' | 'action' | 'verdicts' | 'tried' | 'failedTries'
> & { readonly head: RequestHead };

/** `revision`: of the configuration that decides; 0: there is none. Nothing in it refers to what a client sent: texts are copies, and bounded. */
export function explain(facts: DecisionFacts, revision: number): Decision {
  const { head, service, destination, action, tried, failedTries } = facts;
  const standings = destination?.standings({ request: head, tried }) ?? null;
  return {
    revision,
    host: ownCopy(head.host),
    service: service?.name ?? '',
    hasRoutes: service !== null && service.routes !== null,
    ...trialsOf(service, facts),
    route: action?.route ?? '',
    backends: backendsOf(action),
    destination: destination?.name ?? '',
    policy: standings?.policy ?? '',
    candidates: standings?.candidates ?? [],
    candidatesLeftOut: standings?.leftOut ?? 0,
    timeoutsMs: action?.timeouts ?? null,
    limits: destination?.limits ?? null,
    tries: failedTries.map(({ endpoint, failure, detail }) => ({ endpoint, failure, detail })),
  };
}

function trialsOf(
  service: LoopService | null,
  { head, verdicts }: DecisionFacts,
): Pick<Decision, 'trials' | 'trialsLeftOut'> {
  if (service === null || service.routes === null) return { trials: [], trialsLeftOut: 0 };
  const { trials, leftOut } = service.routes.trials(head, verdicts);
  return { trials, trialsLeftOut: leftOut };
}

/** Of a Service without routes there is nothing to choose. */
function backendsOf(action: LoopAction | null): Decision['backends'] {
  if (action === null || action.route === '') return [];
  return action.backends.slice(0, limits.decisionCandidatesMax).map(({ ref, weight }) => ({ ref, weight }));
}

/** A piece of a string keeps the whole of it, and a head may be 64 KiB. */
const ownCopy = (text: string): string => Buffer.from(text.slice(0, limits.hostCharsMax)).toString();
