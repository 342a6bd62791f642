/** The past over REST: who changed what, what differs between two revisions, and the way back. */
import type { FastifyInstance } from 'fastify';
import { inSlices } from '../../decisions/slices.ts';
import { limits } from '../../model/limits.ts';
import { isObjectKey, type Kind, type Resource } from '../../model/resources.ts';
import { changesOf, type KeyChange, oldestKnown, revisionsOf } from '../history.ts';
import { wayBackTo } from '../rollback.ts';
import type { Revision, Store } from '../store/store.ts';
import { ApiError, revisionGone } from './api-error.ts';
import { type ResourceRooms, type WriteQuery, writeSeveral } from './resource-routes.ts';
import * as schemas from './schemas.ts';
import { wantedByRollback } from './wanted-objects.ts';

export type RevisionRooms = Pick<ResourceRooms, 'changes' | 'fleet'> & { readonly store: Store };

interface RevisionsQuery {
  readonly limit?: string;
  readonly before?: string;
  readonly kind?: Kind;
  readonly namespace?: string;
  readonly name?: string;
}
interface DiffQuery {
  readonly from: string;
  readonly to?: string;
}

const revisionsShown = 50;
const tags = ['revisions'];

export function addRevisionRoutes(app: FastifyInstance, rooms: RevisionRooms): void {
  addHistory(app, rooms.store);
  addDiff(app, rooms.store);
  app.post<{ Querystring: WriteQuery }>(
    '/v1/rollback',
    {
      schema: {
        summary: 'Bring the resources to what they were right after a revision: a new revision, or none',
        querystring: schemas.WriteQuery,
        body: schemas.Rollback,
        response: { 200: schemas.TransactionResult, ...schemas.refusedWrite, ...schemas.refused(410) },
        tags,
      },
    },
    async (request, reply) => {
      const { revision, message } = wantedByRollback(request.body);
      refuseFuture(rooms.store, revision);
      const why = message === '' ? `back to revision ${revision}` : message;
      return reply.send(await writeSeveral(rooms, request, wayBackTo(revision, rooms.store), why));
    },
  );
}

function addHistory(app: FastifyInstance, store: Store): void {
  app.get<{ Querystring: RevisionsQuery }>(
    '/v1/revisions',
    {
      schema: {
        summary: 'The newest revisions, of all or of one object: who, when, why, what',
        querystring: schemas.RevisionsQuery,
        response: { 200: schemas.Revisions, ...schemas.refused(400) },
        tags,
      },
    },
    async ({ query }) => {
      const items = await listed(store, query);
      return {
        items: items.map((revision) => ({
          ...factsOf(revision),
          changes: revision.changes.map(({ key, ...change }) => ({ object: key, action: actionOf(change) })),
        })),
        oldest: oldestKnown(store),
      };
    },
  );
  app.get<{ Params: { revision: string } }>(
    '/v1/revisions/:revision',
    {
      schema: {
        summary: 'One revision, with each object before and after it',
        params: schemas.RevisionParams,
        response: { 200: schemas.Revision, ...schemas.refused(400, 404, 410) },
        tags,
      },
    },
    ({ params }) => {
      const wanted = Number(params.revision);
      refuseFuture(store, wanted);
      const revision = wanted === 0 ? undefined : store.revisionsAfter(wanted - 1)?.[0];
      if (revision === undefined) throw revisionGone(wanted, oldestKnown(store) + 1);
      return { ...factsOf(revision), changes: revision.changes.map(asShown) };
    },
  );
}

function addDiff(app: FastifyInstance, store: Store): void {
  app.get<{ Querystring: DiffQuery }>(
    '/v1/diff',
    {
      schema: {
        summary: 'What differs between the resources right after one revision and right after another (default: now)',
        querystring: schemas.DiffQuery,
        response: { 200: schemas.Diff, ...schemas.refused(400, 404, 410) },
        tags,
      },
    },
    async ({ query }) => {
      const from = Number(query.from);
      const to = Number(query.to ?? store.revision);
      const [earlier, later] = from < to ? [from, to] : [to, from];
      refuseFuture(store, later);
      const revisions = store.revisionsAfter(earlier);
      if (revisions === null) throw revisionGone(earlier, oldestKnown(store));
      const changes = await inSlices(changesOf(revisions.slice(0, later - earlier)));
      return { from, to, changes: changes.map((change) => asShown(from < to ? change : reversed(change))) };
    },
  );
}

async function listed(store: Store, query: RevisionsQuery): Promise<readonly Revision[]> {
  const { kind, namespace, name } = query;
  const count = Number(query.limit ?? revisionsShown);
  // The newest are skipped by their number: revisions have no gaps.
  const skipped = query.before === undefined ? 0 : Math.max(0, store.revision + 1 - Number(query.before));
  if (kind === undefined && namespace === undefined && name === undefined)
    return store.history(Math.min(skipped + count, limits.revisionsFlagMax)).slice(skipped);
  if (kind === undefined || namespace === undefined || name === undefined)
    throw new ApiError('bad-request', 'The query: kind, namespace and name belong together; give all of them or none.');
  const revisions = store.history(limits.revisionsFlagMax).slice(skipped);
  return inSlices(revisionsOf(`${kind}/${namespace}/${name}`, revisions, count));
}

function refuseFuture(store: Store, revision: number): void {
  if (revision > store.revision)
    throw new ApiError('not-found', `There is no revision ${revision} yet: the newest is ${store.revision}.`);
}

const factsOf = ({ revision, who, message, atMs }: Revision) => ({
  revision,
  who,
  message,
  at: new Date(atMs).toISOString(),
});

const actionOf = ({ before, after }: Pick<KeyChange, 'before' | 'after'>): string =>
  after === null ? 'deleted' : before === null ? 'created' : 'replaced';

const reversed = ({ key, before, after }: KeyChange): KeyChange => ({ key, before: after, after: before });

/** What is no resource (the trust bundle) is named, and no more. */
function asShown(change: Revision['changes'][number]) {
  const { key, before, after } = change;
  const named = { object: key, action: actionOf(change) };
  return isObjectKey(key) ? { ...named, before: parsed(before), after: parsed(after) } : named;
}

const parsed = (value: string | null): Resource | null => (value === null ? null : (JSON.parse(value) as Resource));
