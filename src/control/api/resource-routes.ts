/** Objects over REST: read, list, watch, write one, write several. */
import { randomUUID } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type from 'typebox';
import { limits } from '../../model/limits.ts';
import { schemas as resourceSchemas } from '../../model/resource-schemas.ts';
import { type Kind, keyOf, kinds, type ObjectKey, type Resource } from '../../model/resources.ts';
import { asShown, type ChangeOutcome, type ChangeResult, type Changes, type WantedChange } from '../change.ts';
import type { AppliedReport, Fleet } from '../fleet.ts';
import type { Store } from '../store/store.ts';
import type { World } from '../world.ts';
import { authorOf, requesterOf } from './access-hook.ts';
import { ApiError, changeError } from './api-error.ts';
import * as schemas from './schemas.ts';
import { timeoutMsOf, type WaitTimeout } from './wait-timeout.ts';
import { keptHeader, wantedByDelete, wantedByPut, wantedByTransaction } from './wanted-objects.ts';
import type { Watchers } from './watch.ts';

export interface ResourceRooms {
  readonly store: Pick<Store, 'sync'>;
  readonly world: World;
  readonly changes: Changes;
  readonly fleet: Fleet;
  readonly watchers: Watchers;
}

export interface WriteQuery extends WaitTimeout {
  readonly wait?: 'applied';
  /** `1` to `100`. */
  readonly percent?: string;
  readonly dryRun?: string;
}
interface ListQuery extends ReadQuery {
  readonly namespace?: string;
  readonly watch?: string;
  readonly from?: string;
}
/** `consistent`: with everything that any control plane had committed when it was asked. */
interface ReadQuery {
  readonly consistent?: string;
}
interface ObjectParams {
  readonly namespace: string;
  readonly name: string;
}

export function addResourceRoutes(app: FastifyInstance, rooms: ResourceRooms): void {
  for (const kind of Object.keys(kinds) as Kind[]) addCollection(app, kind, rooms);
  addTransactions(app, rooms);
  app.get<{ Querystring: ListQuery }>(
    '/v1/watch',
    {
      schema: {
        summary: 'Watch all kinds: server-sent events',
        headers: schemas.WatchHeaders,
        querystring: schemas.WatchQuery,
        response: { 200: schemas.Events, ...schemas.refused(400, 410, 503) },
        tags: ['watch'],
      },
    },
    async (request, reply) => {
      const { isValid: isAllowed } = requesterOf(request);
      const from = resumeFrom(request);
      await reach(from, rooms);
      rooms.watchers.watch(reply, { kind: null, namespace: null, from, isAllowed });
    },
  );
}

function addCollection(
  app: FastifyInstance,
  kind: Kind,
  { store, world, changes, fleet, watchers }: ResourceRooms,
): void {
  const { collection } = kinds[kind];
  const schema = resourceSchemas[kind];
  const tags = [kind];
  const list = Type.Object({ items: Type.Array(schema), revision: Type.Integer() });

  app.get<{ Querystring: ListQuery }>(
    `/v1/${collection}`,
    {
      schema: {
        summary: `List or (watch=1) watch every ${kind}`,
        headers: schemas.WatchHeaders,
        querystring: schemas.NamespaceQuery,
        response: {
          200: { content: { 'application/json': { schema: list }, ...schemas.Events.content } },
          ...schemas.refused(400, 410, 503),
        },
        tags,
      },
    },
    async (request, reply) => {
      const { namespace = null, watch, consistent } = request.query;
      const { isValid: isAllowed } = requesterOf(request);
      if (consistent !== undefined) await store.sync();
      if (watch !== undefined) {
        const from = resumeFrom(request);
        await reach(from, { store, world });
        watchers.watch(reply, { kind, namespace, from, isAllowed });
        return;
      }
      return reply.send({
        items: world.list(kind, namespace).map((resource) => asShown(resource, world.revisionOf(keyOf(resource)))),
        revision: world.revision,
      });
    },
  );

  app.get<{ Params: ObjectParams; Querystring: ReadQuery }>(
    `/v1/${collection}/:namespace/:name`,
    {
      schema: {
        summary: `Read a ${kind}`,
        params: schemas.ObjectParams,
        querystring: schemas.ReadQuery,
        response: { 200: schema, ...schemas.refused(404, 503) },
        tags,
      },
    },
    async (request, reply) => {
      if (request.query.consistent !== undefined) await store.sync();
      const key: ObjectKey = `${kind}/${request.params.namespace}/${request.params.name}`;
      const resource = world.get(key);
      if (resource === null)
        throw new ApiError('not-found', `${kind} ${request.params.namespace}/${request.params.name} does not exist.`);
      const revision = world.revisionOf(key);
      return reply.header('etag', `"${revision}"`).send(asShown(resource, revision));
    },
  );

  app.put<{ Params: ObjectParams; Querystring: WriteQuery }>(
    `/v1/${collection}/:namespace/:name`,
    {
      bodyLimit: limits.objectBytesMax,
      schema: {
        summary: `Create or replace a ${kind}`,
        params: schemas.ObjectParams,
        querystring: schemas.WriteQuery,
        body: schema,
        response: { 200: schema, 201: schema, ...schemas.refusedWrite },
        tags,
      },
    },
    async (request, reply) => {
      const wanted = wantedByPut(request, { kind, ...request.params });
      const { revision, results, resources } = await make(changes, request, [wanted], '');
      await waitIfAsked(fleet, request.query, revision, results);
      const [result] = results as readonly [ChangeResult];
      const [resource] = resources as readonly [Resource];
      if (isDryRun(request.query)) return reply.send(asShown(resource, result.revision));
      return reply
        .code(result.action === 'created' ? 201 : 200)
        .header('etag', `"${result.revision}"`)
        .send(asShown(resource, result.revision));
    },
  );

  app.delete<{ Params: ObjectParams; Querystring: WriteQuery }>(
    `/v1/${collection}/:namespace/:name`,
    {
      schema: {
        summary: `Delete a ${kind}`,
        params: schemas.ObjectParams,
        querystring: schemas.WriteQuery,
        response: { 200: schemas.TransactionResult, ...schemas.refusedWrite },
        tags,
      },
    },
    async (request, reply) => {
      const wanted = wantedByDelete(request, { kind, ...request.params });
      const { revision, results } = await make(changes, request, [wanted], '');
      return reply.send({ revision, results, ...(await waitIfAsked(fleet, request.query, revision, results)) });
    },
  );
}

function addTransactions(app: FastifyInstance, { changes, fleet }: ResourceRooms): void {
  app.post<{ Querystring: WriteQuery }>(
    '/v1/transactions',
    {
      bodyLimit: limits.manifestBytesMax,
      schema: {
        summary: 'Several objects, one revision or none',
        querystring: schemas.WriteQuery,
        body: schemas.Transaction,
        response: { 200: schemas.TransactionResult, ...schemas.refusedWrite },
        tags: ['transactions'],
      },
    },
    async (request, reply) => {
      const { objects, message } = wantedByTransaction(request.body);
      return reply.send(await writeSeveral({ changes, fleet }, request, objects, message));
    },
  );
}

/** Writes and, if it is asked to, waits; or says what it would write. */
export async function writeSeveral(
  { changes, fleet }: Pick<ResourceRooms, 'changes' | 'fleet'>,
  request: FastifyRequest,
  objects: WantedChange['objects'],
  message: string,
): Promise<object> {
  const query = request.query as WriteQuery;
  const outcome = await make(changes, request, objects, message);
  const { revision, results } = outcome;
  if (isDryRun(query)) return { revision, results: withStates(outcome) };
  return { revision, results, ...(await waitIfAsked(fleet, query, revision, results)) };
}

const withStates = ({ results, replaced, resources }: Extract<ChangeOutcome, { tag: 'done' }>) =>
  results.map((result, i) =>
    result.action === 'unchanged' ? result : { ...result, before: replaced[i], after: resources[i] },
  );

async function make(changes: Changes, request: FastifyRequest, objects: WantedChange['objects'], message: string) {
  const query = request.query as WriteQuery;
  // Refused before anything is written.
  timeoutMsOf(query);
  if (query.percent !== undefined && query.wait === undefined)
    throw new ApiError('bad-request', 'percent says how many sidecars wait=applied waits for: say that too.');
  const wanted: WantedChange = {
    objects,
    message,
    ...authorOf(request),
    requestId: requestIdOf(request),
    isDryRun: isDryRun(query),
  };
  const outcome = await changes.make(wanted);
  if (outcome.tag !== 'done') throw changeError(outcome);
  return outcome;
}

/** Keys are each token's own, by its name: it stays when the token is replaced. No name and no key has a line feed. */
function requestIdOf(request: FastifyRequest): string {
  const key = keptHeader(request, 'idempotency-key');
  const { name } = requesterOf(request);
  return key === null ? randomUUID() : name === null ? key : `${name}\n${key}`;
}

const isDryRun = ({ dryRun }: WriteQuery): boolean => dryRun !== undefined;

/** Answers only when it is so; otherwise says who is missing, and that the change is committed all the same. */
async function waitIfAsked(
  fleet: Fleet,
  query: WriteQuery,
  revision: number,
  results: unknown,
): Promise<{ readonly applied?: Omit<AppliedReport, 'isEnough'> }> {
  if (query.wait !== 'applied' || isDryRun(query)) return {};
  const percent = Number(query.percent ?? 100);
  const { isEnough, ...applied } = await fleet.waitApplied(revision, timeoutMsOf(query), percent);
  if (isEnough) return { applied };
  const behind = applied.missing.length + applied.refused.length;
  const wanted = percent === 100 ? '' : `, so that it is not in force on the ${percent}% that were asked for`;
  throw new ApiError(
    'not-applied',
    `Revision ${revision} is committed, but ${behind === 1 ? 'one sidecar does' : `${behind} sidecars do`} not have it in force${wanted}.`,
    {
      revision,
      results,
      missing: applied.missing,
      refused: applied.refused,
      gone: applied.gone,
    },
  );
}

/** Who goes on here with a watch of another control plane may have seen what has not come here yet. */
async function reach(revision: number | null, { store, world }: Pick<ResourceRooms, 'store' | 'world'>): Promise<void> {
  if (revision !== null && revision > world.revision) await store.sync();
}

/** An EventSource comes back to the same address, with the last id that it has had in a header (WHATWG HTML, section 9.2.3). */
function resumeFrom({ headers, query }: FastifyRequest<{ Querystring: ListQuery }>): number | null {
  const lastEventId = headers['last-event-id'];
  const revision = typeof lastEventId === 'string' ? lastEventId : query.from;
  return revision === undefined ? null : Number(revision);
}
