/** The hosts that a sidecar subscribes to: those it was started with, and those its app has asked for in the last day. */
import { limits } from '../model/limits.ts';

/** As the control plane accepts them. What an app asks for beyond that is no host that could be configured. */
const hostPattern = /^[\x21-\x7e]{1,253}$/;

export class SubscribedHosts {
  readonly #pinned: ReadonlySet<string>;
  /** When each was last used, wall clock in ms; the least recently used first. */
  readonly #lastUsedAtMs = new Map<string, number>();

  /** `pinned` stay for ever. */
  constructor(pinned: Iterable<string>) {
    this.#pinned = new Set(pinned);
  }

  static isHost(host: string): boolean {
    return hostPattern.test(host);
  }

  has(host: string): boolean {
    return this.#pinned.has(host) || this.#lastUsedAtMs.has(host);
  }

  get isFull(): boolean {
    return this.#pinned.size + this.#lastUsedAtMs.size >= limits.subscriptionsMax;
  }

  /** Subscribes it, or notes that it was used. */
  use(host: string, nowMs: number): void {
    if (this.#pinned.has(host)) return;
    this.#lastUsedAtMs.delete(host);
    this.#lastUsedAtMs.set(host, nowMs);
  }

  remove(host: string): void {
    this.#lastUsedAtMs.delete(host);
  }

  /** The least recently used host of which `isDispensable` says so; null: there is none. */
  oldest(isDispensable: (host: string) => boolean): string | null {
    for (const host of this.#lastUsedAtMs.keys()) if (isDispensable(host)) return host;
    return null;
  }

  /** Takes out what was not used for `limits.subscriptionUnusedMs`, and answers it. */
  expire(nowMs: number): readonly string[] {
    const expired: string[] = [];
    for (const [host, lastUsedAtMs] of this.#lastUsedAtMs) {
      if (nowMs - lastUsedAtMs < limits.subscriptionUnusedMs) break;
      expired.push(host);
      this.#lastUsedAtMs.delete(host);
    }
    return expired;
  }

  all(): readonly string[] {
    return [...this.#pinned, ...this.#lastUsedAtMs.keys()];
  }

  /** For the state directory. */
  lastUsed(): ReadonlyMap<string, number> {
    return this.#lastUsedAtMs;
  }
}
