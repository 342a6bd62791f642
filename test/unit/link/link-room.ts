/** Both ends of a link for tests: a peer that speaks in frames and breaks every rule it likes, and a caller and a callee with a clock of the test's. */
import net from 'node:net';
import { defaultListenerLimits, type ListenerLimits } from '../../../src/model/listener-limits.ts';
import { CoarseTimer } from '../../../src/proxy/coarse-timer.ts';
import type { Failure } from '../../../src/proxy/failure.ts';
import { headerList } from '../../../src/proxy/headers.ts';
import { FrameParser } from '../../../src/proxy/link/frame-parser.ts';
import { frameHeaderBytes, frameType } from '../../../src/proxy/link/frames.ts';
import { type CallerRefusal, createLinkListener } from '../../../src/proxy/link/link-server.ts';
import type { LinkSecurity } from '../../../src/proxy/link/link-socket.ts';
import { LinkUpstream, type LinkUpstreamOptions } from '../../../src/proxy/link/link-upstream.ts';
import type { Listener, RefusedHeadFacts, RequestAcceptor } from '../../../src/proxy/request.ts';
import type { UpstreamRequest } from '../../../src/proxy/upstream/upstream.ts';
import { FakeProxy } from '../listener/listener-fakes.ts';
import { decodeHead, encodeEnd, encodeHead, encodeOpen } from './payload-text.ts';

const nobodyWaitsMs = 10_000;

/** Resolves as soon as it holds, asked once a turn of the loop; rejects, with what was waited for, when it never does. */
export async function until(isTrue: () => boolean, what = isTrue.toString()): Promise<void> {
  const startedAtMs = performance.now();
  while (!isTrue()) {
    if (performance.now() - startedAtMs > nobodyWaitsMs) throw new Error(`it never came: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Turns of the loop, for what must not happen: each lets the kernel hand over what lies ready. */
export async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

export function frame(type: number, stream: number, payload: string | Uint8Array = ''): Buffer {
  const body = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload;
  const header = Buffer.alloc(frameHeaderBytes);
  header.writeUIntBE(body.length, 0, 3);
  header[3] = type;
  header.writeUInt32BE(stream, 4);
  return Buffer.concat([header, body]);
}

const number32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** Frames as bytes, by name. */
export const frames = {
  settings: frame(frameType.settings, 0, 'WEFT\x01\x01'),
  open: (stream: number, bodyBytes = 0, headers: readonly string[] = ['Host', 'cart'], method = 'GET', target = '/') =>
    frame(frameType.open, stream, encodeOpen(method, target, headers, bodyBytes)),
  head: (stream: number, status = 200, bodyBytes = 0, headers: readonly string[] = [], hasBody = true) =>
    frame(frameType.head, stream, encodeHead({ status, reason: 'OK', headers, bodyBytes, hasBody })),
  data: (stream: number, bytes: number | Uint8Array) =>
    frame(frameType.data, stream, typeof bytes === 'number' ? Buffer.alloc(bytes, 'd') : bytes),
  end: (stream: number, trailers: readonly string[] = []) => frame(frameType.end, stream, encodeEnd(trailers, null)),
  reset: (stream: number, reason: number) => frame(frameType.reset, stream, Buffer.of(reason)),
  credit: (stream: number, bytes: number) => frame(frameType.credit, stream, number32(bytes)),
  ping: () => frame(frameType.ping, 0, Buffer.alloc(8, 'p')),
  pong: () => frame(frameType.pong, 0, Buffer.alloc(8)),
  goaway: (reason: number, lastStream: number, text = '') =>
    frame(frameType.goaway, 0, Buffer.concat([number32(lastStream), Buffer.of(reason), Buffer.from(text)])),
};

export interface ReadFrame {
  readonly type: number;
  readonly stream: number;
  /** Of DATA only the first bytes that arrived in one piece. */
  readonly payload: Buffer;
}

/** One end of a connection that says what the test wants and notes what it hears. */
export class RawPeer {
  readonly heard: ReadFrame[] = [];
  dataBytes = 0;
  isClosed = false;
  private readonly dataByStream = new Map<number, number>();

  constructor(readonly socket: net.Socket) {
    const parser = new FrameParser({
      onData: (stream, piece) => {
        this.hearData(stream, piece);
        return null;
      },
      onFrame: (type, stream, bytes, start, end) => {
        const payload = Buffer.from(bytes.subarray(start, end));
        this.heard.push({ type, stream, payload });
        if (type === frameType.head) this.hearJoined(stream, payload);
        return null;
      },
    });
    socket.setNoDelay(true);
    socket.on('data', (bytes) => {
      const fault = parser.feed(bytes);
      if (fault !== null) throw new Error(`the link itself sent what is no frame: ${fault}`);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      this.isClosed = true;
    });
  }

  static async connect(address: string): Promise<RawPeer> {
    const [host, port] = address.split(':') as [string, string];
    const socket = net.connect({ host, port: Number(port) });
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new RawPeer(socket);
  }

  private hearData(stream: number, piece: Buffer): void {
    this.dataBytes += piece.length;
    this.dataByStream.set(stream, this.dataOf(stream) + piece.length);
    this.heard.push({ type: frameType.data, stream, payload: Buffer.from(piece.subarray(0, 16)) });
  }

  /** What lies in the frame of a head is heard like the frames that it stands for. */
  private hearJoined(stream: number, payload: Buffer): void {
    const head = decodeHead(payload.toString('latin1'));
    if (head === null) throw new Error('the link itself sent a HEAD that cannot be read');
    if (head.data !== null) this.hearData(stream, Buffer.from(head.data, 'latin1'));
    if (head.endsStream) this.heard.push({ type: frameType.end, stream, payload: Buffer.alloc(0) });
  }

  dataOf(stream: number): number {
    return this.dataByStream.get(stream) ?? 0;
  }

  send(...chunks: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(chunks));
  }

  all(type: number, stream?: number): ReadFrame[] {
    return this.heard.filter((found) => found.type === type && (stream === undefined || found.stream === stream));
  }

  async next(type: number, stream?: number): Promise<ReadFrame> {
    await until(() => this.all(type, stream).length > 0, `a frame of type ${type}`);
    return this.all(type, stream)[0]!;
  }

  /** The GOAWAY that it heard. */
  async goaway(): Promise<{ reason: number; lastStream: number; text: string }> {
    const { payload } = await this.next(frameType.goaway);
    return {
      lastStream: payload.readUInt32BE(0),
      reason: payload[4]!,
      text: payload.toString('latin1', 5),
    };
  }

  closed(): Promise<void> {
    return until(() => this.isClosed, 'the end of the connection');
  }
}

export const getCart: UpstreamRequest = {
  method: 'GET',
  target: '/',
  headers: headerList(['Host', 'cart']),
  isChecked: false,
  bodyBytes: 0,
  sendsZeroLength: false,
};
export const postCart = (bodyBytes: number): UpstreamRequest => ({ ...getCart, method: 'POST', bodyBytes });

const noSweepMs = 1_000_000_000;
const insecure: LinkSecurity = { tag: 'insecure' };

/** Time stands still in it until the test moves it; everything that it opened is closed by `close`. */
export class LinkRoom {
  nowMs = 1_000;
  /** Ms since the epoch. */
  wallMs = Date.now();
  random = 0;
  readonly timer = new CoarseTimer(() => this.nowMs, noSweepMs);
  readonly troubles: { address: string; code: string; detail: string }[] = [];
  readonly callerRefusals: { reason: CallerRefusal; caller: string; detail: string }[] = [];
  readonly refusedHeads: Failure[] = [];
  readonly refusedFacts: (RefusedHeadFacts | undefined)[] = [];
  private readonly closers: (() => unknown)[] = [];

  /** Moves time on, and lets the timers see it. */
  async pass(ms: number): Promise<void> {
    this.nowMs += ms;
    this.timer.sweep();
    await turns(5);
  }

  /** A callee with a proxy that does what the test says. */
  async listen(
    security: LinkSecurity = insecure,
    now: () => number = () => this.nowMs,
    limits: Partial<ListenerLimits> = {},
    acceptor?: RequestAcceptor,
  ): Promise<{ listener: Listener; proxy: FakeProxy; address: string }> {
    const proxy = new FakeProxy();
    const listener = await createLinkListener({
      host: '127.0.0.1',
      port: 0,
      acceptor: acceptor ?? proxy,
      limits: { ...defaultListenerLimits.link, ...limits },
      security,
      timer: this.timer,
      now,
      onRefused: (failure, head) => {
        this.refusedHeads.push(failure);
        this.refusedFacts.push(head);
      },
      onCallerRefused: (reason, caller, detail) => this.callerRefusals.push({ reason, caller, detail }),
      newRequestId: () => 'id-of-test',
    });
    this.closers.push(() => listener.close());
    return { listener, proxy, address: listener.address };
  }

  /** A callee that is nothing but bytes. */
  async listenRaw(
    onPeer: (peer: RawPeer) => void = () => {},
  ): Promise<{ address: string; peers: RawPeer[]; close: () => void }> {
    const peers: RawPeer[] = [];
    const server = net.createServer((socket) => {
      const peer = new RawPeer(socket);
      peers.push(peer);
      onPeer(peer);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const close = () => {
      for (const { socket } of peers) socket.destroy();
      server.close();
    };
    this.closers.push(close);
    return { address: `127.0.0.1:${(server.address() as net.AddressInfo).port}`, peers, close };
  }

  /** A callee that takes connections and never says anything. */
  async listenDeaf(): Promise<string> {
    const sockets: net.Socket[] = [];
    const server = net.createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {}).resume();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.closers.push(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return `127.0.0.1:${(server.address() as net.AddressInfo).port}`;
  }

  upstream(address: string | readonly string[], changes: Partial<LinkUpstreamOptions> = {}): LinkUpstream {
    const upstream = new LinkUpstream({
      addresses: typeof address === 'string' ? [address] : address,
      identity: '/ns/default/sa/cart',
      security: insecure,
      timer: this.timer,
      now: () => this.nowMs,
      wallMs: () => this.wallMs,
      random: () => this.random,
      onTrouble: (where, { code }, detail) => this.troubles.push({ address: where, code, detail }),
      ...changes,
    });
    this.closers.push(() => upstream.destroy());
    return upstream;
  }

  async connect(address: string): Promise<RawPeer> {
    const peer = await RawPeer.connect(address);
    this.closers.push(() => peer.socket.destroy());
    return peer;
  }

  async close(): Promise<void> {
    for (const closer of this.closers.reverse()) await closer();
    this.timer.sweep();
  }
}
