/** Requests that wait for the control plane's answer about their host: a bounded number of them, each for a bounded time. */
import { limits } from '../model/limits.ts';
import type { Discovery } from '../proxy/discovery.ts';
import type { Clock } from './clock.ts';

export type DiscoveryAnswer = Parameters<Parameters<Discovery['discover']>[1]>[0];

interface Waiting {
  readonly done: (answer: DiscoveryAnswer) => void;
  readonly cancelTimer: () => void;
}

export class PendingHosts {
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Set<Waiting>>();
  #count = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isFull(): boolean {
    return this.#count >= limits.discoveryPendingMax;
  }

  has(host: string): boolean {
    return this.#waiting.has(host);
  }

  /** Calls back once: with the host's answer, or with `discovery-timeout` after `limits.discoveryWaitMs`. */
  add(host: string, done: (answer: DiscoveryAnswer) => void): void {
    const waiting: Waiting = {
      done,
      cancelTimer: this.#clock.after(limits.discoveryWaitMs, () => {
        this.#remove(host, waiting);
        done('discovery-timeout');
      }),
    };
    const ofHost = this.#waiting.get(host);
    if (ofHost === undefined) this.#waiting.set(host, new Set([waiting]));
    else ofHost.add(waiting);
    this.#count++;
  }

  answer(host: string, answer: DiscoveryAnswer): void {
    const ofHost = this.#waiting.get(host);
    if (ofHost === undefined) return;
    this.#waiting.delete(host);
    this.#count -= ofHost.size;
    for (const { done, cancelTimer } of ofHost) {
      cancelTimer();
      done(answer);
    }
  }

  answerAll(answer: DiscoveryAnswer): void {
    for (const host of [...this.#waiting.keys()]) this.answer(host, answer);
  }

  #remove(host: string, waiting: Waiting): void {
    const ofHost = this.#waiting.get(host);
    if (!ofHost?.delete(waiting)) return;
    this.#count--;
    if (ofHost.size === 0) this.#waiting.delete(host);
  }
}
