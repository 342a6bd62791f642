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
  private readonly backends: readonly LoopBackend[];
  private readonly live: SharedLiveState;
  private readonly split: Split;

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
  }

  pickBackend(): LoopBackend | null {
    const { entries, first, count, slot } = this.split;
    if (count === 0) return null;
    const entry = count === 1 ? first : first + (this.live.takeTicket(slot) % count);
    return this.backends[entries[entry]!]!;
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
