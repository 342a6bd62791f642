/**
 * What a sidecar wants its lease to say. To change a lease costs time with each of its hosts: they are sorted, looked up, and written. So the work has
 * a budget; changes that come faster are gathered, and applied together a little later.
 */
import { limits } from '../model/limits.ts';
import type { Registration, SidecarLease } from '../model/registration.ts';
import { faultOfHosts, faultOfRegistration, type HelloFault, tooManySubscriptions } from './hello-check.ts';
import type { StoreClock } from './store/store.ts';

/** Takes a lease, and the hosts whose answers are wanted whether they were given before or not. */
export type ApplyLease = (lease: SidecarLease, asked: readonly string[]) => void;

export class LeaseDraft {
  readonly #clock: StoreClock;
  readonly #apply: ApplyLease;
  readonly #hosts: Set<string>;
  /** As it was applied last. */
  #lease: SidecarLease;
  #registration: Registration | null;
  #areHostsOther = false;
  #asked = new Set<string>();
  #looksLeft: number = limits.leaseLooksMax;
  #filledAtMs: number;
  /** While something waits. */
  #cancelTimer: (() => void) | null = null;

  constructor(lease: SidecarLease, clock: StoreClock, apply: ApplyLease) {
    this.#lease = lease;
    this.#clock = clock;
    this.#apply = apply;
    this.#hosts = new Set(lease.subscriptions);
    this.#registration = lease.registration;
    this.#filledAtMs = clock.nowMs();
  }

  /** Null: nothing is wrong with it. What is removed and added is asked again. */
  subscribe(add: readonly string[], remove: readonly string[]): HelloFault | null {
    const fault = faultOfHosts(add);
    if (fault !== null) return fault;
    let isOther = add.length > 0;
    for (const host of remove) {
      if (!this.#hosts.delete(host)) continue;
      this.#asked.delete(host);
      this.#areHostsOther = true;
      isOther = true;
    }
    for (const host of add) {
      if (!this.#hosts.has(host)) this.#areHostsOther = true;
      this.#hosts.add(host);
      this.#asked.add(host);
    }
    if (this.#hosts.size > limits.subscriptionsMax) return tooManySubscriptions;
    if (isOther) this.#change();
    return null;
  }

  /** Null: nothing is wrong with it. */
  register(registration: Registration | null): HelloFault | null {
    const fault = registration === null ? null : faultOfRegistration(registration);
    if (fault !== null) return fault;
    const isOther = JSON.stringify(registration) !== JSON.stringify(this.#registration);
    this.#registration = registration;
    if (isOther) this.#change();
    return null;
  }

  /** What waits is forgotten. */
  close(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
  }

  #change(): void {
    if (this.#cancelTimer !== null) return;
    const waitMs = this.#waitMs();
    if (waitMs === 0) this.#flush();
    else this.#wait(waitMs);
  }

  #wait(ms: number): void {
    this.#cancelTimer = this.#clock.after(ms, () => {
      // More hosts may have come meanwhile. A wall clock that was set back only starts the filling anew.
      const waitMs = this.#waitMs();
      if (waitMs > 0) {
        this.#wait(waitMs);
        return;
      }
      this.#cancelTimer = null;
      this.#flush();
    });
  }

  /** Until the budget has room for a change. */
  #waitMs(): number {
    const { leaseLooksMax, leaseLooksPerSecond } = limits;
    const nowMs = this.#clock.nowMs();
    const filled = (Math.max(0, nowMs - this.#filledAtMs) * leaseLooksPerSecond) / 1000;
    this.#looksLeft = Math.min(leaseLooksMax, this.#looksLeft + filled);
    this.#filledAtMs = nowMs;
    return Math.ceil((Math.max(0, this.#cost - this.#looksLeft) * 1000) / leaseLooksPerSecond);
  }

  get #cost(): number {
    return this.#hosts.size + 1;
  }

  #flush(): void {
    this.#looksLeft -= this.#cost;
    const subscriptions = this.#areHostsOther ? [...this.#hosts] : this.#lease.subscriptions;
    const asked = [...this.#asked];
    this.#lease = { ...this.#lease, subscriptions, registration: this.#registration };
    this.#areHostsOther = false;
    this.#asked.clear();
    this.#apply(this.#lease, asked);
  }
}
