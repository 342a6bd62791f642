/** The configuration that a sidecar holds, as it was pushed: every object under its version, and what each subscribed host leads to. */
import { type TrustBundle, trustBundleKey } from '../model/identity.ts';
import type { ConfigKey, ConfigObject, UnitName } from '../model/snapshot.ts';
import type { ObjectChange } from '../wire/resource-codec.ts';

export interface HeldObject {
  /** Opaque, from the control plane; equal versions are equal content. */
  readonly version: string;
  readonly object: ConfigObject;
}

/** What one ChangeSet does to it. */
export interface HeldChange {
  readonly revision: number;
  readonly changes: readonly ObjectChange[];
  readonly hosts: ReadonlyMap<string, UnitName | ''>;
}

/** Never changes: a ChangeSet makes a new one, in which what did not change is the same object as before. */
export class HeldObjects {
  static readonly none = new HeldObjects(0, new Map(), new Map());

  /** Store revision that it is at. */
  readonly revision: number;
  readonly objects: ReadonlyMap<ConfigKey, HeldObject>;
  /** The unit that a host leads to; empty: the control plane said that there is none. */
  readonly hosts: ReadonlyMap<string, UnitName | ''>;

  constructor(revision: number, objects: HeldObjects['objects'], hosts: HeldObjects['hosts']) {
    this.revision = revision;
    this.objects = objects;
    this.hosts = hosts;
  }

  with({ revision, changes, hosts }: HeldChange): HeldObjects {
    const objects = new Map(this.objects);
    for (const { key, version, object } of changes) {
      if (object === null) objects.delete(key);
      else objects.set(key, { version, object });
    }
    return new HeldObjects(revision, objects, hosts.size === 0 ? this.hosts : new Map([...this.hosts, ...hosts]));
  }

  /** Without the answers for these hosts: they are subscribed no more, and what they lead to may change unseen. */
  forget(hosts: Iterable<string>): HeldObjects {
    const left = new Map(this.hosts);
    for (const host of hosts) left.delete(host);
    return new HeldObjects(this.revision, this.objects, left);
  }

  /** As if this object had never been sent. */
  without(key: ConfigKey): HeldObjects {
    if (!this.objects.has(key)) return this;
    const objects = new Map(this.objects);
    objects.delete(key);
    return new HeldObjects(this.revision, objects, this.hosts);
  }

  /** The roots as they were pushed, which identity/ may not believe; null: the control plane has none, or has not sent them yet. */
  get trustBundle(): TrustBundle | null {
    const object = this.objects.get(trustBundleKey)?.object;
    return object?.kind === 'TrustBundle' ? object : null;
  }

  /** What a snapshot is built from. */
  *configObjects(): Iterable<ConfigObject> {
    for (const { object } of this.objects.values()) yield object;
  }

  versions(): ReadonlyMap<ConfigKey, string> {
    return new Map(Array.from(this.objects, ([key, { version }]) => [key, version]));
  }
}
