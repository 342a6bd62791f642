/** What the control plane says of itself and of the sidecars. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type from 'typebox';
import { splitAddress } from '../../model/host-port.ts';
import { bundlePem } from '../../model/identity.ts';
import { version } from '../../model/version.ts';
import type { AccessControl } from '../access/access-control.ts';
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
  readonly push: PushPort;
  readonly access: AccessControl;
  /** Started with --insecure-control-plane. */
  readonly isInsecure: boolean;
  readonly startedAtMs: number;
}

/** The push port, as a sidecar must be told of it. */
export interface PushPort {
  /** `HOST:PORT` as bound. */
  readonly address: string;
  readonly speaksTls: boolean;
  readonly speaksPlain: boolean;
}

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

/**
 * Whoever listens everywhere has no one address to tell: the sidecar has reached this machine under some name, and finds the push port there
 * too. Who came over TLS goes on over TLS where he can.
 */
function pushUrlFor({ hostname, protocol }: FastifyRequest, { address, speaksTls, speaksPlain }: PushPort): string {
  const { host, port } = splitAddress(address);
  const isWildcard = host === '0.0.0.0' || host === '::';
  const isSecure = speaksTls && (protocol === 'https' || !speaksPlain);
  const told = isWildcard && hostname !== '' ? `${hostname}:${port}` : address;
  return `${isSecure ? 'wss' : 'ws'}://${told}/v1/push`;
}

export function addStatusRoutes(
  app: FastifyInstance,
  { store, storeName, fleet, authority, push, access, isInsecure, startedAtMs }: StatusRooms,
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
    '/v1/bootstrap',
    { schema: { summary: 'What a sidecar needs to connect', response: { 200: schemas.Bootstrap }, tags } },
    (request) => ({
      push: pushUrlFor(request, push),
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
      access: { requiresToken: access.requiresToken, isInsecure },
      controlPlanes: fleet.replicas(),
      ...sidecarFacts(store, fleet),
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
