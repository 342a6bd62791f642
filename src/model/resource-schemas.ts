/** The resources a user writes, as JSON schemas: one definition serves validation, OpenAPI and, by the types in resources.ts, the compiler. */
import Type, { type TSchema } from 'typebox';
import { byteLimitRanges, byteSizePattern } from './byte-size.ts';
import { labelNamePattern } from './endpoint-fields.ts';
import { serviceIdPattern } from './identity.ts';
import { limits } from './limits.ts';

const closed = { additionalProperties: false } as const;
const name = Type.String({
  pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$',
  maxLength: limits.nameCharsMax,
  description: 'lower-case letters, digits and -, starting and ending with a letter or digit',
});
const optional = <T extends TSchema>(schema: T) => Type.Optional(schema);
/** A string out of a closed set, as an `enum` (better messages than a union of constants). */
const oneOf = <const T extends string>(...values: T[]) => Type.Unsafe<T>({ type: 'string', enum: values });

/** Gateway API duration (GEP-2257): `2s`, `1m30s`, `250ms`; `0s` means no limit. */
export const Duration = Type.String({
  pattern: '^([0-9]{1,5}(h|m|s|ms)){1,4}$',
  description: 'a duration such as 250ms, 2s or 1m30s (0s: no limit)',
});
const port = Type.Integer({ minimum: 1, maximum: 65_535 });
const headerName = Type.String({
  pattern: "^[A-Za-z0-9!#$%&'*+\\-.^_`|~]+$",
  maxLength: 256,
  description: 'an HTTP field name',
});
const headerValue = Type.String({
  minLength: 1,
  maxLength: 4096,
  pattern: '^[\\t\\x20-\\x7e\\x80-\\xff]*$',
  description: 'an HTTP field value: no control characters, none beyond U+00FF',
});
const hostname = Type.String({
  pattern: '^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$',
  maxLength: 253,
  description: 'a host name in lower case, *. allowed in front',
});
const preciseHostname = Type.String({
  pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$',
  maxLength: 253,
  description: 'a host name in lower case',
});
const address = Type.String({
  pattern: '^(\\[[0-9a-fA-F:.]+\\]|[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?):[0-9]{1,5}$',
  maxLength: 261,
  description: 'HOST:PORT',
});
const spiffeId = Type.String({
  pattern: serviceIdPattern.source,
  description: 'a SPIFFE ID, spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE',
});
const labels = Type.Record(
  Type.String({ pattern: labelNamePattern }),
  Type.String({ maxLength: limits.labelValueCharsMax }),
  { ...closed, description: 'a label name: letters, digits and - . / _ between them, at most 128' },
);

export const Metadata = Type.Object(
  {
    name,
    namespace: optional(name),
    labels: optional(labels),
    annotations: optional(Type.Record(Type.String(), Type.String())),
    /** Set by the control plane: revision of the last change. On a write it is the expected revision. */
    resourceVersion: optional(Type.String({ pattern: '^[0-9]{1,15}$' })),
    /** Set by the control plane (RFC 3339): older routes win between equals. */
    creationTimestamp: optional(Type.String()),
  },
  closed,
);

// --- Service -------------------------------------------------------------------------------------------------------------------

export const EndpointObject = Type.Object(
  {
    address,
    weight: optional(Type.Integer({ minimum: 0, maximum: limits.weightMax })),
    zone: optional(Type.String({ maxLength: 63 })),
    labels: optional(labels),
    /** Where its sidecar listens for links. Without it, and without a registration, the endpoint is spoken to in HTTP/1.1. */
    link: optional(
      Type.Union([address, Type.Array(address, { minItems: 1, maxItems: limits.linkAddressesMax })], {
        description: `HOST:PORT or a list of 1 to ${limits.linkAddressesMax} of them`,
      }),
    ),
    /** Who must answer on the link. Default: the Service itself, in the own trust domain. */
    identity: optional(spiffeId),
  },
  closed,
);

export const HashOn = Type.Object(
  {
    header: optional(headerName),
    cookie: optional(Type.String({ pattern: "^[A-Za-z0-9!#$%&'*+\\-.^_`|~]+$" })),
    query: optional(Type.String({ minLength: 1 })),
    /** Zero-based: `/users/42` has `users` at 0 and `42` at 1. */
    pathSegment: optional(Type.Integer({ minimum: 0, maximum: 63 })),
    sourceAddress: optional(Type.Literal(true)),
  },
  {
    ...closed,
    minProperties: 1,
    maxProperties: 1,
    description: 'one of header, cookie, query, pathSegment, sourceAddress',
  },
);

export const LoadBalancer = Type.Object(
  {
    policy: oneOf('RoundRobin', 'WeightedRoundRobin', 'LeastRequest', 'Random', 'PeakEwma', 'RingHash', 'Maglev'),
    /** RingHash and Maglev: the first that the request carries is the key; with none the pick is random. */
    hashOn: optional(Type.Array(HashOn, { minItems: 1, maxItems: 8 })),
    /** RingHash and Maglev: an endpoint above this percentage of the average of active requests is passed over. */
    boundedLoadPercent: optional(Type.Integer({ minimum: 101, maximum: 1000 })),
    ringEntries: optional(Type.Integer({ minimum: limits.ringEntriesMin, maximum: limits.ringEntriesMax })),
    /** PeakEwma: how long an observation takes to fade. Default 10s. */
    decay: optional(Duration),
  },
  closed,
);

const bytesExpected = { description: 'a number of bytes such as 65536, 64KiB or 10MiB' };
/** What a string stands for is in the same range: validate.ts. */
const bytesIn = ([minimum, maximum]: readonly [number, number]) =>
  optional(
    Type.Union(
      [Type.String({ pattern: byteSizePattern, ...bytesExpected }), Type.Integer({ minimum, maximum })],
      bytesExpected,
    ),
  );
/** Of requests as they are sent to the Service, and of its answers. Heads: all fields but those of the framing. */
export const ServiceLimits = Type.Object(
  {
    /** Default: no limit. */
    requestBodyBytes: bytesIn(byteLimitRanges.requestBodyBytes),
    /** Each field counts its name, its value and 4. */
    requestHeadBytes: bytesIn(byteLimitRanges.requestHeadBytes),
    requestHeadFields: optional(Type.Integer({ minimum: 4, maximum: limits.headerFieldsMax })),
    /** Path and query. */
    targetBytes: bytesIn(byteLimitRanges.targetBytes),
    responseHeadBytes: bytesIn(byteLimitRanges.responseHeadBytes),
  },
  closed,
);

/** The Service's endpoints answer requests that are sent ahead of the answers before them, each in its turn. */
export const Pipelining = Type.Object(
  {
    /** On one connection at a time. Default: `limits.pipelinedDepth`. */
    maxRequests: optional(Type.Integer({ minimum: 2, maximum: limits.pipelinedDepthMax })),
  },
  closed,
);

export const ServiceSpec = Type.Object(
  {
    protocol: optional(oneOf('http')),
    /** What refs to this Service must say when they give a port. Default 80. */
    port: optional(port),
    endpoints: optional(
      Type.Array(Type.Union([address, EndpointObject], { description: 'HOST:PORT or an object with an address' }), {
        maxItems: limits.endpointsPerServiceMax,
      }),
    ),
    loadBalancer: optional(LoadBalancer),
    limits: optional(ServiceLimits),
    /** Default: one request at a time on a connection. */
    pipelining: optional(Pipelining),
  },
  closed,
);

export const Service = Type.Object(
  { apiVersion: Type.Literal('weft.mesh/v1'), kind: Type.Literal('Service'), metadata: Metadata, spec: ServiceSpec },
  closed,
);

// --- HTTPRoute -----------------------------------------------------------------------------------------------------------------

const group = Type.String({ maxLength: 253 });
export const ParentRef = Type.Object(
  { group: optional(group), kind: optional(Type.String()), namespace: optional(name), name, port: optional(port) },
  closed,
);

const backendObjectRef = {
  group: optional(group),
  kind: optional(Type.String()),
  namespace: optional(name),
  name,
  port: optional(port),
};
const valueMatch = oneOf('Exact', 'RegularExpression');
export const HeaderMatch = Type.Object(
  { type: optional(valueMatch), name: headerName, value: Type.String({ minLength: 1, maxLength: 4096 }) },
  closed,
);
export const QueryParamMatch = Type.Object(
  {
    type: optional(valueMatch),
    name: Type.String({ minLength: 1, maxLength: 256 }),
    value: Type.String({ minLength: 1, maxLength: 1024 }),
  },
  closed,
);
export const PathMatch = Type.Object(
  {
    type: optional(oneOf('Exact', 'PathPrefix', 'RegularExpression')),
    value: optional(Type.String({ minLength: 1, maxLength: 1024 })),
  },
  closed,
);
export const HttpMethod = oneOf('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH');
export const RouteMatch = Type.Object(
  {
    path: optional(PathMatch),
    headers: optional(Type.Array(HeaderMatch, { maxItems: 16 })),
    queryParams: optional(Type.Array(QueryParamMatch, { maxItems: 16 })),
    method: optional(HttpMethod),
  },
  closed,
);

const headerPair = Type.Object({ name: headerName, value: headerValue }, closed);
export const HeaderModifier = Type.Object(
  {
    set: optional(Type.Array(headerPair, { maxItems: 16 })),
    add: optional(Type.Array(headerPair, { maxItems: 16 })),
    remove: optional(Type.Array(headerName, { maxItems: 16 })),
  },
  closed,
);
export const PathModifier = Type.Object(
  {
    type: oneOf('ReplaceFullPath', 'ReplacePrefixMatch'),
    replaceFullPath: optional(Type.String({ maxLength: 1024 })),
    replacePrefixMatch: optional(Type.String({ maxLength: 1024 })),
  },
  closed,
);
export const RequestRedirect = Type.Object(
  {
    scheme: optional(oneOf('http', 'https')),
    hostname: optional(preciseHostname),
    path: optional(PathModifier),
    port: optional(port),
    statusCode: optional(
      Type.Unsafe<301 | 302 | 303 | 307 | 308>({ type: 'integer', enum: [301, 302, 303, 307, 308] }),
    ),
  },
  closed,
);
export const UrlRewrite = Type.Object({ hostname: optional(preciseHostname), path: optional(PathModifier) }, closed);
export const RequestMirror = Type.Object(
  {
    backendRef: Type.Object(backendObjectRef, closed),
    percent: optional(Type.Integer({ minimum: 0, maximum: 100 })),
    fraction: optional(
      Type.Object(
        { numerator: Type.Integer({ minimum: 0 }), denominator: optional(Type.Integer({ minimum: 1 })) },
        closed,
      ),
    ),
  },
  closed,
);
/** Exactly the member that `type` names must be present; validation checks it (a schema union would give unreadable errors). */
export const RouteFilter = Type.Object(
  {
    type: oneOf('RequestHeaderModifier', 'ResponseHeaderModifier', 'RequestRedirect', 'URLRewrite', 'RequestMirror'),
    requestHeaderModifier: optional(HeaderModifier),
    responseHeaderModifier: optional(HeaderModifier),
    requestRedirect: optional(RequestRedirect),
    urlRewrite: optional(UrlRewrite),
    requestMirror: optional(RequestMirror),
  },
  closed,
);
export const BackendRef = Type.Object(
  {
    ...backendObjectRef,
    weight: optional(Type.Integer({ minimum: 0, maximum: limits.weightMax })),
    filters: optional(Type.Array(RouteFilter, { maxItems: 16 })),
  },
  closed,
);
export const RouteTimeouts = Type.Object({ request: optional(Duration), backendRequest: optional(Duration) }, closed);
export const RouteRule = Type.Object(
  {
    name: optional(Type.String({ maxLength: 253 })),
    matches: optional(Type.Array(RouteMatch, { maxItems: limits.matchesPerRuleMax })),
    filters: optional(Type.Array(RouteFilter, { maxItems: 16 })),
    backendRefs: optional(Type.Array(BackendRef, { maxItems: 16 })),
    timeouts: optional(RouteTimeouts),
  },
  closed,
);
export const HTTPRouteSpec = Type.Object(
  {
    parentRefs: Type.Array(ParentRef, { minItems: 1, maxItems: 32 }),
    hostnames: optional(Type.Array(hostname, { maxItems: 16 })),
    rules: optional(Type.Array(RouteRule, { minItems: 1, maxItems: limits.rulesPerRouteMax })),
  },
  closed,
);
export const HTTPRoute = Type.Object(
  {
    apiVersion: Type.Literal('gateway.networking.k8s.io/v1'),
    kind: Type.Literal('HTTPRoute'),
    metadata: Metadata,
    spec: HTTPRouteSpec,
  },
  closed,
);

// --- TrafficPolicy -------------------------------------------------------------------------------------------------------------

export const TargetRef = Type.Object({ group: optional(group), kind: oneOf('Service', 'HTTPRoute'), name }, closed);
export const TrafficPolicySpec = Type.Object(
  {
    targetRefs: Type.Array(TargetRef, { minItems: 1, maxItems: 32 }),
    timeouts: optional(
      Type.Object(
        {
          /** Whole request, from head read to last byte of the answer. Default none. */
          request: optional(Duration),
          /** One attempt, until its answer's head. Default none. */
          backendRequest: optional(Duration),
          /** No byte moved in either direction. Default 60s. */
          idle: optional(Duration),
        },
        closed,
      ),
    ),
  },
  closed,
);
export const TrafficPolicy = Type.Object(
  {
    apiVersion: Type.Literal('weft.mesh/v1'),
    kind: Type.Literal('TrafficPolicy'),
    metadata: Metadata,
    spec: TrafficPolicySpec,
  },
  closed,
);

/** By kind. */
export const schemas = { Service, HTTPRoute, TrafficPolicy } as const;
