/**
 * What a loop looks up: the compiled configuration, opened. The pool compiles each unit into one SharedArrayBuffer
 * (`decisions/compile/`); every loop opens it once a version, decodes the strings once, and afterwards only looks up.
 */
import type { Candidate, RuleTrial } from '../model/decision.ts';
import type {
  HeaderChange,
  PathChange,
  Redirect,
  Timeouts,
  UnitBackend,
  UnitLimits,
  UnitName,
} from '../model/snapshot.ts';
import type { Pattern } from './compiled-unit.ts';
import type { RequestHead } from './request.ts';
import type { Upstream } from './upstream/upstream.ts';

export interface LoopEndpoint {
  readonly address: string;
  readonly host: string;
  readonly port: number;
  readonly zone: string;
  readonly hasSidecar: boolean;
  /** `HOST:PORT` of its sidecar's link listeners; empty: it is spoken to in HTTP/1.1. Another list, or another identity, is another object. */
  readonly link: readonly string[];
  /** Who answers on the link: a SPIFFE ID, or a path (`/ns/default/sa/cart`) within the own trust domain. Empty: the own app, which has no link. */
  readonly identity: string;
  /** Requests at a time on one connection; 1 where it has a link, which carries any number. Another one is another object. */
  readonly pipelinedDepth: number;
  /** Slot in the live state: the same for as long as any version in use holds this address of this unit. */
  readonly slot: number;
  /** This loop's way there; opened by the proxy at first use, kept over versions, retired when no version holds the endpoint. */
  upstream: Upstream | null;
}

export interface LoopBackend {
  readonly unit: UnitName | null;
  readonly ref: string;
  readonly requestHeaders: HeaderChange | null;
  readonly responseHeaders: HeaderChange | null;
}

export interface LoopMirror {
  readonly unit: UnitName | null;
  readonly fraction: number;
}

export interface LoopAction {
  readonly route: string;
  readonly requestHeaders: HeaderChange | null;
  readonly responseHeaders: HeaderChange | null;
  readonly redirect: Redirect | null;
  readonly rewriteHost: string | null;
  readonly rewritePath: PathChange | null;
  readonly mirrors: readonly LoopMirror[];
  readonly timeouts: Timeouts;
  /** Those of weight 0 too. */
  readonly backends: readonly UnitBackend[];
  /** Takes the next ticket of the split: exact over all loops. Null: every weight is 0, or there is no backend. */
  pickBackend(): LoopBackend | null;
  /** What `pickBackend` would answer now; takes no ticket. */
  nextBackend(): LoopBackend | null;
}

/** Facts of one request that a pick may use; `tried` holds the slots of this request's earlier attempts. */
export interface PickFacts {
  readonly request: RequestHead;
  readonly tried: readonly number[];
}

/** The rules of a Service's routes: what `route` (router.ts) looks up. */
export interface RouteLookup {
  readonly patterns: readonly Pattern[];
  /** Index of the action, or less than 0: router.ts says what. */
  find(request: RequestHead, verdicts: Uint8Array | null): number;
  action(index: number): LoopAction;
  /** Methods with which the request would match a rule, its own not among them. For requests that match none. */
  otherMethods(request: RequestHead, verdicts: Uint8Array | null): readonly string[];
  /** What it was held against, for people; see route-trials.ts. */
  trials(request: RequestHead, verdicts: Uint8Array | null): RouteTrials;
}

export interface RouteTrials {
  /** At most `limits.decisionRulesMax`. */
  readonly trials: readonly RuleTrial[];
  readonly leftOut: number;
}

/** How the endpoints of a Service stand to a request. */
export interface EndpointStandings {
  readonly policy: string;
  /** At most `limits.decisionCandidatesMax`. */
  readonly candidates: readonly Candidate[];
  readonly leftOut: number;
}

/** The last endpoint of a Service that has none any more. */
export interface Departure {
  readonly address: string;
  /** What spoke against it as it left (`Upstream.trouble`). */
  readonly trouble: string;
}

export interface LoopService {
  readonly name: UnitName;
  readonly service: string;
  readonly namespace: string;
  readonly timeouts: Timeouts;
  /** Kept by whoever sends to this Service, and by the sidecar beside its app. Null: none of its own. */
  readonly limits: UnitLimits | null;
  readonly endpoints: readonly LoopEndpoint[];
  /** The action for requests when no route is attached: straight to this unit's endpoints. */
  readonly directAction: LoopAction;
  /** What `route` looks up. Null when no route is attached. */
  readonly routes: RouteLookup | null;
  /** Null when there is no endpoint with weight. Prefers endpoints that were not tried. */
  pick(facts: PickFacts): LoopEndpoint | null;
  /** False: `pick` answers null. */
  readonly hasChoice: boolean;
  /** What `pick` goes by, for people; takes nothing. */
  standings(facts: PickFacts): EndpointStandings;
  /** Null: it has endpoints, or this sidecar has not seen it with any. */
  readonly departed: Departure | null;
}

export interface LoopSnapshot {
  readonly revision: number;
  /** By the request's host; a wildcard matches one or more leading labels, the longest suffix wins. */
  findByHost(host: string): LoopService | null;
  find(unit: UnitName): LoopService | null;
}

/** What `route` (router.ts) answers. */
export type RouteDecision =
  | { readonly tag: 'action'; readonly action: LoopAction }
  | { readonly tag: 'no-match' }
  /** Ask `SlowDecisions.matchPatterns`, then route again with the verdicts. */
  | { readonly tag: 'needs-patterns' };

/** Decisions that cannot be tabulated: implemented by decisions/, batched per loop turn, with a bounded queue and a deadline. */
export interface SlowDecisions {
  /**
   * Evaluates every regular expression of the service's matches against this request. `verdicts[i]` is 1 when pattern i matched.
   * Null when the queue was full, the deadline passed or a pattern was cut off: the request fails with `pattern-failed`.
   */
  matchPatterns(service: LoopService, request: RequestHead, done: (verdicts: Uint8Array | null) => void): void;
}

/** `abandoned`: the client went before there was an answer, which says nothing about the endpoint. */
export type AttemptOutcome = 'ok' | 'overloaded' | 'failed' | 'abandoned';

/** Live state of endpoints, shared over loops, by slot. Called by the proxy around each attempt. */
export interface LiveState {
  begin(slot: number): void;
  /** `latencyMs` until the answer's head; a failed attempt or a 429 or 503 must attract no load. */
  end(slot: number, latencyMs: number, outcome: AttemptOutcome): void;
  activeRequests(slot: number): number;
}
