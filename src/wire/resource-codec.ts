/**
 * One changed object on the wire: a resource, an endpoint set or the trust bundle under its key and version. The messages have the
 * fields of the YAML, so a resource is handed over almost as it is; what differs is here and nowhere else: kind and apiVersion are
 * said by the field that carries the message, an endpoint is always a message (`a:80` and `{ address: a:80 }` are the same endpoint),
 * its link always a list, and a number of bytes a number (`1KiB` is 1024).
 */

import { inBytes } from '../model/byte-size.ts';
import type { TrustBundle } from '../model/identity.ts';
import type { EndpointSet, Registration } from '../model/registration.ts';
import { type HTTPRoute, type Kind, kinds, type Service, type TrafficPolicy } from '../model/resources.ts';
import type { ConfigKey, ConfigObject } from '../model/snapshot.ts';
import { finish, type Steps } from '../model/steps.ts';
import { weft } from './generated/push.js';
import { decodeMessage, WireError } from './wire-error.ts';

const { Change } = weft.v1;

export interface ObjectChange {
  readonly key: ConfigKey;
  /** Opaque; equal versions are equal content. Empty when the object is gone. */
  readonly version: string;
  /** Null: the object is gone. */
  readonly object: ConfigObject | null;
}

/** Encodes one change. The bytes are the same in every ChangeSet that carries it, so callers may keep them. */
export function encodeChange(change: ObjectChange): Uint8Array {
  return Change.encode({ key: change.key, version: change.version, ...contentOf(change.object) }).finish();
}

/**
 * The inverse of `encodeChange`. Resources come from a control plane that has validated them and are not validated again.
 * @throws WireError when the bytes are no Change, or one of a kind that this version does not know.
 */
export const decodeChange = (bytes: Uint8Array): ObjectChange => finish(decodeChangeSteps(bytes));

/** The same in a few steps: a Service of 5,000 endpoints takes some milliseconds. */
export function* decodeChangeSteps(bytes: Uint8Array): Steps<ObjectChange> {
  const message = decodeMessage(() => Change.decode(bytes));
  const { key, version } = message;
  yield;
  if (message.removed === true) return { key, version: '', object: null };
  if (message.endpointSet) return { key, version, object: endpointSetFrom(message.endpointSet) };
  if (message.trustBundle) return { key, version, object: trustBundleFrom(message.trustBundle) };
  const plain: PlainChange = Change.toObject(message, { longs: Number });
  yield;
  if (plain.service) return { key, version, object: serviceFrom(plain.service) };
  if (plain.httpRoute) return { key, version, object: { ...header('HTTPRoute'), ...plain.httpRoute } };
  if (plain.trafficPolicy) return { key, version, object: { ...header('TrafficPolicy'), ...plain.trafficPolicy } };
  throw new WireError(`the change of ${key} is of a kind that this version does not know`);
}

export function registrationFrom(message: weft.v1.Registration.$Properties): Registration {
  return {
    address: message.address ?? '',
    zone: message.zone ?? '',
    labels: { ...message.labels },
    weight: message.weight ?? 0,
    link: message.link ?? [],
  };
}

export function registrationMessage(registration: Registration): weft.v1.Registration.$Properties {
  return { ...registration, labels: { ...registration.labels }, link: [...registration.link] };
}

/** What `toObject` makes of a Change: plain objects that hold the fields that were set, under the names of the YAML. */
interface PlainChange {
  readonly service?: Pick<Service, 'metadata' | 'spec'>;
  readonly httpRoute?: Pick<HTTPRoute, 'metadata' | 'spec'>;
  readonly trafficPolicy?: Pick<TrafficPolicy, 'metadata' | 'spec'>;
}

function contentOf(object: ConfigObject | null): weft.v1.Change.$Properties {
  if (object === null) return { removed: true };
  switch (object.kind) {
    case 'Service':
      return { service: { metadata: object.metadata, spec: serviceMessage(object) } };
    case 'HTTPRoute':
      return { httpRoute: { metadata: object.metadata, spec: object.spec } };
    case 'TrafficPolicy':
      return { trafficPolicy: { metadata: object.metadata, spec: object.spec } };
    case 'EndpointSet':
      return { endpointSet: { ...object, endpoints: object.endpoints.map(registrationMessage) } };
    case 'TrustBundle':
      return { trustBundle: { ...object, roots: [...object.roots] } };
    default:
      return object satisfies never;
  }
}

function serviceMessage(service: Service): weft.v1.ServiceSpec.$Properties {
  const { limits, ...spec } = service.spec;
  const message = { ...spec, endpoints: endpointMessages(service) };
  return limits === undefined ? message : { ...message, limits: inBytes(limits) };
}

function endpointMessages(service: Service): weft.v1.Endpoint.$Properties[] {
  return (service.spec.endpoints ?? []).map((endpoint) => {
    if (typeof endpoint === 'string') return { address: endpoint };
    const { link = [], ...rest } = endpoint;
    return { ...rest, link: typeof link === 'string' ? [link] : link };
  });
}

function serviceFrom({ metadata, spec }: Pick<Service, 'metadata' | 'spec'>): Service {
  if (spec.endpoints === undefined) return { ...header('Service'), metadata, spec };
  const endpoints = spec.endpoints.map((endpoint) =>
    typeof endpoint === 'object' && Object.keys(endpoint).length === 1 ? endpoint.address : endpoint,
  );
  return { ...header('Service'), metadata, spec: { ...spec, endpoints } };
}

function endpointSetFrom(message: weft.v1.EndpointSet.$Properties): EndpointSet {
  return {
    kind: 'EndpointSet',
    namespace: message.namespace ?? '',
    service: message.service ?? '',
    endpoints: (message.endpoints ?? []).map(registrationFrom),
  };
}

function trustBundleFrom(message: weft.v1.TrustBundle.$Properties): TrustBundle {
  return {
    kind: 'TrustBundle',
    trustDomain: message.trustDomain ?? '',
    roots: (message.roots ?? []).map(({ sha256, pem, addedAt, retiresAt }) => ({
      sha256: sha256 ?? '',
      pem: pem ?? '',
      addedAt: addedAt ?? '',
      retiresAt: retiresAt ?? null,
    })),
    requiresJoinToken: message.requiresJoinToken ?? false,
  };
}

function header<K extends Kind>(kind: K): { apiVersion: (typeof kinds)[K]['apiVersion']; kind: K } {
  return { apiVersion: kinds[kind].apiVersion, kind };
}
