/**
 * A change of the configuration, from what somebody asked for to one committed revision: judged as the mesh it would become, compiled
 * with the sidecars' own code, and only then written. Changes are made one after the other.
 */
import { isDeepStrictEqual } from 'node:util';
import { formatProblem, type Problem } from '../model/problem.ts';
import { checkReferences } from '../model/references.ts';
import { type Kind, keyOf, namespaceOf, type ObjectKey, type Resource } from '../model/resources.ts';
import type { ServiceUnit } from '../model/snapshot.ts';
import type { Store, StoreClock } from './store/store.ts';
import type { World } from './world.ts';

export interface ObjectName {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
}

/** What is wanted of one object. `expected` is the revision that it must be at: 0 for "must not exist", null for whatever it is. */
export type WantedObject =
  | { readonly resource: Resource; readonly expected: number | null }
  | { readonly remove: ObjectName; readonly expected: number | null };

export interface WantedChange {
  readonly objects: readonly WantedObject[];
  readonly who: string;
  readonly message: string;
  /** Recognises a change that arrives twice. */
  readonly requestId: string;
  /** Judges and compiles, and writes nothing. */
  readonly isDryRun: boolean;
}

export type Action = 'created' | 'replaced' | 'unchanged' | 'deleted';

export interface ChangeResult extends ObjectName {
  readonly action: Action;
  /** Of the object's last change; of the deletion for a deleted one. */
  readonly revision: number;
}

export type ChangeOutcome =
  /** `revision` is the newest one when nothing had to be written. */
  | { readonly tag: 'done'; readonly revision: number; readonly results: readonly ChangeResult[] }
  | { readonly tag: 'invalid'; readonly problems: readonly Problem[] }
  | { readonly tag: 'conflict'; readonly object: ObjectName; readonly expected: number; readonly actual: number }
  | { readonly tag: 'missing'; readonly object: ObjectName };

export interface ChangesOptions {
  readonly store: Store;
  readonly world: World;
  readonly clock: StoreClock;
  /** Rejects with an Error that says which unit cannot be compiled and why. */
  readonly compile: (units: readonly ServiceUnit[]) => Promise<unknown>;
}

/** Somebody else (a first registration, another replica) may write in between: judged anew so often, then it is a conflict. */
const triesMax = 5;

interface Planned {
  readonly key: ObjectKey;
  readonly object: ObjectName;
  readonly action: Action;
  readonly resource: Resource | null;
  readonly revision: number;
}

export class Changes {
  readonly #options: ChangesOptions;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: ChangesOptions) {
    this.#options = options;
  }

  /** Rejects only with what the store rejects with. */
  make(wanted: WantedChange): Promise<ChangeOutcome> {
    const made = this.#last.then(() => this.#make(wanted));
    this.#last = made.catch(() => {});
    return made;
  }

  async #make(wanted: WantedChange): Promise<ChangeOutcome> {
    for (let tries = 1; ; tries++) {
      const planned = this.#plan(wanted.objects);
      if ('tag' in planned) return planned;
      const changes = planned.filter(({ action }) => action !== 'unchanged');
      const problems = await this.#judge(changes);
      if (problems.length > 0) return { tag: 'invalid', problems };
      if (wanted.isDryRun || changes.length === 0) return this.#done(planned, this.#options.world.revision);

      const result = await this.#options.store.commit({
        // What was judged is what is written: every object must still be what it was.
        expect: new Map(changes.map(({ key, revision }) => [key, revision])),
        changes: new Map(
          changes.map(({ key, resource }) => [key, resource === null ? null : JSON.stringify(resource)]),
        ),
        who: wanted.who,
        message: wanted.message,
        requestId: wanted.requestId,
        atMs: this.#options.clock.nowMs(),
      });
      if (result.tag === 'committed') return this.#done(planned, result.revision);
      if (tries === triesMax) {
        const { object } = changes.find(({ key }) => key === result.key)!;
        return { tag: 'conflict', object, expected: result.expected, actual: result.actual };
      }
    }
  }

  /** What becomes of each object, if what was expected of it holds. */
  #plan(objects: readonly WantedObject[]): readonly Planned[] | Exclude<ChangeOutcome, { tag: 'done' }> {
    const { world, clock } = this.#options;
    const planned: Planned[] = [];
    const seen = new Set<ObjectKey>();
    for (const wanted of objects) {
      const object = 'remove' in wanted ? wanted.remove : nameOf(wanted.resource);
      const key: ObjectKey = `${object.kind}/${object.namespace}/${object.name}`;
      if (seen.has(key))
        return {
          tag: 'invalid',
          problems: [{ object: describe(object), path: '', message: 'is in this transaction twice' }],
        };
      seen.add(key);
      const revision = world.revisionOf(key);
      if (wanted.expected !== null && wanted.expected !== revision)
        return { tag: 'conflict', object, expected: wanted.expected, actual: revision };
      const before = world.get(key);
      if ('remove' in wanted) {
        if (before === null) return { tag: 'missing', object };
        planned.push({ key, object, action: 'deleted', resource: null, revision });
        continue;
      }
      const resource = asStored(wanted.resource, before, clock.nowMs());
      const action = before === null ? 'created' : isDeepStrictEqual(before, resource) ? 'unchanged' : 'replaced';
      planned.push({ key, object, action, resource, revision });
    }
    return planned;
  }

  /** Problems that the change would bring; what was wrong before does not hold it up. */
  async #judge(changes: readonly Planned[]): Promise<readonly Problem[]> {
    if (changes.length === 0) return [];
    const { world, compile } = this.#options;
    const resources = world.after(new Map(changes.map(({ key, resource }) => [key, resource])));
    const problems = checkReferences(resources.values());
    if (problems.length > 0) {
      const before = new Set(checkReferences(world.all()).map(formatProblem));
      const fresh = problems.filter((problem) => !before.has(formatProblem(problem)));
      if (fresh.length > 0) return fresh;
    }
    try {
      await compile(world.unitsChangedBy(resources));
      return [];
    } catch (error) {
      return [{ path: '', message: `cannot be compiled: ${error instanceof Error ? error.message : error}` }];
    }
  }

  #done(planned: readonly Planned[], revision: number): ChangeOutcome {
    const results = planned.map(
      ({ object, action, revision: before }): ChangeResult => ({
        ...object,
        action,
        revision: action === 'unchanged' ? before : revision,
      }),
    );
    return { tag: 'done', revision, results };
  }
}

/** `Service default/cart`. */
export const describe = ({ kind, namespace, name }: ObjectName): string => `${kind} ${namespace}/${name}`;

export const nameOf = (resource: Resource): ObjectName => ({
  kind: resource.kind,
  namespace: namespaceOf(resource),
  name: resource.metadata.name,
});

/** The namespace is written out, the revision is the store's to know, and the time of creation stays what it was. */
function asStored(resource: Resource, before: Resource | null, nowMs: number): Resource {
  const { resourceVersion: _, creationTimestamp: __, ...metadata } = resource.metadata;
  const creationTimestamp = before?.metadata.creationTimestamp ?? new Date(nowMs).toISOString();
  return { ...resource, metadata: { ...metadata, namespace: namespaceOf(resource), creationTimestamp } } as Resource;
}

/** As the API shows it. */
export function asShown(resource: Resource, world: World): Resource {
  return {
    ...resource,
    metadata: { ...resource.metadata, resourceVersion: String(world.revisionOf(keyOf(resource))) },
  } as Resource;
}
