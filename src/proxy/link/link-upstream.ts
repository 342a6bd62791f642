/**
 * The way to one endpoint over the link: a connection to each of its addresses (one for each of its event loops), dialled when first
 * needed, and the requests that wait for one. Implements what the HTTP/1.1 pool implements for endpoints without a sidecar.
 */

import { splitAddress } from '../../model/host-port.ts';
import { limits } from '../../model/limits.ts';
import { atTurnEnd } from '../../telemetry/loop-turn.ts';
import type { Swept } from '../coarse-timer.ts';
import { type Failure, failures } from '../failure.ts';
import type {
  Upstream,
  UpstreamHandler,
  UpstreamRequest,
  UpstreamStats,
  UpstreamStream,
} from '../upstream/upstream.ts';
import { headPayloadMax } from './frames.ts';
import type { LinkEnvironment } from './link-client.ts';
import { LinkPath, type PathOwner } from './link-path.ts';
import { LinkRequest, type RequestOwner } from './link-request.ts';

export interface LinkUpstreamOptions extends LinkEnvironment {
  /** `HOST:PORT`, at least one. */
  readonly addresses: readonly string[];
  /** What the peer must be: a SPIFFE ID, or a path within our own trust domain. */
  readonly identity: string;
}

export class LinkUpstream implements Upstream, RequestOwner, PathOwner, Swept {
  readonly stats: UpstreamStats = { connections: 0, idle: 0, pending: 0, opened: 0, connectFailures: 0 };
  private readonly environment: LinkEnvironment;
  private readonly paths: readonly LinkPath[];
  /** Requests without a link, oldest first. Bounded by `limits.poolPendingMax`. */
  private readonly waiting = new Set<LinkRequest>();
  private dueFailures: { readonly request: LinkRequest; readonly failure: Failure; readonly detail: string }[] = [];
  private isTurnEndDue = false;
  private isRetired = false;
  private nextPath = 0;
  private readonly endTurnBound = () => this.endTurn();

  constructor(options: LinkUpstreamOptions) {
    this.environment = options;
    this.paths = options.addresses.map(
      (address) => new LinkPath(address, { ...splitAddress(address), identity: options.identity }, options, this),
    );
  }

  get isAvoided(): boolean {
    const { paths } = this;
    for (let i = 0; i < paths.length; i++) if (!paths[i]!.isAvoided) return false;
    return true;
  }

  get trouble(): string {
    for (const { trouble } of this.paths) if (trouble !== '') return trouble;
    return '';
  }

  open(request: UpstreamRequest, handler: UpstreamHandler, nowMs: number = this.environment.now()): UpstreamStream {
    const stream = new LinkRequest(this, request, handler, nowMs);
    // Filters add to heads that were checked before: the request is too large, not the link's fault.
    if (request.headers.length > limits.linkFieldsMax || stream.openBytesMax > headPayloadMax) {
      this.failSoon(stream, failures['headers-too-large']);
      return stream;
    }
    const path = this.openPath();
    if (path !== null) path.current!.open(stream);
    else this.wait(stream);
    return stream;
  }

  /** The open path with the fewest streams; they take turns between equals. Null: none is open, or all are full. */
  private openPath(): LinkPath | null {
    const { paths } = this;
    let best: LinkPath | null = null;
    const { length } = paths;
    for (let i = 0; i < length; i++) {
      const path = paths[(this.nextPath + i) % length]!;
      const { current } = path;
      if (current === null || current.isFull) continue;
      if (best === null || current.streams < best.current!.streams) best = path;
    }
    if (length > 1) this.nextPath++;
    return best;
  }

  private wait(stream: LinkRequest): void {
    const isFull = this.waiting.size >= limits.poolPendingMax || this.paths.some(({ current }) => current !== null);
    if (this.isRetired || isFull) {
      const runs = `${limits.linkStreamsMax} requests run on its link`;
      const waits = `${limits.poolPendingMax} requests wait for its link`;
      this.failSoon(stream, failures['pool-full'], this.waiting.size >= limits.poolPendingMax ? waits : runs);
      return;
    }
    const isSetAside = this.isAvoided;
    for (const path of this.paths) path.dial();
    if (!this.paths.some((path) => path.isComing)) {
      const { lastFailure, lastDetail } = this.paths[0]!;
      this.failSoon(stream, lastFailure, isSetAside ? `set aside for a moment: ${lastDetail}` : lastDetail);
      return;
    }
    this.waiting.add(stream);
    this.stats.pending = this.waiting.size;
    this.environment.timer.watch(this);
  }

  /** The request is given up by its owner. */
  leave(request: LinkRequest): void {
    this.waiting.delete(request);
    this.stats.pending = this.waiting.size;
  }

  retire(): void {
    this.isRetired = true;
    for (const path of this.paths) path.retire();
    for (const request of this.waiting) this.failSoon(request, failures['no-endpoint']);
    this.waiting.clear();
  }

  /** Ends everything now. */
  destroy(): void {
    this.retire();
    for (const path of this.paths) path.destroy();
  }

  // --- From the paths -------------------------------------------------------------------------------------------------------------------

  onPathOpen(path: LinkPath): void {
    this.environment.timer.watch(this);
    for (const request of this.waiting) {
      const { current } = path;
      if (current === null || current.isFull) break;
      this.waiting.delete(request);
      current.open(request);
    }
    this.stats.pending = this.waiting.size;
    if (this.isRetired) path.retire();
  }

  onPathFailed(_path: LinkPath, failure: Failure, detail: string): void {
    if (this.paths.some(({ isComing, current }) => isComing || current !== null)) return;
    for (const request of this.waiting) this.failSoon(request, failure, detail);
    this.waiting.clear();
    this.stats.pending = 0;
  }

  onDialled(hasFailed: boolean): void {
    if (hasFailed) this.stats.connectFailures++;
    else this.stats.opened++;
  }

  onSweep(nowMs: number): boolean {
    let connections = 0;
    let idle = 0;
    let isBusy = this.waiting.size > 0;
    for (const path of this.paths) {
      path.sweep(nowMs);
      connections += path.connections;
      if (path.current?.streams === 0) idle++;
      isBusy ||= path.isBusy;
    }
    this.stats.connections = connections;
    this.stats.idle = idle;
    if (this.paths.length > 1 && connections > idle) this.redial();
    return isBusy;
  }

  /** An event loop of the far side whose link was lost, or could not be made at first, gets its share again. */
  private redial(): void {
    if (this.isRetired) return;
    for (const path of this.paths) if (!path.isAvoided) path.dial();
  }

  // --- Failures are told at the end of the turn: never inside `open` ----------------------------------------------------------------------

  private failSoon(request: LinkRequest, failure: Failure, detail = ''): void {
    this.dueFailures.push({ request, failure, detail });
    if (this.isTurnEndDue) return;
    this.isTurnEndDue = true;
    atTurnEnd(this.endTurnBound);
  }

  private endTurn(): void {
    this.isTurnEndDue = false;
    const due = this.dueFailures;
    this.dueFailures = [];
    for (const { request, failure, detail } of due) request.fail(failure, detail);
  }
}
