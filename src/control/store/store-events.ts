/** The subscribers of a store: each hears every event, once, in the order in which the events became durable. */
import type { StoreEvent } from './store.ts';

export class StoreEvents {
  private readonly listeners = new Set<(event: StoreEvent) => void>();
  private readonly pending: StoreEvent[] = [];
  private isDelivering = false;
  private readonly onListenerError: (thrown: unknown) => void;

  constructor(onListenerError: (thrown: unknown) => void) {
    this.onListenerError = onListenerError;
  }

  /** Returns the end of the subscription. */
  subscribe(listener: (event: StoreEvent) => void): () => void {
    // The same function may subscribe twice: each subscription ends on its own.
    const own = (event: StoreEvent): void => listener(event);
    this.listeners.add(own);
    return () => this.listeners.delete(own);
  }

  /** Tells all subscribers before it returns, unless it is called by one of them: then after the event that is being told. Null: there is none. */
  emit(event: StoreEvent | null): void {
    if (event === null) return;
    this.pending.push(event);
    // A listener may write to the store. Its event must not overtake the present one on the way to the listeners after it.
    if (this.isDelivering) return;
    this.isDelivering = true;
    for (let next = this.pending.shift(); next !== undefined; next = this.pending.shift()) this.deliver(next);
    this.isDelivering = false;
  }

  private deliver(event: StoreEvent): void {
    for (const listener of [...this.listeners]) {
      try {
        // A listener that an earlier one has just unsubscribed is not called any more.
        if (this.listeners.has(listener)) listener(event);
      } catch (thrown) {
        this.onListenerError(thrown);
      }
    }
  }

  clear(): void {
    this.listeners.clear();
  }
}
