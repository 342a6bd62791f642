/**
 * The way to one endpoint over HTTP/1.1: kept connections, one request at a time on each, the newest first, and a bounded queue
 * for requests that find none. Nothing is written before the end of the loop turn: by then a head and its small body are
 * together, and a kept connection that died in this turn has been noticed.
 */
import { performance } from 'node:perf_hooks';
import { isSocketPath, type LocalAddress } from '../../model/host-port.ts';
import { limits } from '../../model/limits.ts';
import { atTurnEnd } from '../../telemetry/loop-turn.ts';
import type { CoarseTimer, Swept } from '../coarse-timer.ts';
import { type Failure, failures } from '../failure.ts';
import { type ConnectionOwner, Http1Connection } from './http1-connection.ts';
import { serializeRequest } from './http1-request.ts';
import { Http1Stream, type StreamOwner } from './http1-stream.ts';
import type { Upstream, UpstreamHandler, UpstreamRequest, UpstreamStats } from './upstream.ts';

export interface Http1PoolSettings {
  /** Shared by all pools of the loop. */
  readonly timer: CoarseTimer;
  /** The clock of `timer`, ms. Default `performance.now`. */
  readonly now?: () => number;
  /** Connections at a time, those being made included. Default `limits.poolConnectionsMax`. */
  readonly connectionsMax?: number;
  /** Requests waiting beyond those that a connection of `connectionsMax` can take. Default `limits.poolPendingMax`. */
  readonly pendingMax?: number;
  /** How long a connection is kept without a request. Default `limits.poolIdleMs`. */
  readonly idleMs?: number;
  /** Default `limits.connectTimeoutMs`. */
  readonly connectTimeoutMs?: number;
}

/** `host`: a name or an address; an IPv6 address with or without brackets. */
export type Http1PoolOptions = Http1PoolSettings & LocalAddress;

export class Http1Pool implements Upstream, ConnectionOwner, StreamOwner, Swept {
  /** Whether the endpoint answers is seen request by request. */
  readonly isAvoided = false;
  readonly stats: UpstreamStats = { connections: 0, idle: 0, pending: 0, opened: 0, connectFailures: 0 };
  protected readonly to: LocalAddress;
  protected readonly timer: CoarseTimer;
  protected readonly now: () => number;
  protected readonly connectionsMax: number;
  private readonly pendingMax: number;
  private readonly idleMs: number;
  private readonly connectTimeoutMs: number;
  /** `net.connect` throws for a port that cannot be, and nothing on this path may throw. */
  private readonly isAddressValid: boolean;
  private isRetired = false;
  /** A stack: the last one is the one used last, so the first is the one idle for longest. */
  protected readonly idle: Http1Connection[] = [];
  /** In the order in which they were started. */
  protected readonly connecting: Http1Connection[] = [];
  protected firstInQueue: Http1Stream | null = null;
  private lastInQueue: Http1Stream | null = null;
  private dueWrites: Http1Stream[] = [];
  private dueFailures: Http1Stream[] = [];
  private isTurnEndDue = false;
  private readonly endTurnBound = () => this.endTurn();

  constructor(options: Http1PoolOptions) {
    this.to = dialAddressOf(options);
    this.isAddressValid = isSocketPath(options) || (options.port >= 1 && options.port <= 65_535);
    this.timer = options.timer;
    this.now = options.now ?? (() => performance.now());
    this.connectionsMax = options.connectionsMax ?? limits.poolConnectionsMax;
    this.pendingMax = options.pendingMax ?? limits.poolPendingMax;
    this.idleMs = options.idleMs ?? limits.poolIdleMs;
    this.connectTimeoutMs = options.connectTimeoutMs ?? limits.connectTimeoutMs;
  }

  get trouble(): string {
    if (!this.isFull()) return '';
    return `its ${this.connectionsMax} connections are busy, and ${this.pendingMax} requests wait for one`;
  }

  /**
   * Sends one request. Fails (through the handler, at the end of the turn) with `internal-error` for a head that cannot be
   * written as one message, and with `pool-full`. How long a request may wait for a connection is its owner's to say, by `destroy`.
   */
  open(
    request: UpstreamRequest,
    handler: UpstreamHandler,
    nowMs: number = this.now(),
    needsFresh = false,
  ): Http1Stream {
    const head = serializeRequest(request);
    const stream = new Http1Stream(this, request, head ?? '', handler, nowMs, needsFresh);
    if (head === null) {
      this.failSoon(stream, failures['internal-error']);
    } else if (!this.isAddressValid) {
      this.failSoon(stream, failures['connect-failed']);
    } else if (this.isFull()) {
      this.failSoon(stream, failures['pool-full'], this.trouble);
    } else {
      this.joinQueue(stream);
      this.endTurnSoon();
    }
    return stream;
  }

  retire(): void {
    this.isRetired = true;
    this.dropIdle();
  }

  /** What runs is its owner's to end, by `destroy` of each stream: by now none does. */
  destroy(): void {
    this.retire();
  }

  private dropIdle(): void {
    while (this.idle.length > 0) this.idle[this.idle.length - 1]!.dispose();
  }

  // --- The turn's end --------------------------------------------------------------------------------------------------------------

  writeSoon(stream: Http1Stream): void {
    if (stream.isWriteDue) return;
    stream.isWriteDue = true;
    this.dueWrites.push(stream);
    this.endTurnSoon();
  }

  failSoon(stream: Http1Stream, failure: Failure, detail = ''): void {
    stream.phase = 'failing';
    stream.failureDetail = detail;
    if (stream.connection !== null) stream.connection.abandon(stream);
    else this.leaveQueue(stream);
    this.reportSoon(stream, failure);
  }

  /** The stream is on no connection any more, and in no queue. */
  protected reportSoon(stream: Http1Stream, failure: Failure): void {
    stream.phase = 'failing';
    stream.failure = failure;
    stream.outbox.clear();
    this.dueFailures.push(stream);
    this.endTurnSoon();
  }

  protected endTurnSoon(): void {
    if (this.isTurnEndDue) return;
    this.isTurnEndDue = true;
    atTurnEnd(this.endTurnBound);
  }

  /** Every callback that is not caused by the socket comes from here, so none runs inside a call of the proxy's. */
  private endTurn(): void {
    this.isTurnEndDue = false;
    if (this.dueWrites.length > 0) this.writeDue();
    this.assignConnections();
    if (this.dueFailures.length > 0) this.reportFailures();
    if (this.isRetired) this.dropIdle();
  }

  private writeDue(): void {
    const due = this.dueWrites;
    this.dueWrites = [];
    for (const stream of due) {
      stream.isWriteDue = false;
      if (stream.phase === 'active') stream.connection!.flush(stream);
    }
  }

  private reportFailures(): void {
    const due = this.dueFailures;
    this.dueFailures = [];
    for (const stream of due) {
      if (stream.phase !== 'failing') continue;
      stream.phase = 'over';
      stream.handler.onFailure(stream.failure!, stream.connection?.isKept === true, stream.failureDetail);
    }
  }

  /** Gives kept connections to the streams that wait, and starts as many as are still missing. */
  private assignConnections(): void {
    if (this.firstInQueue === null) return;
    const nowMs = this.now();
    this.serveQueue(nowMs);
    while (this.stats.pending > this.connecting.length) {
      // What is idle now is of no use to those that still wait, and may be in the way.
      if (this.stats.connections >= this.connectionsMax) this.idle[0]?.dispose();
      if (this.stats.connections >= this.connectionsMax) return;
      this.connect(nowMs);
    }
  }

  /** The streams that wait get the connections that there are. */
  protected serveQueue(nowMs: number): void {
    for (let stream = this.firstToServe(); stream !== null; stream = this.firstToServe()) {
      const connection = this.idle.pop()!;
      this.stats.idle--;
      this.leaveQueue(stream);
      if (!connection.assign(stream, nowMs)) this.joinQueueFirst(stream);
    }
  }

  /** The first stream in the queue that may have the newest idle connection; null: there is none. */
  private firstToServe(): Http1Stream | null {
    const { idle } = this;
    if (idle.length === 0) return null;
    const { isKept } = idle[idle.length - 1]!;
    let stream = this.firstInQueue;
    while (isKept && stream?.needsFresh === true) stream = stream.nextInQueue;
    return stream;
  }

  // --- Connections -----------------------------------------------------------------------------------------------------------------

  private connect(nowMs: number): void {
    this.stats.connections++;
    this.connecting.push(this.startConnection(nowMs));
    this.timer.watch(this);
  }

  protected startConnection(nowMs: number): Http1Connection {
    return new Http1Connection(this, this.to, this.now, nowMs);
  }

  onConnected(connection: Http1Connection): void {
    remove(this.connecting, connection);
    this.stats.opened++;
    this.keep(connection);
    this.assignConnections();
    // Whoever asked for it has left or has another one.
    if (this.idle.includes(connection)) connection.isKept = true;
    if (this.isRetired) this.dropIdle();
  }

  onConnectFailed(connection: Http1Connection, failure: Failure): void {
    remove(this.connecting, connection);
    this.stats.connections--;
    this.stats.connectFailures++;
    // The longest waiting stream pays, unless as many connects as there are streams are still under way.
    const stream = this.firstInQueue;
    if (stream !== null && this.stats.pending > this.connecting.length) this.failSoon(stream, failure);
    if (this.firstInQueue !== null) this.endTurnSoon();
  }

  onReleased(connection: Http1Connection): void {
    connection.isKept = true;
    this.keep(connection);
    if (this.firstInQueue !== null || this.isRetired) this.endTurnSoon();
  }

  onGone(connection: Http1Connection): void {
    this.stats.connections--;
    if (remove(this.idle, connection)) this.stats.idle--;
    if (this.firstInQueue !== null) this.endTurnSoon();
  }

  private keep(connection: Http1Connection): void {
    this.timer.watch(this);
    connection.idleSinceMs = this.timer.nowMs;
    this.idle.push(connection);
    this.stats.idle++;
  }

  onSweep(nowMs: number): boolean {
    while (this.idle.length > 0 && nowMs - this.idle[0]!.idleSinceMs >= this.idleMs) this.idle[0]!.dispose();
    while (this.connecting.length > 0 && nowMs - this.connecting[0]!.startedAtMs >= this.connectTimeoutMs) {
      this.connecting[0]!.giveUp(failures['connect-timeout']);
    }
    return this.idle.length > 0 || this.connecting.length > 0;
  }

  // --- The queue: doubly linked, so that a stream that is destroyed leaves it at once ----------------------------------------------

  /** Streams that a connection can take, kept or still to be made, do not count. */
  private isFull(): boolean {
    const busy = this.stats.connections - this.stats.idle - this.connecting.length;
    return this.stats.pending - (this.connectionsMax - busy) >= this.pendingMax;
  }

  private joinQueue(stream: Http1Stream): void {
    stream.previousInQueue = this.lastInQueue;
    if (this.lastInQueue === null) this.firstInQueue = stream;
    else this.lastInQueue.nextInQueue = stream;
    this.lastInQueue = stream;
    this.stats.pending++;
  }

  protected joinQueueFirst(stream: Http1Stream): void {
    stream.nextInQueue = this.firstInQueue;
    if (this.firstInQueue === null) this.lastInQueue = stream;
    else this.firstInQueue.previousInQueue = stream;
    this.firstInQueue = stream;
    this.stats.pending++;
  }

  /** Does nothing for a stream that is not in the queue. */
  leaveQueue(stream: Http1Stream): void {
    const { nextInQueue: next, previousInQueue: previous } = stream;
    if (previous === null && this.firstInQueue !== stream) return;
    if (previous === null) this.firstInQueue = next;
    else previous.nextInQueue = next;
    if (next === null) this.lastInQueue = previous;
    else next.previousInQueue = previous;
    stream.nextInQueue = null;
    stream.previousInQueue = null;
    this.stats.pending--;
  }
}

function dialAddressOf(address: LocalAddress): LocalAddress {
  if (isSocketPath(address)) return { path: address.path };
  const { host, port } = address;
  return { host: host.startsWith('[') ? host.slice(1, -1) : host, port };
}

/** Oldest entries go first, so the search is short. */
function remove(connections: Http1Connection[], connection: Http1Connection): boolean {
  const index = connections.indexOf(connection);
  if (index < 0) return false;
  connections.splice(index, 1);
  return true;
}
