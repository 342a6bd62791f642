/**
 * A change of the configuration, from what somebody asked for to one committed revision: judged as the mesh it would become, compiled
 * with the sidecars' own code, and only then written. Changes are made one after the other.
 */
import { isDeepStrictEqual } from 'node:util';
import { inSlices } from '../decisions/slices.ts';
import { limits } from '../model/limits.ts';
import { formatProblem, type Problem } from '../model/problem.ts';
import { referenceSteps } from '../model/references.ts';
import { type Kind, namespaceOf, type ObjectKey, type Resource } from '../model/resources.ts';
import { namespaceNamedBy } from '../model/service-names.ts';
import type { ServiceUnit } from '../model/snapshot.ts';
import type { Revision, Store, StoreClock } from './store/store.ts';
import { reasonOf, StoreError, withRemark } from './store/store-error.ts';
import type { World } from './world.ts';

export interface ObjectName {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
}

/** What is wanted of one object. `expected` is the revision that it must be at: 0 for "must not exist", null for whatever it is. */
export type WantedObject =
  | { readonly resource: Resource; readonly expected: number | null }
  /** As it was stored once, its time of creation included: routes of equal precedence go by age. */
  | { readonly restore: Resource; readonly expected: number | null }
  | { readonly remove: ObjectName; readonly expected: number | null };

/** What is wanted, found out when its turn has come, from the mesh as it is at `revision`. */
export type WantedAt = (revision: number) => Promise<readonly WantedObject[] | Refusal>;

export interface WantedChange {
  readonly objects: readonly WantedObject[] | WantedAt;
  readonly who: string;
  /** Whether the author may change what lies in a namespace. */
  readonly mayWrite: (namespace: string) => boolean;
  readonly message: string;
  /** Recognises a change that arrives twice. */
  readonly requestId: string;
  /** Judges and compiles, and writes nothing. */
  readonly isDryRun: boolean;
}

export type Action = 'created' | 'replaced' | 'unchanged' | 'deleted';

export interface ChangeResult extends ObjectName {
  readonly action: Action;
  /** Of the object's last change; of the deletion for a deleted one. In a dry run: what it is at, 0 when it does not exist. */
  readonly revision: number;
}

export interface ForbiddenObject extends ObjectName {
  /** That the author may not write in: the object's own, that of a Service which a route belongs to, or that of a name which it claims. */
  readonly forbidden: string;
  /** The name that is claimed there; null: it is not for one. */
  readonly hostname: string | null;
}

export type ChangeOutcome =
  /** `revision` is the newest one when nothing had to be written. */
  | {
      readonly tag: 'done';
      readonly revision: number;
      readonly results: readonly ChangeResult[];
      /** Of each result: as it was written, or would be; null for a deleted one. */
      readonly resources: readonly (Resource | null)[];
      /** Of each result: as it was; null for a created one. */
      readonly replaced: readonly (Resource | null)[];
    }
  | { readonly tag: 'invalid'; readonly problems: readonly Problem[] }
  | { readonly tag: 'conflict'; readonly object: ObjectName; readonly expected: number; readonly actual: number }
  | { readonly tag: 'missing'; readonly object: ObjectName }
  /** The author may not change these, or what they are attached to. */
  | { readonly tag: 'forbidden'; readonly objects: readonly ForbiddenObject[] }
  /** What the change goes back to is no longer kept; `oldest` is the first revision that can be returned to. */
  | { readonly tag: 'gone'; readonly revision: number; readonly oldest: number }
  /** The request id was used before, for a change that asked for something else. */
  | { readonly tag: 'reused-id'; readonly revision: number }
  /** Nothing is wrong with the change; it may be sent again. */
  | { readonly tag: 'unavailable'; readonly reason: string };

export type Refusal = Exclude<ChangeOutcome, { tag: 'done' }>;

export interface ChangesOptions {
  readonly store: Store;
  readonly world: World;
  readonly clock: StoreClock;
  /** Rejects with an Error that says why a unit cannot be compiled, or with an `AbortError` when there is no verdict. */
  readonly compile: (units: readonly ServiceUnit[]) => Promise<unknown>;
}

/** Somebody else (a first registration, another replica) may write in between: judged anew so often, then it is a conflict. */
const triesMax = 5;

interface Planned {
  readonly key: ObjectKey;
  readonly object: ObjectName;
  readonly action: Action;
  readonly before: Resource | null;
  readonly resource: Resource | null;
  /** `resource` as the store keeps it. */
  readonly value: string | null;
  /** What the object is at before the change. */
  readonly revision: number;
}

export class Changes {
  readonly #options: ChangesOptions;
  #last: Promise<unknown> = Promise.resolve();
  #turns = 0;
  /** The last time that the store was away: the newest change that waited then, and what it is told. */
  #away: { readonly turn: number; readonly error: StoreError } | null = null;
  #pending = 0;

  constructor(options: ChangesOptions) {
    this.#options = options;
  }

  /** Rejects only with what the store rejects with. */
  make(wanted: WantedChange): Promise<ChangeOutcome> {
    if (this.#pending >= limits.changesPendingMax)
      return Promise.resolve({ tag: 'unavailable', reason: `${this.#pending} changes wait already` });
    this.#pending++;
    // What is expected of objects, and whether the request came before, is judged by what all control planes have written so far.
    return this.#options.store
      .sync()
      .catch((error: unknown) => {
        throw withRemark(error, 'Nothing was written.');
      })
      .then(() => this.#makeInTurn(wanted))
      .finally(() => this.#pending--);
  }

  #makeInTurn(wanted: WantedChange): Promise<ChangeOutcome> {
    const turn = ++this.#turns;
    const made = this.#last.then(() => {
      // Who waited while the store went away need not find that out one after the other.
      if (this.#away !== null && turn <= this.#away.turn) throw this.#away.error;
      return this.#make(wanted);
    });
    this.#last = made.catch((error: unknown) => {
      if (error instanceof StoreError && error.code === 'store-unavailable' && this.#away?.error !== error)
        this.#away = { turn: this.#turns, error };
    });
    return made;
  }

  async #make(wanted: WantedChange): Promise<ChangeOutcome> {
    const { world, store, clock } = this.#options;
    if (typeof wanted.objects !== 'function') {
      const forbidden = this.#forbiddenIn(wanted.objects, wanted.mayWrite);
      if (forbidden.length > 0) return { tag: 'forbidden', objects: forbidden };
    }
    for (let tries = 1; tries <= triesMax; tries++) {
      const judgedAt = world.revision;
      // Each time anew: what has come meanwhile may be this very request, sent to another control plane as well.
      const before = wanted.isDryRun ? null : await this.#madeBefore(wanted);
      if (before !== null) return before;
      const objects = await objectsAt(wanted, judgedAt);
      if ('tag' in objects) return objects;
      if (world.revision !== judgedAt) continue;
      const forbidden = this.#forbiddenIn(objects, wanted.mayWrite);
      if (forbidden.length > 0) return { tag: 'forbidden', objects: forbidden };
      const planned = this.#plan(objects);
      if ('tag' in planned) return planned;
      const changes = planned.filter(({ action }) => action !== 'unchanged');
      const refusal = await this.#judge(changes);
      if (refusal !== null) return refusal;
      if (wanted.isDryRun) return done(planned, world.revision, ({ revision }) => revision);
      // What was judged is not what is there any more: a reference may have lost its target, a name may have found an owner.
      if (world.revision !== judgedAt) continue;
      if (changes.length === 0) return done(planned, world.revision, ({ revision }) => revision);

      const result = await store.commit({
        expect: new Map(planned.map(({ key, revision }) => [key, revision])),
        basis: judgedAt,
        changes: new Map(changes.map(({ key, value }) => [key, value])),
        who: wanted.who,
        message: wanted.message,
        requestId: wanted.requestId,
        atMs: clock.nowMs(),
      });
      if (result.tag === 'committed')
        return done(planned, result.revision, ({ action, revision }) =>
          action === 'unchanged' ? revision : result.revision,
        );
    }
    return { tag: 'unavailable', reason: `others have written ${triesMax} times while this change was judged` };
  }

  /**
   * A route changes the Services that it is attached to, or was, wherever they are, and takes names that others could want for their own
   * Services. What a route sends requests to is only called.
   */
  #forbiddenIn(objects: readonly WantedObject[], mayWrite: WantedChange['mayWrite']): readonly ForbiddenObject[] {
    return objects.flatMap((wanted): readonly ForbiddenObject[] => {
      const object = objectOf(wanted);
      const before = this.#options.world.get(keyOfName(object));
      const after = 'remove' in wanted ? null : 'restore' in wanted ? wanted.restore : wanted.resource;
      const touched = new Set([object.namespace, ...parentNamespacesOf(before), ...parentNamespacesOf(after)]);
      const forbidden = [...touched].find((namespace) => !mayWrite(namespace));
      if (forbidden !== undefined) return [{ ...object, forbidden, hostname: null }];
      for (const hostname of [...hostnamesOf(before), ...hostnamesOf(after)]) {
        const namespace = namespaceNamedBy(hostname, this.#isNamespace);
        if (namespace !== null && !mayWrite(namespace)) return [{ ...object, forbidden: namespace, hostname }];
      }
      return [];
    });
  }

  readonly #isNamespace = (name: string): boolean =>
    Array.from(this.#options.world.all()).some((resource) => namespaceOf(resource) === name);

  /**
   * The answer to a change that arrives again: what the first one did, though the objects may have changed since, and though what it
   * expected of them no longer holds. Null when the request id is new.
   */
  async #madeBefore(wantedAgain: WantedChange): Promise<ChangeOutcome | null> {
    const { store } = this.#options;
    const made = store.madeBy(wantedAgain.requestId);
    if (made === null) return null;
    const { revision } = made;
    const found = await objectsAt(wantedAgain, revision - 1);
    // What it went back to may be forgotten by now; what it did is not.
    const objects = 'tag' in found && found.tag === 'gone' ? doneBy(made) : found;
    if ('tag' in objects) return objects;
    const changes = new Map(made.changes.map((change) => [change.key, change]));
    const planned: Planned[] = [];
    for (const wanted of objects) {
      const object = objectOf(wanted);
      const key = keyOfName(object);
      const change = changes.get(key);
      const value = change === undefined ? this.#valueAt(key, revision) : change.after;
      const resource = parsed(value);
      const isSame =
        'remove' in wanted
          ? change?.after === null
          : resource !== null && isDeepStrictEqual(storedForm(wanted, resource, 0), resource);
      if (!isSame) return { tag: 'reused-id', revision };
      const before = change === undefined ? resource : parsed(change.before);
      planned.push({ key, object, action: actionOf(change), before, resource, value, revision });
      changes.delete(key);
    }
    return changes.size > 0
      ? { tag: 'reused-id', revision }
      : done(planned, revision, ({ action, key }) =>
          action === 'unchanged' ? Math.min(revision, this.#options.world.revisionOf(key)) : revision,
        );
  }

  /** An object right after a revision that is still kept. */
  #valueAt(key: ObjectKey, revision: number): string | null {
    const { store } = this.#options;
    for (const { changes } of store.revisionsAfter(revision) ?? []) {
      const change = changes.find((candidate) => candidate.key === key);
      if (change !== undefined) return change.before;
    }
    return store.get(key)?.value ?? null;
  }

  /** What becomes of each object, if what was expected of it holds. */
  #plan(objects: readonly WantedObject[]): readonly Planned[] | Refusal {
    const { world, clock } = this.#options;
    const planned: Planned[] = [];
    const problems: Problem[] = [];
    const seen = new Set<ObjectKey>();
    for (const wanted of objects) {
      const object = objectOf(wanted);
      const key = keyOfName(object);
      if (seen.has(key)) problems.push({ object: describe(object), path: '', message: 'is in this transaction twice' });
      seen.add(key);
      const revision = world.revisionOf(key);
      if (wanted.expected !== null && wanted.expected !== revision)
        return { tag: 'conflict', object, expected: wanted.expected, actual: revision };
      const before = world.get(key);
      if ('remove' in wanted) {
        if (before === null) return { tag: 'missing', object };
        planned.push({ key, object, action: 'deleted', before, resource: null, value: null, revision });
        continue;
      }
      const resource = storedForm(wanted, before, clock.nowMs());
      const value = JSON.stringify(resource);
      if (Buffer.byteLength(value) > limits.objectBytesMax)
        problems.push({ object: describe(object), path: '', message: `is larger than ${limits.objectBytesMax} bytes` });
      const action = before === null ? 'created' : isDeepStrictEqual(before, resource) ? 'unchanged' : 'replaced';
      planned.push({ key, object, action, before, resource, value, revision });
    }
    return problems.length > 0 ? { tag: 'invalid', problems } : planned;
  }

  /** Problems that the change would bring; what was wrong before does not hold it up. */
  async #judge(changes: readonly Planned[]): Promise<Refusal | null> {
    if (changes.length === 0) return null;
    const { world, compile } = this.#options;
    const resources = world.after(new Map(changes.map(({ key, resource }) => [key, resource])));
    const deleted = changes.filter(({ action }) => action === 'deleted').map(({ object }) => describe(object));
    const problems = await inSlices(referenceSteps(resources.values(), new Set(deleted)));
    if (problems.length > 0) {
      const before = new Set((await inSlices(referenceSteps(world.all()))).map(formatProblem));
      const fresh = problems.filter((problem) => !before.has(formatProblem(problem)));
      if (fresh.length > 0) return { tag: 'invalid', problems: fresh };
    }
    const units = await inSlices(world.unitsChangedBy(resources));
    try {
      await compile(units);
      return null;
    } catch (error) {
      const reason = reasonOf(error);
      if (error instanceof Error && error.name === 'AbortError')
        return { tag: 'unavailable', reason: `the worker that compiles gave no verdict (${reason})` };
      return { tag: 'invalid', problems: [{ path: '', message: `${namesOf(units)} cannot be compiled: ${reason}` }] };
    }
  }
}

const shownUnitsMax = 3;

function namesOf(units: readonly ServiceUnit[]): string {
  const names = units.slice(0, shownUnitsMax).map(({ service, namespace }) => `${namespace}/${service}`);
  const more = units.length - names.length;
  return `Service ${names.join(', ')}${more > 0 ? ` or one of ${more} more` : ''}`;
}

function done(
  planned: readonly Planned[],
  revision: number,
  revisionOf: (planned: Planned) => number,
): Extract<ChangeOutcome, { tag: 'done' }> {
  const results = planned.map(
    (one): ChangeResult => ({ ...one.object, action: one.action, revision: revisionOf(one) }),
  );
  const resources = planned.map(({ resource }) => resource);
  return { tag: 'done', revision, results, resources, replaced: planned.map(({ before }) => before) };
}

function actionOf(change: Revision['changes'][number] | undefined): Action {
  if (change === undefined) return 'unchanged';
  return change.after === null ? 'deleted' : change.before === null ? 'created' : 'replaced';
}

const parentNamespacesOf = (resource: Resource | null): readonly string[] =>
  resource?.kind === 'HTTPRoute'
    ? resource.spec.parentRefs.map(({ namespace }) => namespace ?? namespaceOf(resource))
    : [];

const hostnamesOf = (resource: Resource | null): readonly string[] =>
  resource?.kind === 'HTTPRoute' ? (resource.spec.hostnames ?? []) : [];

/** `Service default/cart`. */
export const describe = ({ kind, namespace, name }: ObjectName): string => `${kind} ${namespace}/${name}`;

const objectsAt = async ({ objects }: WantedChange, revision: number): Promise<readonly WantedObject[] | Refusal> =>
  typeof objects === 'function' ? objects(revision) : objects;

function doneBy({ changes }: Revision): readonly WantedObject[] {
  return changes.map(({ key, after }): WantedObject => {
    const [kind, namespace, name] = key.split('/') as [Kind, string, string];
    const resource = parsed(after);
    return resource === null
      ? { remove: { kind, namespace, name }, expected: null }
      : { restore: resource, expected: null };
  });
}

function objectOf(wanted: WantedObject): ObjectName {
  if ('remove' in wanted) return wanted.remove;
  return nameOf('restore' in wanted ? wanted.restore : wanted.resource);
}

const parsed = (value: string | null): Resource | null => (value === null ? null : (JSON.parse(value) as Resource));

const keyOfName = ({ kind, namespace, name }: ObjectName): ObjectKey => `${kind}/${namespace}/${name}`;

export const nameOf = (resource: Resource): ObjectName => ({
  kind: resource.kind,
  namespace: namespaceOf(resource),
  name: resource.metadata.name,
});

type Kept = Exclude<WantedObject, { readonly remove: ObjectName }>;

const storedForm = (wanted: Kept, before: Resource | null, nowMs: number): Resource =>
  'restore' in wanted ? wanted.restore : asStored(wanted.resource, before, nowMs);

/** The namespace is written out, the revision is the store's to know, and the time of creation stays what it was. */
function asStored(resource: Resource, before: Resource | null, nowMs: number): Resource {
  const { resourceVersion: _, creationTimestamp: __, ...metadata } = resource.metadata;
  const creationTimestamp = before?.metadata.creationTimestamp ?? new Date(nowMs).toISOString();
  return { ...resource, metadata: { ...metadata, namespace: namespaceOf(resource), creationTimestamp } } as Resource;
}

/** As the API shows it: with the revision of its last change. */
export function asShown(resource: Resource, revision: number): Resource {
  return { ...resource, metadata: { ...resource.metadata, resourceVersion: String(revision) } } as Resource;
}
