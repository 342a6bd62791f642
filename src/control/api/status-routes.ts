/** What the control plane says of itself, of the sidecars and of the traffic they report. */
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import { bundlePem } from '../../model/identity.ts';
import { version } from '../../model/version.ts';
import type { CertificateAuthority } from '../ca/certificate-authority.ts';
import type { Fleet } from '../fleet.ts';
import { foundedServices } from '../service-founder.ts';
import type { Store } from '../store/store.ts';
import * as schemas from './schemas.ts';

export interface StatusRooms {
  readonly store: Store;
  readonly storeName: string;
  readonly fleet: Fleet;
  readonly authority: CertificateAuthority;
  /** `HOST:PORT` of the push port. */
  readonly push: string;
  readonly startedAtMs: number;
}

const revisionsShown = 50;

function sidecarFacts(store: Store, fleet: Fleet): { sidecars: number; foundedServices: readonly object[] } {
  const sidecars = fleet.list();
  const registered = new Map<string, number>();
  for (const { service, namespace, registration } of sidecars) {
    const unit = `${service}.${namespace}`;
    if (registration !== null) registered.set(unit, (registered.get(unit) ?? 0) + 1);
  }
  const founded = foundedServices(store).map((service) => ({
    ...service,
    sidecars: registered.get(`${service.name}.${service.namespace}`) ?? 0,
  }));
  return { sidecars: sidecars.length, foundedServices: founded };
}

export function addStatusRoutes(
  app: FastifyInstance,
  { store, storeName, fleet, authority, push, startedAtMs }: StatusRooms,
): void {
  const tags = ['status'];
  app.get(
    '/v1/sidecars',
    {
      schema: {
        summary: 'Every living sidecar, and what it has in force',
        response: { 200: Type.Object({ items: Type.Array(schemas.Sidecar) }) },
        tags,
      },
    },
    () => ({
      items: fleet.list(),
    }),
  );
  app.get(
    '/v1/stats',
    {
      schema: {
        summary:
          'Golden metrics and the parts of each hop over the last window, of the sidecars that are connected here',
        response: { 200: schemas.Stats },
        tags,
      },
    },
    () => fleet.stats(),
  );
  app.get(
    '/v1/bootstrap',
    { schema: { summary: 'What a sidecar needs to connect', response: { 200: schemas.Bootstrap }, tags } },
    () => ({
      push: `ws://${push}/v1/push`,
      trustDomain: authority.bundle.trustDomain,
      revision: store.revision,
      bundle: bundlePem(authority.bundle),
      requiresToken: authority.bundle.requiresJoinToken,
    }),
  );
  app.get(
    '/v1/status',
    { schema: { summary: 'The control plane itself', response: { 200: schemas.Status }, tags } },
    () => ({
      revision: store.revision,
      version,
      store: storeName,
      startedAt: new Date(startedAtMs).toISOString(),
      controlPlanes: fleet.replicas(),
      ...sidecarFacts(store, fleet),
    }),
  );
  app.get<{ Querystring: { limit?: string } }>(
    '/v1/revisions',
    {
      schema: {
        summary: 'The newest revisions: who, when, what',
        querystring: schemas.LimitQuery,
        response: { 200: schemas.Revisions, ...schemas.refused(400) },
        tags,
      },
    },
    (request) => ({
      items: store
        .history(Number(request.query.limit ?? revisionsShown))
        .map(({ revision, who, message, atMs, changes }) => ({
          revision,
          who,
          message,
          at: new Date(atMs).toISOString(),
          changes: changes.map(({ key, before, after }) => ({
            object: key,
            action: after === null ? 'deleted' : before === null ? 'created' : 'replaced',
          })),
        })),
    }),
  );
  app.get(
    '/healthz',
    {
      schema: {
        summary: 'Answers when the control plane serves',
        response: { 200: Type.Object({ ok: Type.Boolean() }) },
        tags,
      },
    },
    () => ({ ok: true }),
  );
}
