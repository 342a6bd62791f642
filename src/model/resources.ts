/**
 * The resources a user writes, as types, with their names and keys: `HTTPRoute` follows gateway.networking.k8s.io/v1; `Service` and
 * `TrafficPolicy` are weft.mesh/v1. Loads no schema: who checks what was written takes schema-problems.ts.
 */
import type { Static } from 'typebox';
import type * as schema from './resource-schemas.ts';

export type Duration = Static<typeof schema.Duration>;
export type Metadata = Static<typeof schema.Metadata>;
export type EndpointObject = Static<typeof schema.EndpointObject>;
export type HashOn = Static<typeof schema.HashOn>;
export type LoadBalancer = Static<typeof schema.LoadBalancer>;
export type ServiceLimits = Static<typeof schema.ServiceLimits>;
export type Service = Static<typeof schema.Service>;
export type ParentRef = Static<typeof schema.ParentRef>;
export type HeaderMatch = Static<typeof schema.HeaderMatch>;
export type QueryParamMatch = Static<typeof schema.QueryParamMatch>;
export type PathMatch = Static<typeof schema.PathMatch>;
export type RouteMatch = Static<typeof schema.RouteMatch>;
export type HeaderModifier = Static<typeof schema.HeaderModifier>;
export type PathModifier = Static<typeof schema.PathModifier>;
export type RequestRedirect = Static<typeof schema.RequestRedirect>;
export type UrlRewrite = Static<typeof schema.UrlRewrite>;
export type RequestMirror = Static<typeof schema.RequestMirror>;
export type RouteFilter = Static<typeof schema.RouteFilter>;
export type BackendRef = Static<typeof schema.BackendRef>;
export type RouteRule = Static<typeof schema.RouteRule>;
export type HTTPRoute = Static<typeof schema.HTTPRoute>;
export type TrafficPolicy = Static<typeof schema.TrafficPolicy>;

export type Resource = Service | HTTPRoute | TrafficPolicy;
export type Kind = Resource['kind'];

/** One row a kind: its group and version, its REST collection, and how users may name it on the command line. */
export const kinds = {
  Service: {
    apiVersion: 'weft.mesh/v1',
    collection: 'services',
    names: ['service', 'services', 'svc'],
  },
  HTTPRoute: {
    apiVersion: 'gateway.networking.k8s.io/v1',
    collection: 'httproutes',
    names: ['httproute', 'httproutes', 'route', 'routes'],
  },
  TrafficPolicy: {
    apiVersion: 'weft.mesh/v1',
    collection: 'trafficpolicies',
    names: ['trafficpolicy', 'trafficpolicies', 'policy'],
  },
} as const satisfies Record<Kind, { apiVersion: string; collection: string; names: readonly string[] }>;

export const defaultNamespace = 'default';

/** Identity of an object within the mesh: `Service/default/cart`. */
export type ObjectKey = `${Kind}/${string}/${string}`;
/** False for what the control plane stores for itself, such as the trust bundle. */
export const isObjectKey = (key: string): key is ObjectKey => Object.hasOwn(kinds, key.split('/', 1)[0]!);
export const namespaceOf = (resource: { readonly metadata: Metadata }): string =>
  resource.metadata.namespace ?? defaultNamespace;
export const keyOf = (resource: Resource): ObjectKey =>
  `${resource.kind}/${namespaceOf(resource)}/${resource.metadata.name}`;
