/**
 * The requests of one event loop that ended last, in full: the last ones (of very many a share: kept-share.ts), the failed ones, those that somebody chose, and the
 * slowest of each route and minute, so that neither a busy minute nor a rare failure takes away what somebody will ask for. Memory is fixed: `slotsMax` slots, 1.6 MiB, of which the
 * system hands out what is touched.
 */
import type { Decision } from '../model/decision.ts';
import { limits } from '../model/limits.ts';
import { isServiceNamed, type RecentAnswer, type RecentQuery, type RecentRequest } from '../model/recent-request.ts';
import { isFailed } from './access-log.ts';
import type { HopRows } from './breakdown.ts';
import { KeptShare } from './kept-share.ts';
import type { Destination, Direction, Rule } from './recorder.ts';
import { cell, type FinishedRequest, RequestSlots } from './request-slots.ts';

const { recentRequestsMax, recentFailuresMax, recentChosenMax, slowRoutesMax, slowPerRouteMax, slowWindowMs } = limits;
const failuresAt = recentRequestsMax;
const chosenAt = failuresAt + recentFailuresMax;
const slowAt = chosenAt + recentChosenMax;
/** Two windows of each route: one that fills, and the one before. */
export const slotsMax = slowAt + slowRoutesMax * slowPerRouteMax * 2;

/** Where a proxy puts each request that is over. */
export interface SpanSink {
  /** Keeps no reference to the request itself, which may be used again. */
  record(request: FinishedRequest): void;
}

export interface RequestSink {
  /** Asked once for each request, as it ends: whether it is of the share that is kept of all (`KeptShare`). `chance`: of its trace. */
  isOfShare(chance: number, nowMs: number): boolean;
  /** Whether it is among the slowest of its rule's route, or of its destination where it has none. */
  isSlow(destination: Destination | null, rule: Rule | null, totalMs: number, nowMs: number): boolean;
  /** `isChosen`: by who sent it, or because it was tried again. Keeps no reference to the request itself, which may be used again. */
  record(request: FinishedRequest, isOfShare: boolean, isChosen: boolean, decision: Decision | null): void;
  /** Whether a decision may be written down now: so many a second and no more, for it costs more than all else that is kept. */
  mayExplain(nowMs: number): boolean;
}

const explainWindowMs = 1_000;

export class RequestRing implements RequestSink {
  /** So many have ended. */
  private ended = 0;
  private recorded = 0;
  /** Of those so many were written among the last ones. */
  private last = 0;
  private readonly share = new KeptShare();
  private failed = 0;
  private chosen = 0;
  private readonly slots = new RequestSlots(slotsMax);
  private readonly slowest = new Map<string, SlowRoute>();
  /** Those that were asked for last: mostly they are the next ones too. */
  private lastDestination: Destination | null = null;
  private lastRule: Rule | null = null;
  private lastSlow: SlowRoute | null = null;
  /** A ring of the last decisions, and whose they are. */
  private readonly decisions: { readonly sequence: number; readonly decision: Decision }[] = [];
  private explained = 0;
  private explainWindow = -1;
  private explainedInWindow = 0;

  isOfShare(chance: number, nowMs: number): boolean {
    this.ended++;
    return this.share.keeps(chance, nowMs);
  }

  isSlow(destination: Destination | null, rule: Rule | null, totalMs: number, nowMs: number): boolean {
    if (this.lastSlow === null || destination !== this.lastDestination || rule !== this.lastRule) {
      this.lastSlow = this.slowRoute(
        nameOf(destination === null ? '' : destination.name, rule === null ? '' : rule.route),
      );
      this.lastDestination = destination;
      this.lastRule = rule;
      if (this.lastSlow === null) return false;
    }
    return this.lastSlow.isAmong(totalMs, nowMs);
  }

  mayExplain(nowMs: number): boolean {
    const window = Math.floor(nowMs / explainWindowMs);
    if (window !== this.explainWindow) {
      this.explainWindow = window;
      this.explainedInWindow = 0;
    }
    return this.explainedInWindow++ < limits.decisionsPerSecondMax;
  }

  record(request: FinishedRequest, isOfShare: boolean, isChosen: boolean, decision: Decision | null): void {
    const sequence = ++this.recorded;
    if (decision !== null) this.decisions[this.explained++ % limits.recentDecisionsMax] = { sequence, decision };
    const { slots } = this;
    if (isFailed(request)) slots.write(failuresAt + (this.failed++ % recentFailuresMax), sequence, request);
    if (isChosen) slots.write(chosenAt + (this.chosen++ % recentChosenMax), sequence, request);
    const slow = this.slowRoute(nameOf(request.destination, request.route));
    const slowSlot = slow === null ? -1 : slow.slotFor(request.totalMs, request.endedAtMs);
    if (slowSlot !== -1) slots.write(slowSlot, sequence, request);
    if (isOfShare) slots.write(this.last++ % recentRequestsMax, sequence, request);
  }

  /** Null: there are too many routes, and it is not one of the first. */
  private slowRoute(name: string): SlowRoute | null {
    const found = this.slowest.get(name);
    if (found !== undefined) return found;
    const { size } = this.slowest;
    if (size >= slowRoutesMax) return null;
    const made = new SlowRoute(slowAt + size * slowPerRouteMax * 2);
    this.slowest.set(name, made);
    return made;
  }

  /** Newest first, each once. */
  find(query: RecentQuery): Omit<RecentAnswer, 'loopsMissing' | 'refusals'> {
    const { slots } = this;
    const bySequence = new Map<number, number>();
    for (let slot = 0; slot < slotsMax; slot++) {
      const sequence = slots.at(slot, cell.sequence);
      if (sequence > 0 && this.isWanted(slot, query)) bySequence.set(sequence, slot);
    }
    const newest = [...bySequence].sort(([a], [b]) => b - a).slice(0, Math.min(query.limit, limits.recentAnswerMax));
    const requests = newest.map(([sequence, slot]) => this.read(slot, query.id === '' ? 0 : sequence));
    return { recorded: this.ended, keptOneIn: this.share.oneIn, requests };
  }

  /** With its decision, unless `sequence` is 0: who looks through many has no use for them. */
  private read(slot: number, sequence: number): RecentRequest {
    const kept = sequence === 0 ? undefined : this.decisions.find((each) => each.sequence === sequence);
    const request = this.slots.read(slot);
    return kept === undefined ? request : { ...request, decision: kept.decision };
  }

  private isWanted(slot: number, { service, route, status, minMs, isFailed: failedOnly, id }: RecentQuery): boolean {
    const { slots } = this;
    if (failedOnly && !slots.isFailed(slot)) return false;
    if (slots.at(slot, cell.totalMs) < minMs) return false;
    if (route !== '' && slots.route[slot] !== route) return false;
    if (status !== '' && !isStatus(slots.at(slot, cell.status), status)) return false;
    if (service !== '' && !this.concerns(slot, service)) return false;
    return id === '' || slots.hasId(slot, id);
  }

  private concerns(slot: number, service: string): boolean {
    return isServiceNamed(this.slots.source[slot]!, service) || isServiceNamed(this.slots.destination[slot]!, service);
  }

  /** Of the share of the last requests, whatever became of them: neither failed nor slow ones count for more than they are. `service` empty: all. */
  hops(service: string): readonly HopRows[] {
    const { slots } = this;
    const byHop = new Map<string, { readonly labels: Omit<HopRows, 'rows'>; readonly rows: Float64Array[] }>();
    for (let slot = 0; slot < Math.min(this.last, recentRequestsMax); slot++) {
      if (service !== '' && !this.concerns(slot, service)) continue;
      const direction: Direction = slots.at(slot, cell.isInbound) === 1 ? 'inbound' : 'outbound';
      const [source, destination] = [slots.source[slot]!, slots.destination[slot]!];
      const key = `${direction} ${source} ${destination}`;
      const hop = byHop.get(key) ?? { labels: { direction, source, destination }, rows: [] };
      byHop.set(key, hop);
      hop.rows.push(slots.timesOf(slot));
    }
    return Array.from(byHop.values(), ({ labels, rows }) => ({ ...labels, rows }));
  }
}

/** What the slowest are kept by. */
const nameOf = (destination: string, route: string): string => (route === '' ? destination : route);

/** The slowest of one route, in the minute that runs and in the last one before it that had any. */
class SlowRoute {
  /** When the minute that runs is over. */
  private endsAtMs = Number.NEGATIVE_INFINITY;
  /** Which half of its slots fills: 0 or 1. */
  private half = 1;
  private count = 0;
  /** The least of `totalsMs` once there are as many as may be; else -1. */
  private leastMs = -1;
  private readonly totalsMs = new Float64Array(slowPerRouteMax);

  constructor(private readonly firstSlot: number) {}

  /** Whether `slotFor` has one for it. */
  isAmong(totalMs: number, nowMs: number): boolean {
    return totalMs > this.leastMs || nowMs >= this.endsAtMs;
  }

  /** Where to write a request that is among the slowest, or -1. */
  slotFor(totalMs: number, nowMs: number): number {
    if (!this.isAmong(totalMs, nowMs)) return -1;
    if (nowMs >= this.endsAtMs) {
      this.endsAtMs = (Math.floor(nowMs / slowWindowMs) + 1) * slowWindowMs;
      this.half = 1 - this.half;
      this.count = 0;
      this.leastMs = -1;
    }
    const { totalsMs } = this;
    const at = this.count === slowPerRouteMax ? totalsMs.indexOf(this.leastMs) : this.count++;
    totalsMs[at] = totalMs;
    if (this.count === slowPerRouteMax) this.leastMs = Math.min(...totalsMs);
    return this.firstSlot + this.half * slowPerRouteMax + at;
  }
}

function isStatus(status: number, wanted: string): boolean {
  return wanted.endsWith('xx') ? Math.floor(status / 100) === Number(wanted[0]) : status === Number(wanted);
}
