/**
 * Whether all objects of a mesh fit together: every reference has a target, no two objects claim the same thing. Asked before a
 * commit about the mesh as it would become, and of a file as a whole.
 */
import type { Problem } from './problem.ts';
import { type HTTPRoute, namespaceOf, type Resource, type Service, type TrafficPolicy } from './resources.ts';
import { qualifiedNames } from './service-names.ts';
import { finish, type Steps } from './steps.ts';

/** Groups that mean Weft's Service. */
const serviceGroups: ReadonlySet<string> = new Set(['', 'weft.mesh']);
const nameOf = (resource: Resource) => `${resource.kind} ${namespaceOf(resource)}/${resource.metadata.name}`;

/** `Service default/cart`. */
type FullName = string;

/** Every problem at once; empty when all fit. References into other namespaces are allowed: a mesh has no ReferenceGrant yet. */
export const checkReferences = (objects: Iterable<Resource>, deleted?: ReadonlySet<FullName>): Problem[] =>
  finish(referenceSteps(objects, deleted));

/**
 * The same a step at a time, of the objects as they are now. `deleted`: what was there until now, so that whoever deletes it hears what to do
 * about those that refer to it.
 */
export function* referenceSteps(
  objects: Iterable<Resource>,
  deleted: ReadonlySet<FullName> = new Set(),
): Steps<Problem[]> {
  const all = [...objects];
  const services = new Map<string, Service>();
  const owners: NameOwners = new Map();
  const routes = new Set<string>();
  for (const object of all) {
    if (object.kind === 'Service') {
      const key = `${namespaceOf(object)}/${object.metadata.name}`;
      services.set(key, object);
      addOwnNames(object, key, owners);
    }
    if (object.kind === 'HTTPRoute') routes.add(`${namespaceOf(object)}/${object.metadata.name}`);
    yield;
  }
  const problems: Problem[] = [];
  const claims = new Map<string, { readonly service: string; readonly by: HTTPRoute }>();
  const policed = new Map<string, TrafficPolicy>();
  for (const object of all) {
    if (object.kind === 'HTTPRoute') {
      checkRoute(object, services, deleted, problems);
      checkHostnames(object, owners, claims, problems);
    }
    if (object.kind === 'TrafficPolicy') checkPolicy(object, services, routes, deleted, policed, problems);
    yield;
  }
  return problems;
}

interface ServiceRef {
  readonly group?: string;
  readonly kind?: string;
  readonly namespace?: string;
  readonly name: string;
  readonly port?: number;
}

function checkRoute(
  route: HTTPRoute,
  services: ReadonlyMap<string, Service>,
  deleted: ReadonlySet<FullName>,
  problems: Problem[],
): void {
  const check = (ref: ServiceRef, path: string, defaultGroup: string, defaultKind: string) =>
    checkServiceRef(route, ref, path, defaultGroup, defaultKind, services, deleted, problems);
  for (const [i, ref] of route.spec.parentRefs.entries())
    check(ref, `spec.parentRefs[${i}]`, 'gateway.networking.k8s.io', 'Gateway');
  route.spec.rules?.forEach((rule, r) => {
    for (const [b, ref] of (rule.backendRefs ?? []).entries())
      check(ref, `spec.rules[${r}].backendRefs[${b}]`, '', 'Service');
    rule.filters?.forEach(({ requestMirror }, f) => {
      if (requestMirror !== undefined)
        check(requestMirror.backendRef, `spec.rules[${r}].filters[${f}].requestMirror.backendRef`, '', 'Service');
    });
  });
}

function checkServiceRef(
  from: Resource,
  ref: ServiceRef,
  path: string,
  defaultGroup: string,
  defaultKind: string,
  services: ReadonlyMap<string, Service>,
  deleted: ReadonlySet<FullName>,
  problems: Problem[],
): void {
  const object = nameOf(from);
  const { group = defaultGroup, kind = defaultKind } = ref;
  if (kind !== 'Service' || !serviceGroups.has(group)) {
    problems.push({
      object,
      path,
      message: `refers to a ${kind} of group "${group}"; a mesh has Services only: write kind: Service, group: weft.mesh`,
    });
    return;
  }
  const key = `${ref.namespace ?? namespaceOf(from)}/${ref.name}`;
  const service = services.get(key);
  if (service === undefined) {
    problems.push({
      object,
      path,
      message: `refers to ${missing(`Service ${key}`, object, deleted)}`,
    });
    return;
  }
  const port = service.spec.port ?? 80;
  if (ref.port !== undefined && ref.port !== port)
    problems.push({ object, path: `${path}.port`, message: `is ${ref.port}, but Service ${key} has port ${port}` });
}

function missing(target: FullName, by: FullName, deleted: ReadonlySet<FullName>): string {
  return deleted.has(target)
    ? `${target}, which is to be deleted; delete ${by} too, or change it before`
    : `${target}, which does not exist; write it in the same file or transaction, or before`;
}

/** The Services that are called by a name without any route: a short name may be one of several namespaces. `NAMESPACE/NAME` of each. */
type NameOwners = Map<string, string[]>;

function addOwnNames(service: Service, key: string, owners: NameOwners): void {
  const { name } = service.metadata;
  for (const own of [name, ...qualifiedNames(name, namespaceOf(service))]) {
    const known = owners.get(own);
    if (known === undefined) owners.set(own, [key]);
    else known.push(key);
  }
}

function checkHostnames(
  route: HTTPRoute,
  owners: NameOwners,
  claims: Map<string, { readonly service: string; readonly by: HTTPRoute }>,
  problems: Problem[],
): void {
  const object = nameOf(route);
  const parents = new Set(route.spec.parentRefs.map((ref) => `${ref.namespace ?? namespaceOf(route)}/${ref.name}`));
  route.spec.hostnames?.forEach((hostname, i) => {
    const path = `spec.hostnames[${i}]`;
    for (const key of owners.get(hostname) ?? []) {
      if (!parents.has(key))
        problems.push({
          object,
          path,
          message: `${hostname} is the name of Service ${key}, which this route is not attached to`,
        });
    }
    for (const parent of parents) {
      const claim = claims.get(hostname);
      if (claim === undefined) claims.set(hostname, { service: parent, by: route });
      else if (claim.service !== parent)
        problems.push({
          object,
          path,
          message: `${hostname} would lead to Service ${parent}, but ${nameOf(claim.by)} claims it for Service ${claim.service}`,
        });
    }
  });
}

function checkPolicy(
  policy: TrafficPolicy,
  services: ReadonlyMap<string, Service>,
  routes: ReadonlySet<string>,
  deleted: ReadonlySet<FullName>,
  policed: Map<string, TrafficPolicy>,
  problems: Problem[],
): void {
  const object = nameOf(policy);
  policy.spec.targetRefs.forEach(({ kind, name }, i) => {
    const path = `spec.targetRefs[${i}]`;
    const key = `${namespaceOf(policy)}/${name}`;
    const exists = kind === 'Service' ? services.has(key) : routes.has(key);
    if (!exists) problems.push({ object, path, message: `targets ${missing(`${kind} ${key}`, object, deleted)}` });
    for (const field of Object.keys(policy.spec.timeouts ?? {})) {
      const target = `${kind} ${key} timeouts.${field}`;
      const other = policed.get(target);
      if (other === undefined) policed.set(target, policy);
      else if (other !== policy)
        problems.push({
          object,
          path,
          message: `sets timeouts.${field} of ${kind} ${key}, which ${nameOf(other)} sets too`,
        });
    }
  });
}
