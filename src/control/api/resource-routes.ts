/** Objects over REST: read, list, watch, write one, write several. */
import { randomUUID } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type from 'typebox';
import { limits } from '../../model/limits.ts';
import type { Problem } from '../../model/problem.ts';
import { defaultNamespace, type Kind, keyOf, kinds, type ObjectKey, type Resource } from '../../model/resources.ts';
import { validateResource } from '../../model/validate.ts';
import { asShown, type Changes, type ObjectName, type WantedChange, type WantedObject } from '../change.ts';
import type { AppliedReport, Fleet } from '../fleet.ts';
import type { World } from '../world.ts';
import { ApiError, changeError } from './api-error.ts';
import * as schemas from './schemas.ts';
import type { Watchers } from './watch.ts';

export interface ResourceRooms {
  readonly world: World;
  readonly changes: Changes;
  readonly fleet: Fleet;
  readonly watchers: Watchers;
}

interface WriteQuery {
  readonly wait?: 'applied';
  readonly timeoutMs?: string;
  readonly dryRun?: string;
}
interface ListQuery {
  readonly namespace?: string;
  readonly watch?: string;
  readonly from?: string;
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
    { schema: { summary: 'Watch all kinds: server-sent events', querystring: schemas.WatchQuery, tags: ['watch'] } },
    (request, reply) =>
      rooms.watchers.watch(reply, { kind: null, namespace: null, from: revisionOf(request.query.from) }),
  );
}

function addCollection(app: FastifyInstance, kind: Kind, { world, changes, fleet, watchers }: ResourceRooms): void {
  const { collection, schema } = kinds[kind];
  const tags = [kind];
  const list = Type.Object({ items: Type.Array(schema), revision: Type.Integer() });

  app.get<{ Querystring: ListQuery }>(
    `/v1/${collection}`,
    {
      schema: {
        summary: `List or (watch=1) watch every ${kind}`,
        querystring: schemas.NamespaceQuery,
        response: { 200: list },
        tags,
      },
    },
    (request, reply) => {
      const { namespace = null, watch, from } = request.query;
      if (watch === '1' || watch === 'true') return watchers.watch(reply, { kind, namespace, from: revisionOf(from) });
      return reply.send({
        items: world.list(kind, namespace).map((resource) => asShown(resource, world)),
        revision: world.revision,
      });
    },
  );

  app.get<{ Params: ObjectParams }>(
    `/v1/${collection}/:namespace/:name`,
    {
      schema: {
        summary: `Read a ${kind}`,
        params: schemas.ObjectParams,
        response: { 200: schema, 404: schemas.Problem },
        tags,
      },
    },
    (request, reply) => {
      const key: ObjectKey = `${kind}/${request.params.namespace}/${request.params.name}`;
      const resource = world.get(key);
      if (resource === null)
        throw new ApiError('not-found', `${kind} ${request.params.namespace}/${request.params.name} does not exist.`);
      return reply.header('etag', `"${world.revisionOf(key)}"`).send(asShown(resource, world));
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
        response: { 200: schema, 201: schema, 412: schemas.Problem, 422: schemas.Problem },
        tags,
      },
    },
    async (request, reply) => {
      const resource = objectOf(request.body, kind, request.params);
      const expected = expectedByHeaders(request) ?? expectedByBody(resource);
      const { revision, results } = await make(changes, request, [{ resource, expected }], '');
      await waitIfAsked(fleet, request.query, revision, results);
      const [result] = results;
      const key = keyOf(resource);
      const shown = asShown(world.get(key) ?? resource, world);
      return reply
        .code(result!.action === 'created' ? 201 : 200)
        .header('etag', `"${result!.revision}"`)
        .send(shown);
    },
  );

  app.delete<{ Params: ObjectParams; Querystring: WriteQuery }>(
    `/v1/${collection}/:namespace/:name`,
    {
      schema: {
        summary: `Delete a ${kind}`,
        params: schemas.ObjectParams,
        querystring: schemas.WriteQuery,
        response: { 200: schemas.TransactionResult, 404: schemas.Problem },
        tags,
      },
    },
    async (request, reply) => {
      const remove: ObjectName = { kind, ...request.params };
      const made = await make(changes, request, [{ remove, expected: expectedByHeaders(request) }], '');
      return reply.send({ ...made, ...(await waitIfAsked(fleet, request.query, made.revision, made.results)) });
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
        response: { 200: schemas.TransactionResult, 412: schemas.Problem, 422: schemas.Problem, 504: schemas.Problem },
        tags: ['transactions'],
      },
    },
    async (request, reply) => {
      const { objects, message } = transactionOf(request.body);
      const made = await make(changes, request, objects, message);
      return reply.send({ ...made, ...(await waitIfAsked(fleet, request.query, made.revision, made.results)) });
    },
  );
}

async function make(changes: Changes, request: FastifyRequest, objects: readonly WantedObject[], message: string) {
  const { dryRun } = request.query as WriteQuery;
  const wanted: WantedChange = {
    objects,
    message,
    who: header(request, 'weft-actor') ?? 'anonymous',
    requestId: header(request, 'idempotency-key') ?? randomUUID(),
    isDryRun: dryRun === '1' || dryRun === 'true',
  };
  const outcome = await changes.make(wanted);
  if (outcome.tag !== 'done') throw changeError(outcome);
  return { revision: outcome.revision, results: outcome.results };
}

/** Answers only when it is so; otherwise says who is missing, and that the change is committed all the same. */
async function waitIfAsked(
  fleet: Fleet,
  query: WriteQuery,
  revision: number,
  results: unknown,
): Promise<{ readonly applied?: AppliedReport }> {
  if (query.wait !== 'applied' || query.dryRun !== undefined) return {};
  const timeoutMs = Math.min(Number(query.timeoutMs ?? limits.waitAppliedMs), limits.waitAppliedMsMax);
  const applied = await fleet.waitApplied(revision, timeoutMs);
  const behind = applied.missing.length + applied.refused.length;
  if (behind === 0) return { applied };
  throw new ApiError(
    'not-applied',
    `Revision ${revision} is committed, but ${behind === 1 ? 'one sidecar does' : `${behind} sidecars do`} not have it in force.`,
    {
      revision,
      results,
      missing: applied.missing,
      refused: applied.refused,
    },
  );
}

// --- What was asked --------------------------------------------------------------------------------------------------------------

function objectOf(body: unknown, kind: Kind, { namespace, name }: ObjectParams): Resource {
  const judged = validateResource(body);
  if ('problems' in judged) throw new ApiError('invalid', 'Nothing was changed.', { problems: judged.problems });
  const { resource } = judged;
  const mismatch = (path: string, is: string, should: string): never => {
    throw new ApiError('invalid', 'Nothing was changed.', {
      problems: [{ path, message: `is ${is}, but the address says ${should}` }],
    });
  };
  if (resource.kind !== kind) mismatch('kind', resource.kind, kind);
  if (resource.metadata.name !== name) mismatch('metadata.name', resource.metadata.name, name);
  if (resource.metadata.namespace !== undefined && resource.metadata.namespace !== namespace)
    mismatch('metadata.namespace', resource.metadata.namespace, namespace);
  // The address has not been through the schema, and what is written takes its namespace from there.
  const placed = validateResource({ ...resource, metadata: { ...resource.metadata, namespace } });
  if ('problems' in placed) throw new ApiError('invalid', 'Nothing was changed.', { problems: placed.problems });
  return placed.resource;
}

function transactionOf(body: unknown): { readonly objects: readonly WantedObject[]; readonly message: string } {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new ApiError('bad-request', 'The body must be an object with apply, delete, or both.');
  const { apply = [], delete: remove = [], message = '', ...unknown } = body as Record<string, unknown>;
  const problems: Problem[] = Object.keys(unknown).map((field) => ({
    path: field,
    message: 'unknown field (known: apply, delete, message)',
  }));
  if (!Array.isArray(apply)) problems.push({ path: 'apply', message: 'must be a list of resources' });
  if (!Array.isArray(remove)) problems.push({ path: 'delete', message: 'must be a list of { kind, namespace, name }' });
  if (typeof message !== 'string' || message.length > messageCharsMax)
    problems.push({ path: 'message', message: `must be a text of at most ${messageCharsMax} characters` });
  const objects: WantedObject[] = [];
  const applied: unknown[] = Array.isArray(apply) ? apply : [];
  const removed: unknown[] = Array.isArray(remove) ? remove : [];
  if (applied.length + removed.length > limits.transactionObjectsMax)
    throw new ApiError('too-large', `A transaction may have ${limits.transactionObjectsMax} objects.`);
  for (const [i, value] of applied.entries()) {
    const judged = validateResource(value);
    if ('resource' in judged) objects.push({ resource: judged.resource, expected: expectedByBody(judged.resource) });
    else
      problems.push(
        ...judged.problems.map((problem) => ({
          ...problem,
          path: problem.path === '' ? `apply[${i}]` : `apply[${i}].${problem.path}`,
        })),
      );
  }
  for (const [i, value] of removed.entries()) {
    const named = removalOf(value);
    if (typeof named === 'string') problems.push({ path: `delete[${i}]`, message: named });
    else objects.push(named);
  }
  if (problems.length > 0) throw new ApiError('invalid', 'Nothing was changed.', { problems });
  if (objects.length === 0) throw new ApiError('bad-request', 'The transaction has no objects.');
  return { objects, message: message as string };
}

const messageCharsMax = 1024;

function removalOf(value: unknown): WantedObject | string {
  if (typeof value !== 'object' || value === null) return 'must be { kind, namespace, name }';
  const { kind, namespace = defaultNamespace, name, resourceVersion } = value as Record<string, unknown>;
  if (typeof kind !== 'string' || !Object.hasOwn(kinds, kind))
    return `kind must be one of ${Object.keys(kinds).join(', ')}`;
  if (typeof name !== 'string' || typeof namespace !== 'string') return 'name and namespace must be texts';
  if (resourceVersion !== undefined && !/^\d{1,15}$/.test(String(resourceVersion)))
    return 'resourceVersion must be a revision';
  return {
    remove: { kind: kind as Kind, namespace, name },
    expected: resourceVersion === undefined ? null : Number(resourceVersion),
  };
}

/** `If-Match: "12"` (or 12), `If-None-Match: *` (RFC 9110 section 13.1); null when neither is there. */
function expectedByHeaders(request: FastifyRequest): number | null {
  const match = header(request, 'if-match');
  const noneMatch = header(request, 'if-none-match');
  if (match !== undefined && noneMatch !== undefined)
    throw new ApiError('bad-request', 'If-Match and If-None-Match exclude each other.');
  if (noneMatch !== undefined) {
    if (noneMatch.trim() !== '*')
      throw new ApiError('bad-request', 'If-None-Match takes * only: the object must not exist.');
    return 0;
  }
  if (match === undefined) return null;
  const revision = /^\s*"?(\d{1,15})"?\s*$/.exec(match)?.[1];
  if (revision === undefined)
    throw new ApiError('bad-request', `If-Match takes one revision, such as "12", not ${match.slice(0, 80)}.`);
  return Number(revision);
}

const expectedByBody = ({ metadata }: Resource): number | null =>
  metadata.resourceVersion === undefined ? null : Number(metadata.resourceVersion);
const revisionOf = (text: string | undefined): number | null => (text === undefined ? null : Number(text));

function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}
