/** What happens to a request that matched, opened on one loop: its facts, and the next backend of its split. */
import type {
  HeaderChange,
  PathChange,
  Redirect,
  Timeouts,
  UnitAction,
  UnitBackend,
  UnitName,
} from '../model/snapshot.ts';
import type { SharedLiveState } from './live-state.ts';
import type { LoopAction, LoopBackend, LoopMirror } from './tables.ts';

/** An action as it is kept in a compiled unit. */
export type ActionFacts = UnitAction;

/** Where the backends' order is kept, and the slot whose ticket walks it. */
export interface Split {
  /** Indexes of backends, `count` of them from `first`; no entries: no backend has weight. */
  readonly entries: Uint8Array;
  readonly first: number;
  readonly count: number;
  readonly slot: number;
}

export class OpenAction implements LoopAction {
  readonly route: string;
  readonly requestHeaders: HeaderChange | null;
  readonly responseHeaders: HeaderChange | null;
  readonly redirect: Redirect | null;
  readonly rewriteHost: string | null;
  readonly rewritePath: PathChange | null;
  readonly mirrors: readonly LoopMirror[];
  readonly timeouts: Timeouts;
  readonly backends: readonly UnitBackend[];
  private readonly live: SharedLiveState;
  private readonly split: Split;
  /** Where all requests go; null: there is a choice. Found at once: in a mesh of 10,000 rules each further object is one out of the cache. */
  private readonly only: LoopBackend | null;

  constructor(facts: ActionFacts, split: Split, live: SharedLiveState) {
    this.route = facts.route;
    this.requestHeaders = facts.requestHeaders;
    this.responseHeaders = facts.responseHeaders;
    this.redirect = facts.redirect;
    this.rewriteHost = facts.rewriteHost;
    this.rewritePath = facts.rewritePath;
    this.mirrors = facts.mirrors;
    this.timeouts = facts.timeouts;
    this.backends = facts.backends;
    this.live = live;
    this.split = split;
    this.only = split.count === 1 ? facts.backends[split.entries[split.first]!]! : null;
  }

  pickBackend(): LoopBackend | null {
    if (this.only !== null) return this.only;
    const { count, slot } = this.split;
    return count === 0 ? null : this.backendOf(this.live.takeTicket(slot));
  }

  nextBackend(): LoopBackend | null {
    if (this.only !== null) return this.only;
    const { count, slot } = this.split;
    return count === 0 ? null : this.backendOf(this.live.nextTicket(slot));
  }

  private backendOf(ticket: number): LoopBackend {
    const { entries, first, count } = this.split;
    return this.backends[entries[first + (ticket % count)]!]!;
  }
}

const directSplit: Omit<Split, 'slot'> = { entries: Uint8Array.of(0), first: 0, count: 1 };

/** The action of a Service to which no route is attached: everything goes to its own endpoints. */
export function openDirectAction(unit: UnitName, timeouts: Timeouts, live: SharedLiveState): OpenAction {
  const backend: UnitBackend = { unit, ref: unit, weight: 1, requestHeaders: null, responseHeaders: null };
  const facts: ActionFacts = {
    route: '',
    requestHeaders: null,
    responseHeaders: null,
    redirect: null,
    rewriteHost: null,
    rewritePath: null,
    mirrors: [],
    backends: [backend],
    timeouts,
  };
  return new OpenAction(facts, { ...directSplit, slot: 0 }, live);
}
