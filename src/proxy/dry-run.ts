/**
 * What would become of a request that is described and not sent: the same check, look-up, split and limits as for one that is, in the same order
 * as in proxy.ts. It takes no ticket, asks no control plane, opens no connection, and is in no count.
 */
import type { DescribedRequest, DryDecision } from '../model/decision.ts';
import type { ListenerLimits } from '../model/listener-limits.ts';
import { type DecisionFacts, explain } from './explanation.ts';
import { type FailureCode, failures } from './failure.ts';
import { noBackendDetail, noEndpointDetail, noRouteDetail } from './failure-detail.ts';
import { checkHead, RefusedHead } from './head-check.ts';
import { fieldOf } from './headers.ts';
import { bodyTooLarge, ofListener } from './limit-met.ts';
import type { PathPolicy } from './path.ts';
import type { ConfigurationInForce } from './proxy.ts';
import type { RequestHead } from './request.ts';
import { route } from './router.ts';
import { serviceLimitMet } from './service-limits.ts';
import { redirectLocation, shapeRequest } from './shape.ts';
import type { LoopAction, LoopService, SlowDecisions } from './tables.ts';

export interface DryRunParts {
  readonly configuration: ConfigurationInForce;
  readonly slowDecisions: SlowDecisions;
  /** Of the listener by which it would come. */
  readonly limits: ListenerLimits;
  readonly paths: PathPolicy;
}

export type DryAnswer = Omit<DryDecision, 'stale'>;

/** Stands for the one that each request gets, of the same length. */
const noTraceparent = `00-${'0'.repeat(32)}-${'0'.repeat(16)}-00`;

type Facts = { -readonly [Name in keyof DecisionFacts]: DecisionFacts[Name] };

/** Waits only for regular expressions, which have their own deadline (`limits.regexWaitMs`). */
export async function runDry(asked: DescribedRequest, parts: DryRunParts): Promise<DryAnswer> {
  const head = headOf(asked, parts);
  if (head instanceof RefusedHead)
    return { failure: head.failure.code, detail: head.detail, location: '', decision: null };
  const facts: Facts = {
    head,
    service: null,
    destination: null,
    action: null,
    verdicts: null,
    tried: [],
    failedTries: [],
  };
  const { current } = parts.configuration;
  const outcome = await decide(facts, parts);
  return { location: '', ...outcome, decision: explain(facts, current?.revision ?? 0) };
}

type Outcome = Pick<DryAnswer, 'failure' | 'detail'> & { readonly location?: string };

const failed = (code: FailureCode, detail: string): Outcome => ({ failure: failures[code].code, detail });

function headOf({ method, host, path, headers }: DescribedRequest, parts: DryRunParts): RequestHead | RefusedHead {
  const fields = [fieldOf('Host', host)];
  for (const [name, value] of headers) fields.push(fieldOf(name, value));
  const facts = { sourceAddress: '127.0.0.1', readAtMs: 0, loopMs: 0 };
  return checkHead(
    { method, target: path, headers: fields, isHttp10: false, paths: parts.paths, ...facts },
    parts.limits,
  );
}

/** Fills in `facts` as far as it comes. */
async function decide(facts: Facts, { configuration, slowDecisions, limits: own }: DryRunParts): Promise<Outcome> {
  const { head } = facts;
  if (head.bodyBytes > own.bodyBytesMax)
    return failed('body-too-large', bodyTooLarge(own.bodyBytesMax, ofListener(own, 'body-bytes')).detail);
  // Read once, as for a request: what follows belongs together.
  const snapshot = configuration.current;
  if (snapshot === null) return failed('no-configuration', head.host);
  const service = snapshot.findByHost(head.host);
  if (service === null) return failed('unknown-service', head.host);
  facts.service = service;
  const routed = await routeOf(service, facts, slowDecisions);
  if (!('action' in routed)) return routed;
  const { action } = routed;
  facts.action = action;
  if (action.redirect !== null) return { failure: null, detail: '', location: redirectLocation(head, action.redirect) };
  const backend = action.nextBackend();
  if (backend === null) return failed('no-backend', noBackendDetail(action));
  const destination = backend.unit === null ? null : snapshot.find(backend.unit);
  if (destination === null) return failed('backend-not-found', backend.ref);
  facts.destination = destination;
  if (!destination.hasChoice) return failed('no-endpoint', noEndpointDetail(destination));
  const request = shapeRequest(head, action, noTraceparent, true, false, backend.requestHeaders);
  const met = destination.limits === null ? null : serviceLimitMet(request, destination.limits, destination.name);
  return met === null ? { failure: null, detail: '' } : failed(met.failure.code, met.detail);
}

async function routeOf(
  service: LoopService,
  facts: Facts,
  slowDecisions: SlowDecisions,
): Promise<Outcome | { readonly action: LoopAction }> {
  const { head } = facts;
  for (let asked = 0; ; asked++) {
    const decision = route(service, head, facts.verdicts);
    if (decision.tag === 'action') return { action: decision.action };
    if (decision.tag === 'no-match') return failed('no-route', noRouteDetail(service, head, facts.verdicts));
    const verdicts = await new Promise<Uint8Array | null>((resolve) =>
      slowDecisions.matchPatterns(service, head, resolve),
    );
    if (verdicts === null || asked > 0) return failed('pattern-failed', service.name);
    facts.verdicts = verdicts;
  }
}
