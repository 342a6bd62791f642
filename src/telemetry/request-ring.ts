/**
 * The requests of one event loop that ended last, in full: the last ones, the failed ones, and the slowest of each route and minute, so
 * that neither a busy minute nor a rare failure takes away what somebody will ask for. Memory is fixed: `slotsMax` slots, 1.5 MiB, of which the
 * system hands out what is touched.
 */
import type { Decision } from '../model/decision.ts';
import { limits } from '../model/limits.ts';
import { isServiceNamed, type RecentQuery, type RecentRequest } from '../model/recent-request.ts';
import type { HopRows } from './breakdown.ts';
import type { Direction } from './recorder.ts';
import { cell, type FinishedRequest, RequestSlots } from './request-slots.ts';

const { recentRequestsMax, recentFailuresMax, slowRoutesMax, slowPerRouteMax, slowWindowMs } = limits;
const failuresAt = recentRequestsMax;
const slowAt = failuresAt + recentFailuresMax;
/** Two windows of each route: one that fills, and the one before. */
export const slotsMax = slowAt + slowRoutesMax * slowPerRouteMax * 2;

/** Where a proxy puts each request that is over. */
export interface SpanSink {
  /** Keeps no reference to the request itself, which may be used again. */
  record(request: FinishedRequest): void;
}

export interface RequestSink {
  /** Keeps no reference to the request itself, which may be used again. */
  record(request: FinishedRequest, decision: Decision | null): void;
  /** Whether a decision may be written down now: so many a second and no more, for it costs more than all else that is kept. */
  mayExplain(nowMs: number): boolean;
}

const explainWindowMs = 1_000;

export class RequestRing implements RequestSink {
  /** So many have ended. */
  recorded = 0;
  private failed = 0;
  private readonly slots = new RequestSlots(slotsMax);
  private readonly slowest = new Map<string, SlowRoute>();
  /** A ring of the last decisions, and whose they are. */
  private readonly decisions: { readonly sequence: number; readonly decision: Decision }[] = [];
  private explained = 0;
  private explainWindow = -1;
  private explainedInWindow = 0;

  mayExplain(nowMs: number): boolean {
    const window = Math.floor(nowMs / explainWindowMs);
    if (window !== this.explainWindow) {
      this.explainWindow = window;
      this.explainedInWindow = 0;
    }
    return this.explainedInWindow++ < limits.decisionsPerSecondMax;
  }

  record(request: FinishedRequest, decision: Decision | null = null): void {
    const sequence = ++this.recorded;
    if (decision !== null) this.decisions[this.explained++ % limits.recentDecisionsMax] = { sequence, decision };
    const { slots } = this;
    const slot = (sequence - 1) % recentRequestsMax;
    slots.write(slot, sequence, request);
    if (slots.isFailed(slot)) slots.write(failuresAt + (this.failed++ % recentFailuresMax), sequence, request);
    const slow = this.slowRoute(request.route === '' ? request.destination : request.route);
    const slowSlot = slow === null ? -1 : slow.slotFor(request.totalMs, request.atMs);
    if (slowSlot !== -1) slots.write(slowSlot, sequence, request);
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
  find(query: RecentQuery): { readonly recorded: number; readonly requests: readonly RecentRequest[] } {
    const { slots } = this;
    const bySequence = new Map<number, number>();
    for (let slot = 0; slot < slotsMax; slot++) {
      const sequence = slots.at(slot, cell.sequence);
      if (sequence > 0 && this.isWanted(slot, query)) bySequence.set(sequence, slot);
    }
    const newest = [...bySequence].sort(([a], [b]) => b - a).slice(0, Math.min(query.limit, limits.recentAnswerMax));
    const requests = newest.map(([sequence, slot]) => this.read(slot, query.id === '' ? 0 : sequence));
    return { recorded: this.recorded, requests };
  }

  /** With its decision, unless `sequence` is 0: who looks through many has no use for them. */
  private read(slot: number, sequence: number): RecentRequest {
    const kept = sequence === 0 ? undefined : this.decisions.find((each) => each.sequence === sequence);
    const request = this.slots.read(slot);
    return kept === undefined ? request : { ...request, decision: kept.decision };
  }

  private isWanted(slot: number, { service, route, status, minMs, isFailed, id }: RecentQuery): boolean {
    const { slots } = this;
    if (isFailed && !slots.isFailed(slot)) return false;
    if (slots.at(slot, cell.totalMs) < minMs) return false;
    if (route !== '' && slots.route[slot] !== route) return false;
    if (status !== '' && !isStatus(slots.at(slot, cell.status), status)) return false;
    if (service !== '' && !this.concerns(slot, service)) return false;
    return id === '' || slots.hasId(slot, id);
  }

  private concerns(slot: number, service: string): boolean {
    return isServiceNamed(this.slots.source[slot]!, service) || isServiceNamed(this.slots.destination[slot]!, service);
  }

  /** Of the last requests, whatever became of them: neither failed nor slow ones count twice. `service` empty: all. */
  hops(service: string): readonly HopRows[] {
    const { slots } = this;
    const byHop = new Map<string, { readonly labels: Omit<HopRows, 'rows'>; readonly rows: Float64Array[] }>();
    for (let slot = 0; slot < Math.min(this.recorded, recentRequestsMax); slot++) {
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

/** The slowest of one route, in the minute that runs and in the last one before it that had any. */
class SlowRoute {
  private window = -1;
  /** Which half of its slots fills: 0 or 1. */
  private half = 1;
  private count = 0;
  private readonly totalsMs = new Float64Array(slowPerRouteMax);

  constructor(private readonly firstSlot: number) {}

  /** Where to write a request that is among the slowest, or -1. */
  slotFor(totalMs: number, atMs: number): number {
    const window = Math.floor(atMs / slowWindowMs);
    if (window !== this.window) {
      this.window = window;
      this.half = 1 - this.half;
      this.count = 0;
    }
    const { totalsMs, count } = this;
    let at = count;
    if (count < slowPerRouteMax) {
      this.count++;
    } else {
      at = 0;
      for (let i = 1; i < slowPerRouteMax; i++) if (totalsMs[i]! < totalsMs[at]!) at = i;
      if (!(totalMs > totalsMs[at]!)) return -1;
    }
    totalsMs[at] = totalMs;
    return this.firstSlot + this.half * slowPerRouteMax + at;
  }
}

function isStatus(status: number, wanted: string): boolean {
  return wanted.endsWith('xx') ? Math.floor(status / 100) === Number(wanted[0]) : status === Number(wanted);
}
