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

function sidecarFacts({ store, fleet, startedAtMs }: Pick<StatusRooms, 'store' | 'fleet' | 'startedAtMs'>): {
  sidecars: number;
  foundedServices: readonly object[];
} {
  const sidecars = fleet.list();
  const registered = new Map<string, number>();
  for (const { service, namespace, registration } of sidecars) {
    const unit = `${service}.${namespace}`;
    if (registration !== null) registered.set(unit, (registered.get(unit) ?? 0) + 1);
  }
  const heard = new Map<string, number>();
  for (const { service, namespace, address, lastHeardAgoMs } of fleet.gone())
    if (address !== null) heard.set(`${service}.${namespace}`, lastHeardAgoMs);
  const founded = foundedServices(store).map((service) => {
    const unit = `${service.name}.${service.namespace}`;
    const here = registered.get(unit) ?? 0;
    const wasSeen = here > 0 || heard.has(unit) || fleet.wasServed(unit);
    // Of what was before this control plane started it knows nothing.
    const isUnused = !wasSeen && Date.parse(service.at) >= startedAtMs;
    return { ...service, sidecars: here, lastHeardAgoMs: heard.get(unit) ?? null, isUnused };
  });
  return { sidecars: sidecars.length, foundedServices: founded };
}

function outageOf({ outage }: Pick<Store, 'outage'>): { since: string; reason: string } | null {
  return outage === null ? null : { since: new Date(outage.sinceMs).toISOString(), reason: outage.reason };
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
        summary: 'Every living sidecar, and what it has in force; and those that went silent within the last 10 min',
        response: { 200: Type.Object({ items: Type.Array(schemas.Sidecar), gone: Type.Array(schemas.GoneSidecar) }) },
        tags,
      },
    },
    () => ({
      items: fleet.list(),
      gone: fleet.gone(),
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
      storeOutage: outageOf(store),
      startedAt: new Date(startedAtMs).toISOString(),
      access: { requiresToken: access.requiresToken, isInsecure },
      controlPlanes: fleet.replicas(),
      ...sidecarFacts({ store, fleet, startedAtMs }),
    }),
  );
  app.get(
    '/healthz',
    {
      schema: {
        summary: 'Answers when the control plane serves, whether its store takes writes or not',
        response: { 200: Type.Object({ ok: Type.Boolean() }) },
        tags,
      },
    },
    () => ({ ok: true }),
  );
}
