/** The shapes of questions and answers about traffic, for /openapi.json. */
import Type from 'typebox';
import { limits } from '../../model/limits.ts';

const closed = { additionalProperties: false } as const;
const service = Type.String({
  minLength: 1,
  maxLength: 256,
  description: 'NAME or NAME.NAMESPACE, which calls or is called',
});
const parts = Type.Record(Type.String(), Type.Number(), { description: 'ms, by the names of docs/ledger.md' });

const Scope = Type.Object(
  {
    controlPlane: Type.String({ description: 'HOST:PORT of the API that answers' }),
    controlPlanes: Type.Integer({ description: 'on its store; reports to others are not in this' }),
    sidecars: Type.Integer({ description: 'connected to the one that answers: they report to it' }),
    sidecarsElsewhere: Type.Integer({ description: 'connected to others' }),
    requestsWithoutDetail: Type.Number({
      description: 'counted, but not in percentiles and parts: there was no room for how they were spread',
    }),
  },
  { description: 'whose reports this is made of' },
);

const hop = {
  direction: Type.String({ description: "outbound: as the caller's sidecar saw it; inbound: as the callee's did" }),
  source: Type.String(),
  destination: Type.String(),
};

const windowSeconds = limits.statWindowMs / 1000;
export const StatsQuery = Type.Object(
  {
    service: Type.Optional(service),
    seconds: Type.Optional(
      Type.String({
        pattern: '^[1-9][0-9]?$',
        description: `of the newest part of the window, in steps of 5: up to ${windowSeconds}, which it is by itself`,
      }),
    ),
  },
  closed,
);
export const Stats = Type.Object({
  windowMs: Type.Number(),
  scope: Scope,
  series: Type.Array(
    Type.Object({
      ...hop,
      route: Type.String(),
      requests: Type.Number(),
      failures: Type.Number(),
      failed: Type.Number({ description: 'failures, and answers of 5xx: each request once' }),
      attempts: Type.Number({ description: 'at endpoints: what the requests needed, retries included' }),
      attemptsFailed: Type.Number(),
      byStatus: Type.Record(Type.String(), Type.Number()),
      p50Ms: Type.Number(),
      p95Ms: Type.Number(),
      p99Ms: Type.Number(),
      parts: Type.Record(Type.String(), Type.Number(), { description: 'mean ms; they sum to the mean of the total' }),
    }),
  ),
});

export const LatencyQuery = Type.Object(
  {
    service,
    route: Type.Optional(Type.String({ maxLength: 256, description: 'only of this route' })),
    byRoute: Type.Optional(
      Type.Unsafe<'1'>({ type: 'string', enum: ['1', 'true'], description: 'each route of a hop by itself' }),
    ),
    depth: Type.Optional(
      Type.String({
        pattern: '^[0-9]{1,2}$',
        description: `how far to follow the calls: 0 to ${limits.latencyDepthMax}, which it is by itself`,
      }),
    ),
  },
  closed,
);

const At = Type.Object(
  {
    percentile: Type.Integer(),
    percentileMs: Type.Number({ description: 'by the histogram, off by 6.25 % at most' }),
    fromMs: Type.Number({ description: 'with toMs: the totals between which its requests lie' }),
    toMs: Type.Union([Type.Number(), Type.Null()]),
    requests: Type.Integer(),
    loopEstimates: Type.Integer({ description: 'of its requests: how many have a loop that is an upper bound' }),
    totalMs: Type.Number(),
    partsMs: parts,
    far: Type.Null(),
  },
  {
    description:
      'the mean of the requests in the band of the total that has the percentile; its parts sum to its total',
  },
);
export const Latency = Type.Object({
  windowMs: Type.Number(),
  scope: Scope,
  hops: Type.Array(
    Type.Object({
      ...hop,
      depth: Type.Integer({ description: '0: calls to the service, 1: its own, 2: those of whom it calls, and so on' }),
      route: Type.Union([Type.String(), Type.Null()], { description: 'null: all routes together' }),
      requests: Type.Integer(),
      at: Type.Array(At),
    }),
    { description: `along the calls, ${limits.latencyHopsMax} at most` },
  ),
  hopsLeftOut: Type.Integer(),
});
