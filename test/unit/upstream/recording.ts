/** A handler that records what a stream reports, and an origin on a raw socket, for the tests of the pool. */
import { once } from 'node:events';
import net from 'node:net';
import { CoarseTimer } from '../../../src/proxy/coarse-timer.ts';
import { type HeaderList, headerList, textsOf } from '../../../src/proxy/headers.ts';
import { Http1Pool, type Http1PoolOptions } from '../../../src/proxy/upstream/http1-pool.ts';
import type { UpstreamHandler, UpstreamHead, UpstreamRequest } from '../../../src/proxy/upstream/upstream.ts';
import type { HopTiming } from '../../../src/telemetry/ledger.ts';

/** With its fields as names and values in turn. */
export type HeadText = Omit<UpstreamHead, 'headers'> & { readonly headers: readonly string[] };

export class Recording implements UpstreamHandler {
  events: string[] = [];
  head: HeadText | null = null;
  body = '';
  bodyBytes = 0;
  keepsBody = true;
  trailers: readonly string[] | null = null;
  /** What the far side said of its time at the end. */
  far: HopTiming | null = null;
  failure = '';
  isReused: boolean | null = null;
  queueMs = -1;
  connectMs = -1;
  tlsMs = -1;
  endings = 0;
  onBodyHook: ((chunk: Uint8Array) => void) | null = null;
  onHeadHook: (() => void) | null = null;
  onWritableHook: (() => void) | null = null;
  onAssignedHook: (() => void) | null = null;
  readonly ended: Promise<this>;
  readonly headed: Promise<this>;
  private settleEnded!: (self: this) => void;
  private settleHeaded!: (self: this) => void;

  constructor() {
    this.ended = new Promise((settle) => {
      this.settleEnded = settle;
    });
    this.headed = new Promise((settle) => {
      this.settleHeaded = settle;
    });
  }

  onAssigned(queueMs: number, connectMs: number, isReused: boolean, _nowMs: number, tlsMs: number): void {
    this.note('assigned');
    this.queueMs = queueMs;
    this.connectMs = connectMs;
    this.tlsMs = tlsMs;
    this.isReused = isReused;
    this.onAssignedHook?.();
  }
  onHead(head: UpstreamHead): void {
    this.note('head');
    this.head = { ...head, headers: textsOf(head.headers) };
    this.settleHeaded(this);
    this.onHeadHook?.();
  }
  onBody(chunk: Uint8Array): void {
    if (this.events.at(-1) !== 'body') this.note('body');
    this.bodyBytes += chunk.length;
    if (this.keepsBody) this.body += Buffer.from(chunk).toString('latin1');
    this.onBodyHook?.(chunk);
  }
  onEnd(trailers: HeaderList, far: HopTiming | null): void {
    this.note('end');
    this.far = far;
    this.trailers = textsOf(trailers);
    this.finish();
  }
  onFailure(failure: { code: string }, isReused: boolean): void {
    this.note(`failure ${failure.code}`);
    this.failure = failure.code;
    this.isReused = isReused;
    this.finish();
  }
  onWritable(): void {
    this.onWritableHook?.();
  }

  private note(event: string): void {
    if (this.endings > 0) throw new Error(`${event} after ${this.events.join(', ')}`);
    this.events.push(event);
  }
  private finish(): void {
    this.endings++;
    this.settleEnded(this);
  }
}

export const get: UpstreamRequest = {
  method: 'GET',
  target: '/',
  headers: headerList(['Host', 'origin']),
  isChecked: false,
  bodyBytes: 0,
  sendsZeroLength: false,
};

export const okEmpty = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n';

export interface Origin {
  readonly port: number;
  readonly sockets: net.Socket[];
  accepted: number;
  close(): void;
}

/** Listens on a free port and hands every connection to `serve`. */
export async function startOrigin(serve: (socket: net.Socket) => void, host = '127.0.0.1'): Promise<Origin> {
  const sockets: net.Socket[] = [];
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    origin.accepted++;
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.splice(sockets.indexOf(socket), 1));
    serve(socket);
  });
  server.listen(0, host);
  await once(server, 'listening');
  const origin: Origin = {
    port: (server.address() as net.AddressInfo).port,
    sockets,
    accepted: 0,
    close: () => {
      server.close();
      for (const socket of sockets.slice()) socket.destroy();
    },
  };
  return origin;
}

/** An origin that answers each head without a body by `answer`, which sees the head. */
export function startReplyingOrigin(
  answer: (head: string, socket: net.Socket) => void,
  host?: string,
): Promise<Origin> {
  return startOrigin((socket) => {
    let text = '';
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end + 4);
        text = text.slice(end + 4);
        answer(head, socket);
      }
    });
    socket.on('end', () => socket.end());
  }, host);
}

export function makePool(port: number, options: Partial<Http1PoolOptions> = {}): Http1Pool {
  return new Http1Pool({
    host: '127.0.0.1',
    port,
    timer: new CoarseTimer(() => performance.now(), 250),
    ...options,
  });
}

export async function fetchOnce(pool: Http1Pool, request: Partial<UpstreamRequest> = {}): Promise<Recording> {
  const recording = new Recording();
  pool.open({ ...get, ...request }, recording).end();
  return recording.ended;
}

/** Waits until `holds`, looking once a turn of the loop; the test's own timeout bounds it. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((settle) => setImmediate(settle));
}

/** A port on which nothing listens. */
export async function deadPort(): Promise<number> {
  const origin = await startOrigin(() => {});
  origin.close();
  return origin.port;
}
