/**
 * The way to one endpoint that is declared safe with pipelining (`spec.pipelining` of its Service): as the pool of http1-pool.ts, but once some
 * connections are in use, requests that may be repeated and have no body stand behind each other on those. What many requests share then is a write,
 * and, where the endpoint joins its answers, a read.
 */
import { limits } from '../../model/limits.ts';
import { failures } from '../failure.ts';
import type { Http1Connection } from './http1-connection.ts';
import { type LineOwner, PipelinedConnection } from './http1-pipelined-connection.ts';
import { Http1Pool, type Http1PoolOptions } from './http1-pool.ts';
import type { Http1Stream } from './http1-stream.ts';
import type { UpstreamHandler, UpstreamRequest } from './upstream.ts';

/** Repeating them is harmless, which is what happens to those behind an answer that breaks off (RFC 9112 section 9.3.2). */
const shared: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

export type PipelinedPoolOptions = Http1PoolOptions & {
  /** Requests under way on one connection, at most: 2 to `limits.pipelinedDepthMax`. */
  readonly depth: number;
};

export class PipelinedPool extends Http1Pool implements LineOwner {
  private readonly depth: number;
  /** While fewer connections are in use, each request gets one for itself. */
  private readonly spread: number;
  /** Connections with a request under way. */
  private readonly inUse: PipelinedConnection[] = [];
  /** Of those the ones that were given a request in this turn. */
  private readonly taking: PipelinedConnection[] = [];
  /** Where the next look for a connection begins. */
  private lookFrom = 0;

  constructor(options: PipelinedPoolOptions) {
    super(options);
    this.depth = options.depth;
    this.spread = Math.min(limits.pipelinedSpread, this.connectionsMax);
  }

  override open(
    request: UpstreamRequest,
    handler: UpstreamHandler,
    nowMs: number = this.now(),
    needsFresh = false,
  ): Http1Stream {
    const stream = super.open(request, handler, nowMs, needsFresh);
    stream.mayPipeline = !needsFresh && request.bodyBytes === 0 && shared.has(request.method);
    return stream;
  }

  protected override startConnection(nowMs: number): Http1Connection {
    return new PipelinedConnection(this, this.to, this.now, nowMs);
  }

  protected override serveQueue(nowMs: number): void {
    let stream = this.firstInQueue;
    while (stream !== null) {
      const next = stream.nextInQueue;
      const connection = this.connectionFor(stream, nowMs);
      if (connection !== null) {
        this.leaveQueue(stream);
        connection.take(stream, nowMs);
      } else if (stream.mayPipeline && this.idle.length === 0) {
        // Nor is there any for those behind it.
        break;
      }
      stream = next;
    }
    // Only now: what is called from there may end any stream.
    for (const connection of this.taking.splice(0)) connection.writeTaken(nowMs);
  }

  private connectionFor(stream: Http1Stream, nowMs: number): PipelinedConnection | null {
    const mayJoin = stream.mayPipeline && this.inUse.length >= this.spread;
    const shareable = mayJoin ? this.leastBusy(nowMs) : null;
    const connection = shareable ?? this.takeIdle(stream.needsFresh);
    if (connection !== null && !this.taking.includes(connection)) this.taking.push(connection);
    return connection;
  }

  /** Of some, each call beginning with another: a queue is served in a time that does not depend on how many connections there are. */
  private leastBusy(nowMs: number): PipelinedConnection | null {
    const { inUse, depth } = this;
    const looks = Math.min(inUse.length, limits.pipelinedLooksMax);
    let least: PipelinedConnection | null = null;
    for (let i = 0; i < looks; i++) {
      const connection = inUse[(this.lookFrom + i) % inUse.length]!;
      if (least !== null && connection.lineLength >= least.lineLength) continue;
      if (connection.canShare(depth, nowMs)) least = connection;
    }
    this.lookFrom = (this.lookFrom + 1) % inUse.length;
    return least;
  }

  private takeIdle(needsFresh: boolean): PipelinedConnection | null {
    const newest = this.idle[this.idle.length - 1];
    if (newest === undefined || (needsFresh && newest.isKept)) return null;
    this.idle.pop();
    this.stats.idle--;
    // `startConnection` makes no others.
    const connection = newest as PipelinedConnection;
    this.inUse.push(connection);
    return connection;
  }

  override onReleased(connection: Http1Connection): void {
    this.forget(connection);
    super.onReleased(connection);
  }

  override onGone(connection: Http1Connection): void {
    this.forget(connection);
    super.onGone(connection);
  }

  private forget(connection: Http1Connection): void {
    const index = this.inUse.indexOf(connection as PipelinedConnection);
    if (index < 0) return;
    const last = this.inUse.pop()!;
    if (last !== connection) this.inUse[index] = last;
  }

  onRefused(stream: Http1Stream): void {
    stream.phase = 'queued';
    stream.connection = null;
    this.joinQueueFirst(stream);
    this.endTurnSoon();
  }

  onLost(stream: Http1Stream): void {
    this.reportSoon(stream, failures['pipeline-lost']);
  }

  onRoom(): void {
    if (this.firstInQueue !== null) this.endTurnSoon();
  }

  override onSweep(nowMs: number): boolean {
    const goesOn = super.onSweep(nowMs);
    // From the end, because those that are closed leave the list.
    for (let i = this.inUse.length - 1; i >= 0; i--) this.inUse[i]?.sweep(nowMs);
    return goesOn || this.inUse.length > 0;
  }
}
