/** Why a request went where it went: what its sidecar decided by, as its admin port tells it and the command line reads it. Plain values only. */
import type { Timeouts, UnitLimits } from './snapshot.ts';

/** One match of a rule that a request was held against. */
export interface RuleTrial {
  /** `NAMESPACE/ROUTE/RULE` */
  readonly rule: string;
  /** What it asks of a request: `GET path below /v2, header tenant = a`. */
  readonly asks: string;
  /** Why it did not match; empty: it did. Holds nothing that the client sent but its method. */
  readonly why: string;
}

export interface BackendShare {
  /** As written. */
  readonly ref: string;
  readonly weight: number;
}

/** An endpoint that could have been chosen. */
export interface Candidate {
  readonly address: string;
  /** As configured; 0: it is never chosen. */
  readonly weight: number;
  readonly activeRequests: number;
  /** Load as the policy reckons it, the lower the better; null: it reckons none. */
  readonly score: number | null;
  readonly isTried: boolean;
  /** The next one, where that is not left to chance. */
  readonly isNext: boolean;
  /** What speaks against it; empty: nothing. */
  readonly trouble: string;
}

/** An attempt after which another one was made. */
export interface FailedTry {
  readonly endpoint: string;
  /** A code of docs/failures.md. */
  readonly failure: string;
  readonly detail: string;
}

export interface Decision {
  /** Of the configuration that decided; 0: there was none, or it is the inbound side's own. */
  readonly revision: number;
  readonly host: string;
  /** The Service that was called, `NAME.NAMESPACE`; empty: none claims the host. */
  readonly service: string;
  /** Whether routes are attached to it: without one, everything goes to its own endpoints. */
  readonly hasRoutes: boolean;
  /** In the order in which they were tried; then some whose paths are other ones. At most `limits.decisionRulesMax`. */
  readonly trials: readonly RuleTrial[];
  readonly trialsLeftOut: number;
  /** The rule that was chosen; empty: none, or no route is attached. */
  readonly route: string;
  readonly backends: readonly BackendShare[];
  /** The Service whose endpoints are used; empty: it did not come to that. */
  readonly destination: string;
  /** Of its balancer. */
  readonly policy: string;
  /** At most `limits.decisionCandidatesMax`; those that were tried come first. */
  readonly candidates: readonly Candidate[];
  readonly candidatesLeftOut: number;
  readonly timeoutsMs: Timeouts | null;
  /** Of the destination; null: none of its own. */
  readonly limits: UnitLimits | null;
  readonly tries: readonly FailedTry[];
}

/** A request that is described and not sent. */
export interface DescribedRequest {
  readonly method: string;
  readonly host: string;
  /** With its query. */
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** What would become of it. */
export interface DryDecision {
  /** A code of docs/failures.md; null: it would be sent. */
  readonly failure: string | null;
  /** Of the failure; or where it would go. */
  readonly detail: string;
  /** A redirect: to where; empty: it is none. */
  readonly location: string;
  /** Null: it would not become a request. */
  readonly decision: Decision | null;
  readonly stale: Staleness | null;
}

/** The configuration in force is not the newest that there may be. */
export interface Staleness {
  /** RFC 3339. */
  readonly since: string;
  /** For people: no control plane answers, or a change was refused. */
  readonly reason: string;
}

/** A head that a listener refused, so that it never became a request. Times are RFC 3339. */
export interface RefusedHeadRecord {
  /** What its client was shown as `Weft-Request-Id`. */
  readonly requestId: string;
  readonly time: string;
  readonly direction: 'outbound' | 'inbound';
  readonly listener: string;
  readonly source: string;
  readonly sourceAddress: string;
  /** These as far as they could be told apart; the client's word, which nobody has judged. Empty: not known. */
  readonly method: string;
  readonly host: string;
  readonly path: string;
  readonly status: number;
  readonly failure: string;
  readonly detail: string;
}
