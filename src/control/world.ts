/**
 * All resources of the mesh in memory, as the store has them: what the API reads, and what a change is judged against. What the store
 * holds beside them (the trust bundle) is not seen here.
 */
import { snapshotSteps } from '../model/build-snapshot.ts';
import { defaultNamespace, isObjectKey, type Kind, type ObjectKey, type Resource } from '../model/resources.ts';
import type { ServiceUnit, Snapshot } from '../model/snapshot.ts';
import type { Steps } from '../model/steps.ts';
import type { Store, StoredObject } from './store/store.ts';

export class World {
  readonly #store: Store;
  readonly #resources = new Map<string, Resource>();
  readonly #unsubscribe: () => void;
  /** Units of the resources as they are, so that only those of a change are compiled. Built when first needed. */
  #snapshot: Snapshot | null = null;

  constructor(store: Store) {
    this.#store = store;
    for (const object of store.list()) if (isObjectKey(object.key)) this.#resources.set(object.key, parse(object));
    this.#unsubscribe = store.subscribe((event) => {
      if (event.tag !== 'revision') return;
      for (const { key, after } of event.revision.changes) {
        if (!isObjectKey(key)) continue;
        if (after === null) this.#resources.delete(key);
        else this.#resources.set(key, JSON.parse(after) as Resource);
      }
    });
  }

  get revision(): number {
    return this.#store.revision;
  }

  /** As stored: without `resourceVersion`. */
  get(key: ObjectKey): Resource | null {
    return this.#resources.get(key) ?? null;
  }

  /** Revision of an object's last change; 0 when it does not exist. */
  revisionOf(key: ObjectKey): number {
    return this.#store.get(key)?.revision ?? 0;
  }

  /** By namespace, then name. */
  list(kind: Kind, namespace: string | null): readonly Resource[] {
    const prefix = namespace === null ? `${kind}/` : `${kind}/${namespace}/`;
    const keys = [...this.#resources.keys()].filter((key) => key.startsWith(prefix)).sort();
    return keys.map((key) => this.#resources.get(key)!);
  }

  all(): Iterable<Resource> {
    return this.#resources.values();
  }

  /** The resources as they would be; nothing changes here. Null deletes. */
  after(changes: ReadonlyMap<ObjectKey, Resource | null>): ReadonlyMap<string, Resource> {
    const resources = new Map(this.#resources);
    for (const [key, resource] of changes) {
      if (resource === null) resources.delete(key);
      else resources.set(key, resource);
    }
    return resources;
  }

  /** The units that differ between the mesh as it is now and as it would be. One at a time. */
  *unitsChangedBy(resources: ReadonlyMap<string, Resource>): Steps<readonly ServiceUnit[]> {
    const build = (objects: readonly Resource[], previous: Snapshot | null) =>
      snapshotSteps({ objects, revision: this.revision, namespace: defaultNamespace, previous });
    // A copy: what is committed meanwhile is judged with the next change.
    const before = yield* build([...this.#resources.values()], this.#snapshot);
    this.#snapshot = before;
    const after = yield* build([...resources.values()], before);
    return [...after.units.values()].filter((unit) => before.units.get(unit.name) !== unit);
  }

  close(): void {
    this.#unsubscribe();
  }
}

const parse = ({ value }: StoredObject): Resource => JSON.parse(value) as Resource;
