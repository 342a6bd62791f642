/** What hangs together in a mesh, seen from one object: names, routes, policies, endpoints, and the sidecars that have a use for it. */
import type { SidecarStatus } from '../control/fleet.ts';
import { writtenEndpoint } from '../model/build-snapshot.ts';
import {
  type HTTPRoute,
  type Kind,
  keyOf,
  namespaceOf,
  type Resource,
  type Service,
  type TrafficPolicy,
} from '../model/resources.ts';
import { qualifiedNames } from '../model/service-names.ts';

export interface Mesh {
  readonly services: readonly Service[];
  readonly routes: readonly HTTPRoute[];
  readonly policies: readonly TrafficPolicy[];
  readonly sidecars: readonly SidecarStatus[];
}

export interface EndpointFacts {
  readonly address: string;
  /** In the resource, by a sidecar, or by both: then it counts once. */
  readonly origin: 'written' | 'registered' | 'both';
  readonly weight: number;
  readonly zone: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly link: readonly string[];
  /** Null: no sidecar has registered it. */
  readonly sidecar: string | null;
  readonly state: SidecarStatus['state'] | null;
}

export interface SidecarUse {
  readonly sidecar: string;
  readonly service: string;
  readonly namespace: string;
  /** It stands beside the Service's own app, or it calls the Service. */
  readonly uses: 'serves it' | 'calls it';
  readonly state: SidecarStatus['state'];
  readonly revision: number;
  readonly reason: string | null;
}

/** Absent: it says nothing of this kind. */
export interface Relations {
  readonly hosts?: readonly string[];
  readonly routes?: readonly string[];
  readonly policies: readonly string[];
  readonly endpoints?: readonly EndpointFacts[];
  readonly sidecars: readonly SidecarUse[];
}

/** `NAMESPACE/NAME`. */
type ServiceKey = string;

export function relationsOf(object: Resource, mesh: Mesh): Relations {
  switch (object.kind) {
    case 'Service': {
      const key = serviceKeyOf(object);
      const attached = mesh.routes.filter((route) => parentsOf(route).includes(key));
      const sending = mesh.routes.filter((route) => backendsOf(route).includes(key) && !attached.includes(route));
      return {
        hosts: hostsOf(object, attached),
        routes: [...attached.map(keyOf), ...sending.map((route) => `${keyOf(route)} (sends requests here)`)],
        policies: policiesOn([object, ...attached], mesh),
        endpoints: endpointsOf(object, mesh.sidecars),
        sidecars: usersOf([key], mesh),
      };
    }
    case 'HTTPRoute':
      return { policies: policiesOn([object], mesh), sidecars: callersOf(parentsOf(object), mesh) };
    case 'TrafficPolicy':
      return { policies: [], sidecars: usersOfPolicy(object, mesh) };
    default:
      return object satisfies never;
  }
}

/** A Service's own sidecars keep to a policy too; a route applies at its callers only. */
function usersOfPolicy(policy: TrafficPolicy, mesh: Mesh): readonly SidecarUse[] {
  const keyed = policy.spec.targetRefs.map(({ kind, name }) => ({ kind, key: `${namespaceOf(policy)}/${name}` }));
  const services = keyed.filter(({ kind }) => kind === 'Service').map(({ key }) => key);
  const routes = mesh.routes.filter((route) =>
    keyed.some(({ kind, key }) => kind === 'HTTPRoute' && key === serviceKeyOf(route)),
  );
  const users = [...usersOf(services, mesh), ...callersOf(routes.flatMap(parentsOf), mesh)];
  return users.filter((user, i) => users.findIndex(({ sidecar }) => sidecar === user.sidecar) === i);
}

function usersOf(services: readonly ServiceKey[], mesh: Mesh): readonly SidecarUse[] {
  const serving = mesh.sidecars
    .filter(({ service, namespace }) => services.includes(`${namespace}/${service}`))
    .map((sidecar) => useOf(sidecar, 'serves it'));
  const calling = callersOf(services, mesh).filter(
    ({ sidecar }) => !serving.some((server) => server.sidecar === sidecar),
  );
  return [...serving, ...calling];
}

/** Those that call one of the Services, or another whose routes send requests there. */
function callersOf(services: readonly ServiceKey[], mesh: Mesh): readonly SidecarUse[] {
  const called = new Set(services);
  for (const route of mesh.routes)
    if (backendsOf(route).some((key) => services.includes(key)))
      for (const parent of parentsOf(route)) called.add(parent);
  const targets = mesh.services.filter((service) => called.has(serviceKeyOf(service)));
  const hosts = targets.map((service) => ({
    namespace: namespaceOf(service),
    names: hostsOf(
      service,
      mesh.routes.filter((route) => parentsOf(route).includes(serviceKeyOf(service))),
    ),
    shortName: service.metadata.name,
  }));
  const calls = ({ subscriptions, namespace }: SidecarStatus): boolean =>
    subscriptions.some((host) =>
      hosts.some((each) => (host === each.shortName ? namespace === each.namespace : each.names.some(leadsTo(host)))),
    );
  return mesh.sidecars.filter(calls).map((sidecar) => useOf(sidecar, 'calls it'));
}

const leadsTo =
  (host: string) =>
  (name: string): boolean =>
    name === host || (name.startsWith('*.') && host.endsWith(name.slice(1)));

const useOf = (
  { sidecar, service, namespace, state, revision, reason }: SidecarStatus,
  uses: SidecarUse['uses'],
): SidecarUse => ({ sidecar, service, namespace, uses, state, revision, reason });

/** The short name first, which is for its own namespace. */
const hostsOf = (service: Service, attached: readonly HTTPRoute[]): readonly string[] => [
  service.metadata.name,
  ...qualifiedNames(service.metadata.name, namespaceOf(service)),
  ...new Set(attached.flatMap(({ spec }) => spec.hostnames ?? [])),
];

function policiesOn(objects: readonly Resource[], { policies }: Mesh): readonly string[] {
  const isTarget = (policy: TrafficPolicy, kind: Kind, name: string): boolean =>
    objects.some(
      (object) => object.kind === kind && object.metadata.name === name && namespaceOf(object) === namespaceOf(policy),
    );
  return policies
    .filter((policy) => policy.spec.targetRefs.some(({ kind, name }) => isTarget(policy, kind, name)))
    .map(keyOf);
}

function endpointsOf(service: Service, sidecars: readonly SidecarStatus[]): readonly EndpointFacts[] {
  const facts = new Map<string, EndpointFacts>();
  for (const written of service.spec.endpoints ?? []) {
    const { address, weight, zone, labels, link } = writtenEndpoint(written);
    facts.set(address, { address, origin: 'written', weight, zone, labels, link, sidecar: null, state: null });
  }
  for (const { service: name, namespace, registration, sidecar, state } of sidecars) {
    if (registration === null || name !== service.metadata.name || namespace !== namespaceOf(service)) continue;
    const written = facts.get(registration.address);
    // As the sidecars join them, see model/build-snapshot.ts.
    facts.set(registration.address, {
      address: registration.address,
      origin: written === undefined ? 'registered' : 'both',
      weight: written?.weight ?? registration.weight,
      zone: registration.zone === '' ? (written?.zone ?? '') : registration.zone,
      labels: { ...written?.labels, ...registration.labels },
      link: [...new Set([...(written?.link ?? []), ...registration.link])],
      sidecar,
      state,
    });
  }
  return [...facts.values()];
}

interface Ref {
  readonly namespace?: string;
  readonly name: string;
}

const keyOfRef = (route: HTTPRoute, { namespace, name }: Ref): ServiceKey =>
  `${namespace ?? namespaceOf(route)}/${name}`;

const parentsOf = (route: HTTPRoute): readonly ServiceKey[] => route.spec.parentRefs.map((ref) => keyOfRef(route, ref));

const backendsOf = (route: HTTPRoute): readonly ServiceKey[] =>
  (route.spec.rules ?? []).flatMap(({ backendRefs = [], filters = [] }) => [
    ...backendRefs.map((ref) => keyOfRef(route, ref)),
    ...filters.flatMap(({ requestMirror }) =>
      requestMirror === undefined ? [] : [keyOfRef(route, requestMirror.backendRef)],
    ),
  ]);

const serviceKeyOf = (resource: Resource): ServiceKey => `${namespaceOf(resource)}/${resource.metadata.name}`;
