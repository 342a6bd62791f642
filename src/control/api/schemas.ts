/** The shapes of the API's questions and answers, for /openapi.json. Resources have theirs in model/resources.ts. */
import Type from 'typebox';
import { roleNames, tokenNameExpected } from '../../model/access.ts';
import { limits } from '../../model/limits.ts';
import { HTTPRoute, Service, TrafficPolicy } from '../../model/resource-schemas.ts';
import { kinds } from '../../model/resources.ts';
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
  gone: Type.Optional(
    Type.Array(Type.Object(name), {
      description: 'not counted: here within the last 10 min, and silent since; what they have in force is not known',
    }),
  ),
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
const stateOrNull = (description: string) => Type.Optional(Type.Union([AnyResource, Type.Null()], { description }));
export const TransactionResult = Type.Object({
  revision: Type.Integer(),
  results: Type.Array(
    Type.Object({
      ...objectName,
      action: Type.Unsafe<string>({ type: 'string', enum: ['created', 'replaced', 'unchanged', 'deleted'] }),
      revision: Type.Integer(),
      before: stateOrNull('of what a dry run would change: as it is; null: it does not exist'),
      after: stateOrNull('of what a dry run would change: as it would be; null: it would not exist'),
    }),
  ),
  applied: Type.Optional(Applied),
});

export const Sidecar = Type.Object({
  ...name,
  connected: Type.Boolean(),
  state: Type.Unsafe<string>({ type: 'string', enum: ['synced', 'pending', 'refused', 'lost'] }),
  stateAgeMs: Type.Number({ description: 'how long it has been in this state, as this control plane has seen' }),
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
export const GoneSidecar = Type.Object({
  ...name,
  address: Type.Union([Type.String(), Type.Null()], { description: 'of the endpoint that it registered' }),
  lastHeardAgoMs: Type.Number(),
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
  storeOutage: Type.Union(
    [Type.Null(), Type.Object({ since: Type.String({ description: 'RFC 3339' }), reason: Type.String() })],
    {
      description:
        'null: the store takes writes, as far as is known; else writes are refused, and reads are of `since`',
    },
  ),
  startedAt: Type.String(),
  sidecars: Type.Integer(),
  access: Type.Object({
    requiresToken: Type.Boolean({ description: 'a first API token was made: every request needs one' }),
    isInsecure: Type.Boolean({
      description:
        'started with --insecure-control-plane: it may be reached from other machines without TLS and without a token',
    }),
  }),
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
      lastHeardAgoMs: Type.Union([Type.Number(), Type.Null()]),
      isUnused: Type.Boolean(),
    }),
    {
      description:
        'made by a registration under a name that did not exist; `similar`: an older Service whose name may have been meant; `sidecars`: how many are registered now; `lastHeardAgoMs`: of the last one that is gone without leave; `isUnused`: since it was made nobody was registered for longer than a moment, as far as this control plane has seen',
    },
  ),
});
export const Role = Type.Unsafe<'reader'>({ type: 'string', enum: [...roleNames] });
const tokenFields = {
  id: Type.String({ description: 'no secret; part of the token' }),
  name: Type.String(),
  role: Role,
  namespaces: Type.Array(Type.String(), { description: 'of an editor; else empty' }),
  createdAt: Type.String(),
  createdBy: Type.String(),
  expiresAt: Type.Union([Type.String(), Type.Null()]),
};
export const TokenRequest = Type.Object({
  role: Role,
  namespaces: Type.Optional(Type.Array(Type.String(), { maxItems: limits.editorNamespacesMax })),
  name: Type.Optional(Type.String({ description: tokenNameExpected })),
  ttlSeconds: Type.Optional(
    Type.Union([Type.Integer({ minimum: 1, maximum: limits.apiTokenTtlMsMax / 1000 }), Type.Null()], {
      default: limits.apiTokenTtlMs / 1000,
      description: 'null: without end',
    }),
  ),
});
export const MadeToken = Type.Object({ token: Type.String({ description: 'the secret, shown once' }), ...tokenFields });
export const Tokens = Type.Object({
  items: Type.Array(
    Type.Object({
      ...tokenFields,
      lastUsedAt: Type.Union([Type.String(), Type.Null()], {
        description: 'to the minute, of this control plane since it started',
      }),
    }),
  ),
});
export const RevokedToken = Type.Object({ revoked: Type.String() });
export const TokenParams = Type.Object({ name: Type.String({ description: 'name or id' }) });

const keyChange = { object: Type.String({ description: 'KIND/NAMESPACE/NAME' }), action: Type.String() };
const revisionFacts = {
  revision: Type.Integer(),
  who: Type.String(),
  message: Type.String(),
  at: Type.String(),
};
export const Revisions = Type.Object({
  items: Type.Array(Type.Object({ ...revisionFacts, changes: Type.Array(Type.Object(keyChange)) })),
  oldest: Type.Integer({ description: 'the first revision whose state is known: to go back to, or to compare with' }),
});
const StateChanges = Type.Array(
  Type.Object({
    ...keyChange,
    before: stateOrNull('absent where the object is no resource; null: it did not exist'),
    after: stateOrNull('likewise; null: it exists no longer'),
  }),
);
export const Revision = Type.Object({ ...revisionFacts, changes: StateChanges });
export const Diff = Type.Object({ from: Type.Integer(), to: Type.Integer(), changes: StateChanges });
export const Rollback = Type.Object({
  revision: Type.Integer({ minimum: 1, description: 'bring the resources to what they were right after this one' }),
  message: Type.Optional(Type.String({ maxLength: 1024 })),
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
    percent: Type.Optional(
      Type.String({
        pattern: '^([1-9][0-9]?|100)$',
        description: 'with wait: of the sidecars concerned, so many percent are enough, 1 to 100; 100 by itself',
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
export const RevisionsQuery = Type.Object(
  {
    limit: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,3}$', description: 'a number, 1 to 9999' })),
    before: Type.Optional(
      Type.String({ pattern: '^[0-9]{1,15}$', description: 'a revision: only older ones, for the next page' }),
    ),
    kind: Type.Optional({ ...kind, description: 'with namespace and name: only what has changed this object' }),
    namespace: Type.Optional(Type.String()),
    name: Type.Optional(Type.String()),
  },
  closed,
);
export const RevisionParams = Type.Object({ revision });
export const DiffQuery = Type.Object({ from: revision, to: Type.Optional(revision) }, closed);

const problemReply = (description: string) => ({
  description,
  content: { 'application/problem+json': { schema: Problem } },
});
const refusals = {
  400: problemReply('the request cannot be understood'),
  401: problemReply('a token is needed, or the one that came is not valid'),
  403: problemReply(
    'the token does not allow this: `detail` says which role and namespaces do, or that it is for another Service',
  ),
  404: problemReply('the object does not exist'),
  409: problemReply('the name is taken, there are too many, or the last admin would go'),
  410: problemReply(
    'the revision is no longer kept. A watch: list the objects, then watch from there; else `oldest` is the first that is known',
  ),
  412: problemReply('an object is not at the revision that was expected of it'),
  413: problemReply('the body is too large'),
  415: problemReply('the body is not application/json'),
  422: problemReply('the configuration would not be valid; `problems` says where and why'),
  500: problemReply('the control plane failed'),
  503: problemReply('not now: send it again'),
  504: problemReply('committed, but not in force everywhere in time; `missing` and `refused` name the sidecars'),
} as const;
type Refused = keyof typeof refusals;

/** The refusals that an address may answer with, for its `response`. Those of the gate (401, 403) are added to each that has one. */
export const refused = (...statuses: readonly Refused[]) =>
  Object.fromEntries(statuses.map((status) => [status, refusals[status]])) as Partial<typeof refusals>;
export const refusedWrite = refused(400, 404, 412, 413, 415, 422, 500, 503, 504);

/** Server-sent events. */
export const Events = {
  description: 'events put, delete and revision; the id of a revision is where to resume',
  content: { 'text/event-stream': { schema: Type.String() } },
};
