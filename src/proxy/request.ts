/**
 * The two faces between a listener and the proxy. A listener checks a request head once (`head-check.ts`), hands it over with a
 * `Downstream` to answer through, and from then on reports what the client sends. It never routes and never retries.
 */
import type { HostPort, LocalAddress } from '../model/host-port.ts';
import type { ListenerLimits } from '../model/listener-limits.ts';
import type { HopTiming } from '../telemetry/ledger.ts';
import type { Failure } from './failure.ts';
import type { HeaderList } from './headers.ts';
import type { PathPolicy } from './path.ts';

/** A request head that was checked: whatever is here is valid and framed unambiguously. */
export interface RequestHead {
  /** As sent, out of the allow-list, upper case. */
  readonly method: string;
  /** Normalised path, starts with `/`, without query. Routing, authorization and cache keys use this and nothing else. */
  readonly path: string;
  /** What is forwarded unless a filter rewrites it: `path`, or the path as it came where the listener's paths are `raw`. */
  readonly forwardedPath: string;
  /** With its `?`, as sent; empty without one. */
  readonly query: string;
  /** Lower case, without port and without a trailing dot. */
  readonly host: string;
  /** The Host field as sent (or the authority of an absolute-form target), which is forwarded. */
  readonly authority: string;
  /** The client speaks HTTP/1.0. */
  readonly isHttp10: boolean;
  /** End-to-end fields, in order; hop-by-hop, Connection-nominated, framing fields, Host and Expect are gone. */
  readonly headers: HeaderList;
  /** 0: none. -1: chunked. */
  readonly bodyBytes: number;
  /** The calling Service as its certificate proves it, `web.default`; empty where the caller has none. */
  readonly source: string;
  /** IP address of the peer, without port; empty: it has none, as at a unix socket. */
  readonly sourceAddress: string;
  /** `performance.now()` when the listener's callback for this head began. */
  readonly readAtMs: number;
  /** How long the event loop kept it waiting before that, ms: an estimate, see telemetry/loop-delay.ts. */
  readonly loopMs: number;
}

export interface AnswerHead {
  readonly status: number;
  readonly reason: string;
  /** End-to-end fields; no Content-Length, no Transfer-Encoding. Date is the listener's to send exactly once. */
  readonly headers: HeaderList;
  /** -1: not known, frame it as chunked. */
  readonly bodyBytes: number;
  /** False for HEAD, 204, 304: nothing but `end` follows. Then `bodyBytes` >= 0 may still be said as Content-Length (HEAD, 304). */
  readonly hasBody: boolean;
  /** The request is not read to its end: its connection closes behind this answer, which is given as a whole within one turn. Absent: no. */
  readonly endsConnection?: boolean;
}

/** How the proxy answers one request. Implemented by each listener; calls after `end` or `abort`, or after the client went, do nothing. */
export interface Downstream {
  /** The caller is a sidecar that is told what this hop took: `timing` is never null then, unless no proxy answers. */
  readonly wantsTiming: boolean;
  /** At most once. The listener may hold it until the end of the turn to join it with the body in one write. `timing`: until now. */
  head(head: AnswerHead, timing: HopTiming | null): void;
  /** False: stop until `onDownstreamWritable`. The chunk is written or copied by the end of the microtasks behind the call. */
  body(chunk: Uint8Array): boolean;
  end(trailers: HeaderList, timing: HopTiming | null): void;
  /** Takes the answer back when nothing of it has left: true, and another may be given. */
  retract(): boolean;
  /** Cuts the connection, so that an incomplete answer can never be taken for a complete one. */
  abort(): void;
  /** Stops and starts the arrival of request body bytes. */
  pauseRequest(): void;
  resumeRequest(): void;
}

/** How the listener reports what the client does. */
export interface RequestReceiver {
  /** The chunk is only valid during the call. */
  onRequestBody(chunk: Uint8Array): void;
  /** Exactly once for every request, also without a body, unless the client goes first. Never during `accept`. */
  onRequestEnd(trailers: HeaderList): void;
  /** The client closed or broke the framing of the body before the answer was complete. Nothing follows. */
  onClientGone(): void;
  onDownstreamWritable(): void;
  /** The head that was given cannot be sent as it is, and nothing of it has left: another one may be given before this returns, else the client is cut. */
  onAnswerRefused(): void;
}

/** What a listener needs of the proxy. */
export interface RequestAcceptor {
  accept(head: RequestHead, downstream: Downstream): RequestReceiver;
}

/** `connection-used-up`: it has had its last request, and that is no failure. `answer-unread`: its client takes nothing of an answer that the proxy has done with. */
export type ConnectionEnd = 'connection-used-up' | 'answer-unread';

/**
 * The request that was not to be, as far as its head could be told apart, each bounded by `limits.refusalDetailCharsMax`. It is what the
 * client sent and nobody has judged: for the log only, where it is a JSON string.
 */
export interface RefusedRequest {
  /** Absent: it is no token. */
  readonly method?: string;
  /** The Host field as it came. */
  readonly host?: string;
  /** As it came, without query. */
  readonly path?: string;
}

/** What is known of a head that was refused. */
export interface RefusedHeadFacts {
  readonly detail: string;
  /** Null, absent: nothing is known of it. */
  readonly request?: RefusedRequest | null;
  /** As in the answer; empty: there is none. */
  readonly requestId: string;
  /** See RequestHead. */
  readonly sourceAddress: string;
  /** See RequestHead. Absent: nobody proved anything. */
  readonly source?: string;
}

export interface ListenerSettings {
  /** Default: `normalise`. */
  readonly paths?: PathPolicy;
  readonly acceptor: RequestAcceptor;
  /** Default: `defaultListenerLimits`. Those of bodies are the acceptor's to keep. */
  readonly limits?: ListenerLimits;
  /** Counts a head that was refused before it became a request, and logs it; without `head`, a connection of which nothing was read. */
  readonly onRefused: (failure: Failure, head?: RefusedHeadFacts) => void;
  /** Counts a connection that was closed for a limit that no request met, by a word for the metrics. Default: nobody counts. */
  readonly onConnectionEnded?: (code: ConnectionEnd) => void;
  /** How long a request waited for this event loop whose callback began at `nowMs`, ms: `RequestHead.loopMs`. Default: 0. */
  readonly loopDelay?: (nowMs: number) => number;
  /** Request ids of answers to refused heads, which have no trace. Default: random. */
  readonly newRequestId?: () => string;
}

/** Port 0: any free port. */
export type ListenerOptions = ListenerSettings & HostPort;
/** A listener that can be at a unix socket instead. */
export type LocalListenerOptions = ListenerSettings & LocalAddress;

export interface Listener {
  /** As bound: `HOST:PORT`, or `unix:/PATH`. */
  readonly address: string;
  readonly connections: number;
  /**
   * Drain: no new connection is accepted, and every further answer says `Connection: close`. Idle connections stay for the request that
   * may be on its way on them: their client, or `close`, ends them.
   */
  drain(): void;
  /** Closes everything still open. Resolves when nothing is left. */
  close(): Promise<void>;
}
