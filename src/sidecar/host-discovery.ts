/** Which hosts this sidecar subscribes to, and the requests that wait until it is known what a new one is. */
import { limits } from '../model/limits.ts';
import type { Discovery } from '../proxy/discovery.ts';
import type { Clock } from './clock.ts';
import type { HeldObjects } from './held-objects.ts';
import { type DiscoveryAnswer, PendingHosts } from './pending-hosts.ts';
import { SubscribedHosts } from './subscribed-hosts.ts';

export interface HostDiscoveryOptions {
  readonly clock: Clock;
  /** Subscribed from the start, and for ever. */
  readonly pinned: readonly string[];
  /** What is in force; null: nothing yet. */
  readonly held: () => HeldObjects | null;
  /** Says a change of subscriptions to the control plane, if there is one; a Hello says all of them. */
  readonly say: (add: readonly string[], remove: readonly string[]) => void;
  /** Subscriptions changed: they should be saved, and no answer for `removed` be remembered. */
  readonly onChange: (removed: readonly string[]) => void;
}

export class HostDiscovery implements Discovery {
  readonly #options: HostDiscoveryOptions;
  readonly #hosts: SubscribedHosts;
  readonly #pending: PendingHosts;
  readonly #toAdd = new Set<string>();
  readonly #toRemove = new Set<string>();
  #isSaying = false;

  constructor(options: HostDiscoveryOptions) {
    this.#options = options;
    this.#hosts = new SubscribedHosts(options.pinned);
    this.#pending = new PendingHosts(options.clock);
  }

  /** See Discovery. A host that is answered already calls back at once. */
  discover(host: string, done: (answer: DiscoveryAnswer) => void): void {
    const held = this.#options.held();
    if (held === null) {
      done('no-configuration');
      return;
    }
    const unit = held.hosts.get(host);
    if (unit !== undefined) {
      this.markUsed(host);
      done(answerOf(unit));
    } else if (!SubscribedHosts.isHost(host)) done('unknown-service');
    else if (this.#pending.isFull || !this.#subscribe(host, held)) done('discovery-full');
    else this.#pending.add(host, done);
  }

  /** The host was used: its subscription stays. Worth calling now and then, not for each request. */
  markUsed(host: string): void {
    if (this.#hosts.has(host)) this.#hosts.use(host, this.#options.clock.nowMs());
  }

  /** These answers are in force now. Answers those that are not subscribed any more. */
  answered(hosts: ReadonlyMap<string, string>): readonly string[] {
    for (const [host, unit] of hosts) this.#pending.answer(host, answerOf(unit));
    return [...hosts.keys()].filter((host) => !this.#hosts.has(host));
  }

  /** Ends the subscriptions that were not used for `limits.subscriptionUnusedMs`. */
  expire(): void {
    const expired = this.#hosts.expire(this.#options.clock.nowMs());
    if (expired.length > 0) this.#remove(expired);
  }

  /** All subscriptions, to be said in a Hello, which makes what a Subscribe was to say superfluous. */
  allForHello(): readonly string[] {
    this.#toAdd.clear();
    this.#toRemove.clear();
    return this.#hosts.all();
  }

  /** For the state directory. */
  lastUsedAtMs(): ReadonlyMap<string, number> {
    return this.#hosts.lastUsed();
  }

  restore(lastUsedAtMs: ReadonlyMap<string, number>): void {
    for (const [host, atMs] of lastUsedAtMs) if (!this.#hosts.isFull) this.#hosts.use(host, atMs);
  }

  /** Nobody will answer any more. */
  close(): void {
    this.#pending.answerAll('discovery-timeout');
  }

  /** False: there is no room. A host that is known not to exist makes room for one that may. */
  #subscribe(host: string, held: HeldObjects): boolean {
    const isNew = !this.#hosts.has(host);
    if (isNew && this.#hosts.isFull) {
      const dispensable = this.#hosts.oldest((old) => held.hosts.get(old) === '');
      if (dispensable === null) return false;
      this.#hosts.remove(dispensable);
      this.#remove([dispensable]);
    }
    this.#hosts.use(host, this.#options.clock.nowMs());
    if (isNew) {
      this.#toRemove.delete(host);
      this.#toAdd.add(host);
      this.#saySoon();
      this.#options.onChange([]);
    }
    return true;
  }

  #remove(hosts: readonly string[]): void {
    for (const host of hosts) {
      this.#toAdd.delete(host);
      this.#toRemove.add(host);
    }
    this.#saySoon();
    this.#options.onChange(hosts);
  }

  /** One frame for all that a loop turn brought. */
  #saySoon(): void {
    if (this.#isSaying) return;
    this.#isSaying = true;
    queueMicrotask(() => {
      this.#isSaying = false;
      const add = [...this.#toAdd];
      const remove = [...this.#toRemove];
      this.#toAdd.clear();
      this.#toRemove.clear();
      for (let from = 0; from < Math.max(add.length, remove.length); from += limits.helloEntriesMax) {
        const slice = (list: readonly string[]) => list.slice(from, from + limits.helloEntriesMax);
        this.#options.say(slice(add), slice(remove));
      }
    });
  }
}

const answerOf = (unit: string): DiscoveryAnswer => (unit === '' ? 'unknown-service' : 'ready');
