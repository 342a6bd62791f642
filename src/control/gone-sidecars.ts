/**
 * Sidecars whose lease has ended though they never took leave: frozen, cut off or killed. Nobody waits for them, but for some minutes they are told of,
 * so that a mesh that has lost half of its sidecars does not look whole. A control plane that starts knows of none.
 */
import { limits } from '../model/limits.ts';
import type { SidecarLease } from '../model/registration.ts';
import type { GoneSidecar } from './fleet.ts';

type Gone = Omit<GoneSidecar, 'lastHeardAgoMs'> & { readonly heardAtMs: number };

export class GoneSidecars {
  /** In the order of their going. */
  readonly #gone = new Map<string, Gone>();

  /** Its lease has ended now, for it was not renewed. Of too many the oldest is forgotten. */
  add(id: string, { service, namespace, registration }: SidecarLease, nowMs: number): void {
    this.#gone.delete(id);
    const [oldest] = this.#gone.keys();
    if (this.#gone.size >= limits.goneSidecarsMax && oldest !== undefined) this.#gone.delete(oldest);
    const address = registration?.address ?? null;
    this.#gone.set(id, { sidecar: id, service, namespace, address, heardAtMs: nowMs - limits.leaseMs });
  }

  /** It is back, or has taken leave after all. */
  delete(id: string): void {
    this.#gone.delete(id);
  }

  list(nowMs: number): readonly GoneSidecar[] {
    for (const [id, { heardAtMs }] of this.#gone) {
      if (nowMs - heardAtMs <= limits.goneKeptMs) break;
      this.#gone.delete(id);
    }
    return Array.from(this.#gone.values(), ({ heardAtMs, ...gone }) => ({
      ...gone,
      lastHeardAgoMs: Math.max(0, nowMs - heardAtMs),
    }));
  }
}
