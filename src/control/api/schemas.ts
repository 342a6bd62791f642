/** The shapes of the API's questions and answers, for /openapi.json. Resources have theirs in model/resources.ts. */
import Type from 'typebox';
import { HTTPRoute, kinds, Service, TrafficPolicy } from '../../model/resources.ts';

const loose = { additionalProperties: true } as const;
const kind = Type.Unsafe<keyof typeof kinds>({ type: 'string', enum: Object.keys(kinds) });
export const AnyResource = Type.Union([Service, HTTPRoute, TrafficPolicy]);

export const Problem = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String(),
    problems: Type.Optional(
      Type.Array(
        Type.Object({ path: Type.String(), message: Type.String(), object: Type.Optional(Type.String()) }, loose),
      ),
    ),
  },
  { ...loose, description: 'RFC 9457' },
);

const name = { sidecar: Type.String(), service: Type.String(), namespace: Type.String() };
export const Applied = Type.Object({
  revision: Type.Integer(),
  applied: Type.Array(Type.Object(name)),
  missing: Type.Array(Type.Object(name)),
  refused: Type.Array(Type.Object({ ...name, reason: Type.String() })),
});

const objectName = { kind, namespace: Type.String(), name: Type.String() };
export const Transaction = Type.Object({
  apply: Type.Optional(Type.Array(AnyResource)),
  delete: Type.Optional(
    Type.Array(
      Type.Object({
        kind,
        namespace: Type.Optional(Type.String()),
        name: Type.String(),
        resourceVersion: Type.Optional(Type.String()),
      }),
    ),
  ),
  message: Type.Optional(Type.String({ maxLength: 1024 })),
});
export const TransactionResult = Type.Object({
  revision: Type.Integer(),
  results: Type.Array(
    Type.Object({
      ...objectName,
      action: Type.Unsafe<string>({ type: 'string', enum: ['created', 'replaced', 'unchanged', 'deleted'] }),
      revision: Type.Integer(),
    }),
  ),
  applied: Type.Optional(Applied),
});

export const Sidecar = Type.Object({
  ...name,
  connected: Type.Boolean(),
  state: Type.Unsafe<string>({ type: 'string', enum: ['synced', 'pending', 'refused', 'lost'] }),
  revision: Type.Integer(),
  reason: Type.Union([Type.String(), Type.Null()]),
  subscriptions: Type.Array(Type.String()),
  registration: Type.Union([
    Type.Object({
      address: Type.String(),
      zone: Type.String(),
      labels: Type.Record(Type.String(), Type.String()),
      weight: Type.Integer(),
    }),
    Type.Null(),
  ]),
  softwareVersion: Type.String(),
  leaseEndsInMs: Type.Number(),
});
export const Stats = Type.Object({
  windowMs: Type.Number(),
  series: Type.Array(
    Type.Object({
      direction: Type.String(),
      source: Type.String(),
      destination: Type.String(),
      route: Type.String(),
      requests: Type.Number(),
      failures: Type.Number(),
      byStatus: Type.Record(Type.String(), Type.Number()),
      p50Ms: Type.Number(),
      p95Ms: Type.Number(),
      p99Ms: Type.Number(),
      parts: Type.Record(Type.String(), Type.Number()),
    }),
  ),
});
export const Bootstrap = Type.Object({
  push: Type.String({ description: 'WebSocket URL for sidecars' }),
  trustDomain: Type.String(),
  revision: Type.Integer(),
});
export const Status = Type.Object({
  revision: Type.Integer(),
  version: Type.String(),
  store: Type.String(),
  startedAt: Type.String(),
  sidecars: Type.Integer(),
});
export const Revisions = Type.Object({
  items: Type.Array(
    Type.Object({
      revision: Type.Integer(),
      who: Type.String(),
      message: Type.String(),
      at: Type.String(),
      changes: Type.Array(Type.Object({ object: Type.String(), action: Type.String() })),
    }),
  ),
});

export const NamespaceQuery = Type.Object({
  namespace: Type.Optional(Type.String()),
  watch: Type.Optional(Type.String()),
  from: Type.Optional(Type.String({ pattern: '^[0-9]{1,15}$' })),
});
export const WatchQuery = Type.Object({ from: Type.Optional(Type.String({ pattern: '^[0-9]{1,15}$' })) });
export const WriteQuery = Type.Object({
  wait: Type.Optional(
    Type.Unsafe<'applied'>({
      type: 'string',
      enum: ['applied'],
      description: 'answer when every sidecar concerned has the change in force',
    }),
  ),
  timeoutMs: Type.Optional(Type.String({ pattern: '^[0-9]{1,7}$' })),
  dryRun: Type.Optional(Type.Unsafe<'1'>({ type: 'string', enum: ['1', 'true'] })),
});
export const ObjectParams = Type.Object({ namespace: Type.String(), name: Type.String() });
export const LimitQuery = Type.Object({ limit: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,3}$' })) });
