/** Which Services had an endpoint that a sidecar registered for longer than a moment: such a name is no mistake, even if nobody is there now. */
import { limits } from '../model/limits.ts';

export class ServedServices {
  /** What each sidecar that is here registers. */
  readonly #now = new Map<string, { readonly unit: string; readonly sinceMs: number }>();
  /** In the order in which they were served last. */
  readonly #served = new Set<string>();

  /** `unit` is `NAME.NAMESPACE`; null: the sidecar registers nothing, or is gone. */
  see(sidecar: string, unit: string | null, nowMs: number): void {
    const known = this.#now.get(sidecar);
    if (known?.unit === unit) return;
    if (known !== undefined) {
      if (nowMs - known.sinceMs > limits.servedMomentMs) this.#keep(known.unit);
      this.#now.delete(sidecar);
    }
    if (unit !== null) this.#now.set(sidecar, { unit, sinceMs: nowMs });
  }

  has(unit: string): boolean {
    return this.#served.has(unit);
  }

  #keep(unit: string): void {
    this.#served.delete(unit);
    const [oldest] = this.#served;
    if (this.#served.size >= limits.servedServicesMax && oldest !== undefined) this.#served.delete(oldest);
    this.#served.add(unit);
  }
}
