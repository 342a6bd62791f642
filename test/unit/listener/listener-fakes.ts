/** A raw client, and an acceptor that does what the test says, for the tests of both listeners. */
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach } from 'vitest';
import { defaultListenerLimits, type ListenerLimits } from '../../../src/model/listener-limits.ts';
import type { Failure } from '../../../src/proxy/failure.ts';
import { type HeaderList, textsOf } from '../../../src/proxy/headers.ts';
import { createEdgeListener } from '../../../src/proxy/listener/edge.ts';
import { createUwsListener, type UwsListenerOptions } from '../../../src/proxy/listener/uws.ts';
import type {
  AnswerHead,
  ConnectionEnd,
  Downstream,
  Listener,
  RefusedHeadFacts,
  RequestAcceptor,
  RequestHead,
  RequestReceiver,
} from '../../../src/proxy/request.ts';

export type ListenerKind = 'uws' | 'edge';
export const kinds: readonly ListenerKind[] = ['uws', 'edge'];

/** One accepted request: what the listener reported, and the way to answer it. */
export class Call implements RequestReceiver {
  body = '';
  bodyBytes = 0;
  ends = 0;
  gone = 0;
  writable = 0;
  refusals = 0;
  /** Names and values in turn. */
  trailers: string[] = [];
  onChunk: (chunk: Uint8Array) => void = () => {};
  onRefused: () => void = () => {};
  whenChanged: () => void = () => {};

  constructor(
    readonly head: RequestHead,
    readonly downstream: Downstream,
  ) {}

  onRequestBody(chunk: Uint8Array): void {
    this.bodyBytes += chunk.byteLength;
    if (this.bodyBytes <= 100_000) this.body += Buffer.from(chunk).toString('latin1');
    this.onChunk(chunk);
    this.whenChanged();
  }
  onRequestEnd(trailers: HeaderList): void {
    this.ends++;
    this.trailers = textsOf(trailers);
    this.whenChanged();
  }
  onClientGone(): void {
    this.gone++;
    this.whenChanged();
  }
  onDownstreamWritable(): void {
    this.writable++;
    this.whenChanged();
  }
  onAnswerRefused(): void {
    this.refusals++;
    this.onRefused();
    this.whenChanged();
  }

  answer(head: Partial<AnswerHead>, ...chunks: (string | Uint8Array)[]): void {
    const parts = chunks.map((chunk) => Buffer.from(chunk));
    this.downstream.head({ ...plain, bodyBytes: Buffer.concat(parts).byteLength, ...head }, null);
    for (const part of parts) this.downstream.body(part);
    this.downstream.end([], null);
  }

  /** Resolves when `isTrue` holds; asked again at every report. */
  until(isTrue: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.whenChanged = () => {
        if (isTrue()) resolve();
      };
      this.whenChanged();
    });
  }
}

export const plain: AnswerHead = { status: 200, reason: 'OK', headers: [], bodyBytes: 0, hasBody: true };

export class FakeProxy implements RequestAcceptor {
  readonly calls: Call[] = [];
  /** True while `accept` runs. */
  isAccepting = false;
  private readonly waiting: ((call: Call) => void)[] = [];
  /** Runs inside `accept`. */
  onAccept: (call: Call) => void = () => {};

  accept(head: RequestHead, downstream: Downstream): RequestReceiver {
    const call = new Call(head, downstream);
    this.calls.push(call);
    this.isAccepting = true;
    this.onAccept(call);
    this.isAccepting = false;
    const waiter = this.waiting.shift();
    if (waiter !== undefined) queueMicrotask(() => waiter(call));
    return call;
  }

  /** The next request to be accepted from now on. */
  nextCall(): Promise<Call> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }
}

export interface Bench {
  readonly proxy: FakeProxy;
  readonly listener: Listener;
  readonly refused: Failure[];
  readonly refusedHeads: (RefusedHeadFacts | undefined)[];
  readonly ended: ConnectionEnd[];
  readonly host: string;
  readonly port: number;
}

export async function openBench(
  kind: ListenerKind,
  port = 0,
  limits: Partial<ListenerLimits> = {},
  acceptor?: RequestAcceptor,
  more: Partial<UwsListenerOptions> = {},
): Promise<Bench> {
  const proxy = new FakeProxy();
  const refused: Failure[] = [];
  const refusedHeads: (RefusedHeadFacts | undefined)[] = [];
  const ended: ConnectionEnd[] = [];
  const create = kind === 'uws' ? createUwsListener : createEdgeListener;
  const listener = await create({
    host: '127.0.0.1',
    port,
    acceptor: acceptor ?? proxy,
    limits: { ...defaultListenerLimits[kind === 'uws' ? 'outbound' : 'inbound'], ...limits },
    onRefused: (failure, head) => {
      refused.push(failure);
      refusedHeads.push(head);
    },
    onConnectionEnded: (code) => ended.push(code),
    newRequestId: () => 'id-of-test',
    loopDelay: () => 0.25,
    ...more,
  });
  const [host, portText] = listener.address.split(':');
  return { proxy, listener, refused, refusedHeads, ended, host: host!, port: Number(portText) };
}

/** A TCP client that speaks in bytes. */
export class RawClient {
  received = '';
  receivedBytes = 0;
  isClosed = false;
  isReset = false;
  private chunks: Buffer[] | null = null;
  private whenChanged: () => void = () => {};

  private constructor(readonly socket: Socket) {
    socket.on('data', (chunk) => {
      this.receivedBytes += chunk.byteLength;
      this.chunks?.push(chunk);
      if (this.receivedBytes <= 200_000) this.received += chunk.toString('latin1');
      this.whenChanged();
    });
    socket.on('error', () => {
      this.isReset = true;
    });
    socket.on('close', () => {
      this.isClosed = true;
      this.whenChanged();
    });
  }

  static open(bench: Bench): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: bench.host, port: bench.port, noDelay: true });
      const client = new RawClient(socket);
      socket.once('connect', () => resolve(client));
      socket.once('error', reject);
    });
  }

  /** All bytes from now on, also beyond what `received` keeps. */
  collect(): Buffer[] {
    this.chunks = [];
    return this.chunks;
  }

  send(text: string): void {
    this.socket.write(text, 'latin1');
  }

  until(isTrue: (client: RawClient) => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.whenChanged = () => {
        if (isTrue(this)) resolve();
      };
      this.whenChanged();
    });
  }

  untilText(text: string): Promise<void> {
    return this.until((client) => client.received.includes(text));
  }

  untilClosed(): Promise<void> {
    return this.until((client) => client.isClosed);
  }

  close(): void {
    this.socket.destroy();
  }
}

/** A listener and a connection to it, new for each test. */
export class ListenerRoom {
  bench!: Bench;
  client!: RawClient;

  /** To be called in a suite. */
  static forEach(kind: ListenerKind): ListenerRoom {
    const room = new ListenerRoom();
    beforeEach(async () => {
      room.bench = await openBench(kind);
      await room.connect();
    });
    afterEach(async () => {
      room.client.close();
      await room.bench.listener.close();
    });
    return room;
  }

  /** From here on `client` is another connection. */
  async connect(): Promise<void> {
    this.client = await RawClient.open(this.bench);
  }

  /** Sends a request and waits until the proxy has it. */
  async call(request: string): Promise<Call> {
    const next = this.bench.proxy.nextCall();
    this.client.send(request);
    return next;
  }
}

/** What an answer's bytes say, for answers that are complete. */
export function parseAnswer(text: string): { status: number; headers: Map<string, string[]>; body: string } {
  const headEnd = text.indexOf('\r\n\r\n');
  const [first, ...lines] = text.slice(0, headEnd).split('\r\n');
  const headers = new Map<string, string[]>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    headers.set(name, [...(headers.get(name) ?? []), line.slice(colon + 1).trim()]);
  }
  return { status: Number(first!.split(' ')[1]), headers, body: text.slice(headEnd + 4) };
}

/** The data of a chunked body; extensions and trailers are dropped. Null while it is incomplete. */
export function unchunk(body: string): { data: string; rest: string } | null {
  let data = '';
  let at = 0;
  for (;;) {
    const lineEnd = body.indexOf('\r\n', at);
    if (lineEnd === -1) return null;
    const size = Number.parseInt(body.slice(at, lineEnd), 16);
    at = lineEnd + 2;
    if (size === 0) {
      const end = body.startsWith('\r\n', at) ? at + 2 : body.indexOf('\r\n\r\n', at) + 4;
      return end < 4 && !body.startsWith('\r\n', at) ? null : { data, rest: body.slice(end) };
    }
    if (body.length < at + size + 2) return null;
    data += body.slice(at, at + size);
    at += size + 2;
  }
}
