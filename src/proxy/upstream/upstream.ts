/**
 * What the proxy asks of a way to an endpoint. The HTTP/1.1 pool implements it, and the link. It speaks of streams, not of
 * request/response pairs: both directions flow on their own until each has ended.
 */
import type { FarTiming } from '../../telemetry/ledger.ts';
import type { Failure } from '../failure.ts';
import type { HeaderList } from '../headers.ts';

export interface UpstreamRequest {
  readonly method: string;
  /** Origin form, as it is to be sent. */
  readonly target: string;
  /** Complete and final but for framing: the upstream adds Content-Length or Transfer-Encoding and nothing else. */
  readonly headers: HeaderList;
  /** Method, target and fields are as a listener's check left them, or are Weft's own words: nothing in them can end a line or frame a message. */
  readonly isChecked: boolean;
  /** Exact length of the body; 0 is none (and no Content-Length unless `sendsZeroLength`); -1 is unknown: chunked. */
  readonly bodyBytes: number;
  /** A method that usually has a body says Content-Length: 0 when it has none (RFC 9110 section 8.6). */
  readonly sendsZeroLength: boolean;
}

export interface UpstreamHead {
  readonly status: number;
  readonly reason: string;
  /** Without hop-by-hop and framing fields; Content-Length is in `bodyBytes`. */
  readonly headers: HeaderList;
  /** -1: unknown until the end. For HEAD and 304 what the origin said (or -1), with `hasBody` false. */
  readonly bodyBytes: number;
  readonly hasBody: boolean;
  /** What the far sidecar took until here; null where there is none, or it does not say. */
  readonly far: FarTiming | null;
}

/**
 * How a stream reports back. Order: onAssigned? onHead onBody* onEnd, or onFailure at any point; after onEnd or onFailure nothing more.
 * Callbacks never run inside `open`.
 */
export interface UpstreamHandler {
  /** A connection is assigned and the head is being written, at `nowMs` of `performance.now()`. Others in ms; `connectMs` (TCP) and `tlsMs` (the handshake after it) 0 when it was kept. `isReused`: a kept connection. */
  onAssigned(queueMs: number, connectMs: number, isReused: boolean, nowMs: number, tlsMs: number): void;
  onHead(head: UpstreamHead): void;
  /** The chunk is only valid during the call and the microtasks right behind it: copy what must be kept. */
  onBody(chunk: Uint8Array): void;
  /** Trailers as a header list; empty when there were none. */
  onEnd(trailers: HeaderList, far: FarTiming | null): void;
  /** `detail`: what is known of it beyond the failure, for people; absent or empty: nothing. */
  onFailure(failure: Failure, isReusedConnection: boolean, detail?: string): void;
  /** After `write` returned false: there is room again. */
  onWritable(): void;
}

export interface UpstreamStream {
  /** Sends body bytes; they are written or copied before it returns. False: stop until onWritable. */
  write(chunk: Uint8Array): boolean;
  /** The request body is complete. Called once, also for no body. `trailers` leave where the request is chunked, or on a link; they were checked. */
  end(trailers?: HeaderList): void;
  /** Ends the stream at once; the connection is not used again unless it was done. No callback follows. */
  destroy(): void;
  pauseReading(): void;
  resumeReading(): void;
}

/** One endpoint, seen from one event loop. */
export interface Upstream {
  /** Another endpoint is better chosen, if there is one: this one drains, or could not be reached a moment ago. */
  readonly isAvoided: boolean;
  /** What speaks against this endpoint now, for people; empty: nothing. Built when it is asked for. */
  readonly trouble: string;
  /** `nowMs`: `performance.now()`. `needsFresh`: not on a kept connection of one request at a time, which the endpoint may have closed by now. */
  open(request: UpstreamRequest, handler: UpstreamHandler, nowMs: number, needsFresh?: boolean): UpstreamStream;
  /** The endpoint left the configuration: idle connections close now, the others after their request. */
  retire(): void;
  /** Ends everything now; requests under way fail. */
  destroy(): void;
  readonly stats: UpstreamStats;
}

/** Gauges and counters, plain numbers updated in place. */
export interface UpstreamStats {
  connections: number;
  idle: number;
  pending: number;
  opened: number;
  connectFailures: number;
}
