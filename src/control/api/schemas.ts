/** The shapes of the API's questions and answers, for /openapi.json. Resources have theirs in model/resources.ts. */
import Type from 'typebox';
import { HTTPRoute, kinds, Service, TrafficPolicy } from '../../model/resources.ts';
import { TimeoutMs } from './wait-timeout.ts';

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
      link: Type.Array(Type.String()),
    }),
    Type.Null(),
  ]),
  isLinkInsecure: Type.Boolean(),
  softwareVersion: Type.String(),
  hasOlderUwsCore: Type.Boolean(),
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
      failed: Type.Number(),
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
  bundle: Type.String({ description: 'all roots that the mesh believes, in PEM' }),
  requiresToken: Type.Boolean({ description: 'a sidecar needs a join token, unless it has a certificate already' }),
});
export const Status = Type.Object({
  revision: Type.Integer(),
  version: Type.String(),
  store: Type.String(),
  startedAt: Type.String(),
  sidecars: Type.Integer(),
  controlPlanes: Type.Array(
    Type.Object({
      api: Type.String({ description: 'HOST:PORT' }),
      startedAt: Type.String(),
      isLeader: Type.Boolean({ description: 'it compacts the store' }),
      isSelf: Type.Boolean({ description: 'it gave this answer' }),
      sidecars: Type.Integer({ description: 'whose leases it holds' }),
      roots: Type.Array(Type.String(), { description: 'SHA-256 of the roots whose keys it has' }),
    }),
    { description: 'all that serve from this store' },
  ),
  foundedServices: Type.Array(
    Type.Object({
      name: Type.String(),
      namespace: Type.String(),
      at: Type.String(),
      similar: Type.Union([Type.String(), Type.Null()]),
      sidecars: Type.Integer(),
    }),
    {
      description:
        'made by a registration under a name that did not exist; `similar`: an older Service whose name may have been meant; `sidecars`: how many are registered now',
    },
  ),
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

// Closed: a misspelt dryRun must not write.
const closed = { additionalProperties: false } as const;
const revision = Type.String({ pattern: '^[0-9]{1,15}$', description: 'a revision' });
const consistent = Type.Unsafe<'1'>({
  type: 'string',
  enum: ['1', 'true'],
  description: 'with everything that any control plane on the store had committed when this was asked',
});
export const ReadQuery = Type.Object({ consistent: Type.Optional(consistent) }, closed);
export const NamespaceQuery = Type.Object(
  {
    namespace: Type.Optional(Type.String()),
    consistent: Type.Optional(consistent),
    watch: Type.Optional(Type.Unsafe<'1'>({ type: 'string', enum: ['1', 'true'] })),
    from: Type.Optional(revision),
  },
  closed,
);
export const WatchHeaders = Type.Object({
  'last-event-id': Type.Optional(
    Type.String({
      pattern: '^[0-9]{1,15}$',
      description: 'the newest revision that a reader has had: where to go on, whatever `from` says',
    }),
  ),
});
export const WatchQuery = Type.Object({ from: Type.Optional(revision) }, closed);
export const WriteQuery = Type.Object(
  {
    wait: Type.Optional(
      Type.Unsafe<'applied'>({
        type: 'string',
        enum: ['applied'],
        description: 'answer when every sidecar concerned has the change in force',
      }),
    ),
    timeoutMs: Type.Optional(TimeoutMs),
    dryRun: Type.Optional(
      Type.Unsafe<'1'>({ type: 'string', enum: ['1', 'true'], description: 'judge the change, and write nothing' }),
    ),
  },
  closed,
);
export const TimeoutQuery = Type.Object({ timeoutMs: Type.Optional(TimeoutMs) }, closed);
export const ObjectParams = Type.Object({ namespace: Type.String(), name: Type.String() });
export const LimitQuery = Type.Object(
  { limit: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,3}$', description: 'a number, 1 to 9999' })) },
  closed,
);

const problemReply = (description: string) => ({
  description,
  content: { 'application/problem+json': { schema: Problem } },
});
const refusals = {
  400: problemReply('the request cannot be understood'),
  401: problemReply('a token is needed, or the one that came is not valid'),
  403: problemReply('the token is for another Service'),
  404: problemReply('the object does not exist'),
  410: problemReply('the revision to watch from is no longer kept: list the objects, then watch from there'),
  412: problemReply('an object is not at the revision that was expected of it'),
  413: problemReply('the body is too large'),
  415: problemReply('the body is not application/json'),
  422: problemReply('the configuration would not be valid; `problems` says where and why'),
  500: problemReply('the control plane failed'),
  503: problemReply('not now: send it again'),
  504: problemReply('committed, but not in force everywhere in time; `missing` and `refused` name the sidecars'),
} as const;
type Refused = keyof typeof refusals;

/** The refusals that an address may answer with, for its `response`. */
export const refused = (...statuses: readonly Refused[]) =>
  Object.fromEntries(statuses.map((status) => [status, refusals[status]])) as Partial<typeof refusals>;
export const refusedWrite = refused(400, 404, 412, 413, 415, 422, 500, 503, 504);

/** Server-sent events. */
export const Events = {
  description: 'events put, delete and revision; the id of a revision is where to resume',
  content: { 'text/event-stream': { schema: Type.String() } },
};
