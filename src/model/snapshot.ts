/**
 * The configuration in force, as both planes understand it: resources and registered endpoints joined into one unit per Service,
 * defaults filled in, durations in milliseconds, references resolved to unit names, matches in order of precedence. Pure: the
 * control plane builds it before it commits, the sidecar after every push, `--config FILE` at start, with this one function.
 */
import type { TrustBundle } from './identity.ts';
import type { EndpointSet } from './registration.ts';
import type { Resource } from './resources.ts';

/** `NAME.NAMESPACE`, for instance `cart.default`. */
export type UnitName = string;

export interface Timeouts {
  /** Whole request, ms; 0 is none. */
  readonly requestMs: number;
  /** One attempt until its answer's head, ms; 0 is none. */
  readonly perTryMs: number;
  /** No byte in either direction, ms; 0 is none. */
  readonly idleMs: number;
}

/** What a Service takes and gives; 0 of each: what the listeners let through. The head is meant as it is sent to the Service, without framing fields. */
export interface UnitLimits {
  readonly requestBodyBytes: number;
  /** All fields, each with 4 for its colon, blank and line end. */
  readonly requestHeadBytes: number;
  readonly requestHeadFields: number;
  /** Path and query. */
  readonly targetBytes: number;
  readonly responseHeadBytes: number;
}

export interface UnitEndpoint {
  /** `HOST:PORT`, unique within the unit. */
  readonly address: string;
  readonly host: string;
  readonly port: number;
  readonly weight: number;
  readonly zone: string;
  readonly labels: Readonly<Record<string, string>>;
  /** True when a sidecar registered it, or it has a link: it understands Weft's own headers. */
  readonly hasSidecar: boolean;
  /** `HOST:PORT` of its sidecar's link listeners, without duplicates; empty: it is spoken to in HTTP/1.1. */
  readonly link: readonly string[];
  /** What the peer on the link must be: a SPIFFE ID, or a path (`/ns/default/sa/cart`) within the own trust domain. */
  readonly identity: string;
}

export type HashSource =
  | { readonly from: 'header'; readonly name: string }
  | { readonly from: 'cookie'; readonly name: string }
  | { readonly from: 'query'; readonly name: string }
  | { readonly from: 'path-segment'; readonly index: number }
  | { readonly from: 'source-address' };

export type BalancerPolicy =
  | 'RoundRobin'
  | 'WeightedRoundRobin'
  | 'LeastRequest'
  | 'Random'
  | 'PeakEwma'
  | 'RingHash'
  | 'Maglev';

export interface UnitBalancer {
  readonly policy: BalancerPolicy;
  readonly hashOn: readonly HashSource[];
  /** 0: no bound. */
  readonly boundedLoadPercent: number;
  readonly ringEntries: number;
  readonly decayMs: number;
}

export interface HeaderChange {
  readonly set: readonly (readonly [name: string, value: string])[];
  readonly add: readonly (readonly [name: string, value: string])[];
  /** Lower case. */
  readonly remove: readonly string[];
}

export type PathChange =
  | { readonly replace: 'full'; readonly path: string }
  /** The matched prefix (`matchedPrefix`, no trailing slash) is replaced. */
  | { readonly replace: 'prefix'; readonly path: string; readonly matchedPrefix: string };

export interface Redirect {
  readonly scheme: 'http' | 'https' | null;
  readonly hostname: string | null;
  /** Null keeps what the scheme implies: RFC 9110 default ports are left out of Location. */
  readonly port: number | null;
  readonly path: PathChange | null;
  readonly status: 301 | 302 | 303 | 307 | 308;
}

export interface UnitBackend {
  /** Null when the reference does not resolve: its share of requests is answered 500 `backend-not-found` (Gateway API). */
  readonly unit: UnitName | null;
  /** As written, for messages. */
  readonly ref: string;
  readonly weight: number;
  readonly requestHeaders: HeaderChange | null;
  readonly responseHeaders: HeaderChange | null;
}

export interface UnitMirror {
  readonly unit: UnitName | null;
  /** 0 to 1. */
  readonly fraction: number;
}

/**
 * What happens to a request that matched. One action for each match of a rule, because a prefix rewrite depends on the match;
 * matches without one share their rule's action.
 */
export interface UnitAction {
  /** `NAMESPACE/ROUTE/RULE` (rule's name or index): the label in metrics, and the identity of the split's ticket. */
  readonly route: string;
  readonly requestHeaders: HeaderChange | null;
  readonly responseHeaders: HeaderChange | null;
  readonly redirect: Redirect | null;
  readonly rewriteHost: string | null;
  readonly rewritePath: PathChange | null;
  readonly mirrors: readonly UnitMirror[];
  readonly backends: readonly UnitBackend[];
  readonly timeouts: Timeouts;
}

export type ValueTest =
  | { readonly name: string; readonly exact: string }
  | { readonly name: string; readonly pattern: string };

export interface UnitMatch {
  readonly path: { readonly kind: 'exact' | 'prefix' | 'pattern'; readonly value: string };
  readonly method: string | null;
  /** Names in lower case. Repeated fields are compared joined with `,`. */
  readonly headers: readonly ValueTest[];
  readonly query: readonly ValueTest[];
  /** Index into `actions`. */
  readonly action: number;
}

/** One Service with all that concerns a request for it: what the pool compiles as a whole. */
export interface ServiceUnit {
  readonly name: UnitName;
  readonly service: string;
  readonly namespace: string;
  readonly port: number;
  /** Lower case, without port: names that lead here, `*.` wildcards last. Always holds `cart.default`; and `cart` in its own namespace. */
  readonly hosts: readonly string[];
  readonly endpoints: readonly UnitEndpoint[];
  readonly balancer: UnitBalancer;
  readonly timeouts: Timeouts;
  /** Null: none of its own. */
  readonly limits: UnitLimits | null;
  /** Requests at a time on one connection to an endpoint that is spoken to in HTTP/1.1. */
  readonly pipelinedDepth: number;
  /** In order of precedence: Exact, RegularExpression, PathPrefix; then longer, method, headers, query, older, name, rule. Empty: no route is attached, everything goes to the Service itself. */
  readonly matches: readonly UnitMatch[];
  readonly actions: readonly UnitAction[];
}

export interface Snapshot {
  readonly revision: number;
  readonly units: ReadonlyMap<UnitName, ServiceUnit>;
}

/** What is pushed. The trust bundle says nothing of requests: no unit is made from it. */
export type ConfigObject = Resource | EndpointSet | TrustBundle;

/** `EndpointSet/default/cart`, `TrustBundle/mesh`, or a resource's key. */
export type ConfigKey = string;
