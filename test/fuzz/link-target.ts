/**
 * What an input of the fuzzer is run against: the parser with the codecs, a whole callee, a whole caller. An input is three bytes that say
 * which and how it is cut, and then bytes of a peer. Every promise that the link makes of itself is checked here; a broken one throws.
 */
import assert from 'node:assert';
import { limits } from '../../src/model/limits.ts';
import { defaultListenerLimits } from '../../src/model/listener-limits.ts';
import { CoarseTimer } from '../../src/proxy/coarse-timer.ts';
import { headerList } from '../../src/proxy/headers.ts';
import { FrameParser } from '../../src/proxy/link/frame-parser.ts';
import {
  frameHeaderBytes,
  frameShapes,
  frameType,
  joinedBytesMax,
  linkCreditFirst,
  streamCreditFirst,
} from '../../src/proxy/link/frames.ts';
import { LinkCallee } from '../../src/proxy/link/link-callee.ts';
import type { LinkChannel } from '../../src/proxy/link/link-channel.ts';
import { LinkUpstream } from '../../src/proxy/link/link-upstream.ts';
import type { Downstream, RequestHead, RequestReceiver } from '../../src/proxy/request.ts';
import type { UpstreamHandler, UpstreamStream } from '../../src/proxy/upstream/upstream.ts';
import { decodeEnd, decodeHead, decodeOpen, encodeEnd, encodeHead, encodeOpen } from '../unit/link/payload-text.ts';
import { dialFake, FakeSocket } from './link-sockets.ts';

export const targets = ['parser', 'callee', 'caller'] as const;
/** Target, seed of the cuts, what the app does. */
export const inputHeadBytes = 3;

const heldBytesMax = frameHeaderBytes + Math.max(...frameShapes.map(({ max }) => max));
const noSweepMs = 1_000_000_000;
const timer = new CoarseTimer(() => 0, noSweepMs);
const now = (): number => 0;

/** What happened, in order, in words that do not depend on numbers of the input: the more of it is new, the more the input is worth. */
export type Trail = string[];

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export async function runInput(input: Uint8Array): Promise<Trail> {
  const [target = 0, cutSeed = 0, habit = 0] = input;
  const pieces = cut(Buffer.from(input.subarray(inputHeadBytes)), cutSeed);
  const trail: Trail = [targets[target % targets.length]!];
  switch (trail[0]) {
    case 'parser':
      runParser(pieces, trail);
      break;
    case 'callee':
      await runCallee(pieces, habit, trail);
      break;
    default:
      await runCaller(pieces, habit, trail);
  }
  return trail;
}

/** Forgets links that are over: to be called now and then. */
export const sweep = (): void => timer.sweep();

function cut(bytes: Buffer, seed: number): Buffer[] {
  if (seed === 0 || bytes.length < 2) return [bytes];
  const pieces: Buffer[] = [];
  const size = Math.max(1, Math.ceil((bytes.length * (1 + (seed % 7))) / 24));
  for (let at = 0, i = seed; at < bytes.length; i = (i * 5 + 3) & 0xff) {
    const end = Math.min(bytes.length, at + 1 + ((i * size) >> 7));
    pieces.push(Buffer.from(bytes.subarray(at, end)));
    at = end;
  }
  return pieces;
}

const withoutNumbers = (fault: string): string => fault.replace(/\d+/g, '#');

// --- Parser and codecs -----------------------------------------------------------------------------------------------------------------

function runParser(pieces: readonly Buffer[], trail: Trail): void {
  const parser = new FrameParser({
    onData: (_stream, piece) => {
      assert(piece.length > 0, 'a piece of DATA has bytes');
      trail.push('data');
      return null;
    },
    onFrame: (type, _stream, bytes, start, end) => {
      const payload = bytes.toString('latin1', start, end);
      const { min, max } = frameShapes[type]!;
      assert(payload.length >= min && payload.length <= max, 'a frame is as long as its type allows');
      trail.push(`${type} ${readsAgain(type, payload)}`);
      return null;
    },
  });
  for (const piece of pieces) {
    const fault = parser.feed(piece);
    assert(parser.heldBytes <= heldBytesMax, 'the parser holds one frame at most');
    if (fault !== null) {
      trail.push(withoutNumbers(fault));
      return;
    }
  }
}

/** What can be read says the same when it is written and read again. */
function readsAgain(type: number, payload: string): string {
  switch (type) {
    case frameType.open: {
      const open = decodeOpen(payload);
      if (open === null) return 'unread';
      assert(open.headers.length <= 2 * limits.linkFieldsMax && open.headers.length <= payload.length);
      assert.deepEqual(decodeOpen(encodeOpen(open.method, open.target, open.headers, open.bodyBytes)), open);
      return `read ${Math.min(open.headers.length / 2, 4)} ${Math.sign(open.bodyBytes)}`;
    }
    case frameType.head: {
      const head = decodeHead(payload);
      if (head === null) return 'unread';
      assert(head.headers.length <= 2 * limits.linkFieldsMax && head.headers.length <= payload.length);
      // Times beyond 17 years are cut when they are written, and so differ.
      const { status, reason, headers, bodyBytes, hasBody } = head;
      const again = decodeHead(encodeHead({ status, reason, headers, bodyBytes, hasBody }));
      // What lies behind a head is joined to it in the frame, not by the codec.
      assert.deepEqual(again, { ...head, far: null, data: null, endsStream: false });
      const { data } = head;
      if (data !== null) assert(data.length > 0 && data.length <= joinedBytesMax && payload.endsWith(data));
      return `read ${Math.min(headers.length / 2, 4)} ${Math.sign(bodyBytes)} ${hasBody} ${head.far !== null} ${data !== null} ${head.endsStream}`;
    }
    case frameType.end: {
      const end = decodeEnd(payload);
      if (end === null) return 'unread';
      assert(end.trailers.length <= 2 * limits.linkFieldsMax && end.trailers.length <= payload.length);
      assert.deepEqual(decodeEnd(encodeEnd(end.trailers, null)), { ...end, timing: null });
      return `read ${Math.min(end.trailers.length / 2, 4)} ${end.timing !== null}`;
    }
    default:
      return '';
  }
}

// --- What a peer may expect of what we send ---------------------------------------------------------------------------------------------

/** Reads what the link wrote, and what it was sent, and holds the first against the credit of the second. */
class Witness {
  private readonly granted = new Map<number, number>();
  private readonly sent = new Map<number, number>();
  private readonly ended = new Set<number>();
  private readonly over = new Set<number>();
  private readonly heard = new FrameParser({
    onData: () => null,
    onFrame: (type, stream, bytes, start) => {
      if (type === frameType.credit) add(this.granted, stream, bytes.readUInt32BE(start));
      return null;
    },
  });
  private readonly written: FrameParser;
  private frames = 0;

  constructor(trail: Trail) {
    this.written = new FrameParser({
      onData: (stream, piece) => {
        assert(!this.ended.has(stream) && !this.over.has(stream), 'no DATA is sent behind END or RESET');
        add(this.sent, stream, piece.length);
        add(this.sent, 0, piece.length);
        const credit = streamCreditFirst + (this.granted.get(stream) ?? 0);
        assert(this.sent.get(stream)! <= credit, 'no more DATA than the credit of its stream');
        assert(
          this.sent.get(0)! <= linkCreditFirst + (this.granted.get(0) ?? 0),
          'no more DATA than the credit of the link',
        );
        return null;
      },
      onFrame: (type, stream, bytes, start, end) => {
        if (this.frames++ === 0) assert.equal(type, frameType.settings, 'the first frame is SETTINGS');
        else assert.notEqual(type, frameType.settings, 'there is one SETTINGS');
        if (stream !== 0) {
          assert(!this.over.has(stream), 'nothing is sent behind RESET');
          const mayFollow = type === frameType.reset || type === frameType.credit;
          assert(mayFollow || !this.ended.has(stream), 'only RESET and CREDIT are sent behind END');
        }
        if (type === frameType.end) this.ended.add(stream);
        if (type === frameType.reset) this.over.add(stream);
        if (type === frameType.goaway) trail.push(`goaway ${withoutNumbers(bytes.toString('latin1', start + 4, end))}`);
        else trail.push(`sent ${type}${type === frameType.reset ? ` ${bytes[start]}` : ''}`);
        return null;
      },
    });
  }

  hear(bytes: Buffer): void {
    this.heard.feed(bytes);
  }

  see(bytes: Buffer): void {
    assert.equal(this.written.feed(bytes), null, 'what the link writes are frames');
  }
}

function add(counts: Map<number, number>, key: number, more: number): void {
  counts.set(key, (counts.get(key) ?? 0) + more);
}

const channelOf = (owner: object): LinkChannel => (owner as { channel: LinkChannel }).channel;

function checkChannel(channel: LinkChannel): void {
  assert(channel.streams.size <= limits.linkStreamsMax, 'no more streams than the limit');
  const { widenedBytes } = channel as unknown as { widenedBytes: number };
  assert(widenedBytes >= 0 && widenedBytes <= limits.linkWidenedBytesMax, 'windows are widened within the limit');
  let held = 0;
  for (const stream of channel.streams.all()) {
    const { held: arrived, window } = stream as unknown as { held: { bytes: number }; window: number };
    assert(
      arrived.bytes <= window + joinedBytesMax,
      'a paused stream holds no more than its window and what came with its head',
    );
    held += arrived.bytes;
  }
  const each = streamCreditFirst + joinedBytesMax;
  assert(held <= channel.streams.size * each + limits.linkWidenedBytesMax, 'so do all together');
}

// --- Callee -----------------------------------------------------------------------------------------------------------------------------

async function runCallee(pieces: readonly Buffer[], habit: number, trail: Trail): Promise<void> {
  const socket = new FakeSocket();
  const witness = new Witness(trail);
  const requests: FakeRequest[] = [];
  let isGone = false;
  const acceptor = {
    accept: (head: RequestHead, downstream: Downstream) => {
      const request = new FakeRequest(head, downstream, (habit + requests.length) % 8, trail);
      requests.push(request);
      return request;
    },
  };
  const callee = new LinkCallee(
    socket.asSocket,
    'web.default',
    Number.POSITIVE_INFINITY,
    {
      host: '',
      port: 0,
      acceptor,
      limits: defaultListenerLimits.link,
      timer,
      now,
      onRefused: ({ code }) => trail.push(`refused ${code}`),
      newRequestId: () => 'id',
    },
    () => {
      assert(!isGone, 'a link ends once');
      isGone = true;
    },
  );
  for (const piece of pieces) {
    witness.hear(piece);
    socket.arrive(piece);
    checkChannel(channelOf(callee));
    for (const request of requests) request.act();
    await turn();
    witness.see(socket.take());
  }
  if (habit & 0x40) callee.drain();
  for (let i = 0; i < 3; i++) {
    for (const request of requests) request.act();
    await turn();
    witness.see(socket.take());
  }
  callee.destroy();
  await turn();
  assert(isGone, 'a link that was destroyed is gone');
  assert.equal(channelOf(callee).streams.size, 0, 'no stream outlives its link');
  for (const request of requests) request.check();
}

/** A request at the proxy, which does one of eight things. */
class FakeRequest implements RequestReceiver {
  private bodyBytes = 0;
  private isWhole = false;
  private isGone = false;
  private isAnswered = false;
  private isPaused = false;

  constructor(
    private readonly head: RequestHead,
    private readonly downstream: Downstream,
    private readonly habit: number,
    private readonly trail: Trail,
  ) {
    trail.push(`request ${habit} ${Math.sign(head.bodyBytes)}`);
    assert.equal(head.source, 'web.default');
  }

  onRequestBody(chunk: Uint8Array): void {
    assert(!this.isGone && !this.isWhole, 'no body behind its end');
    assert(!this.isPaused, 'nothing arrives while it is paused');
    this.bodyBytes += chunk.length;
    assert(this.head.bodyBytes < 0 || this.bodyBytes <= this.head.bodyBytes, 'no more body than was said');
    if (this.habit === 2 || this.habit === 3) this.pause();
  }

  onRequestEnd(): void {
    assert(!this.isGone && !this.isWhole, 'a request ends once');
    assert(this.head.bodyBytes < 0 || this.bodyBytes === this.head.bodyBytes, 'a request that ends is whole');
    this.isWhole = true;
    this.trail.push('whole');
    if (this.habit === 6) this.answer(3);
  }

  onClientGone(): void {
    assert(!this.isGone, 'a client goes once');
    this.isGone = true;
    this.trail.push('gone');
  }

  onAnswerRefused(): void {}

  onDownstreamWritable(): void {
    this.trail.push('writable');
    if (!this.isGone) this.downstream.body(Buffer.alloc(1_000));
  }

  private pause(): void {
    this.isPaused = true;
    this.downstream.pauseRequest();
  }

  /** Once a turn. */
  act(): void {
    if (this.isPaused && this.habit === 3) {
      this.isPaused = false;
      this.downstream.resumeRequest();
    }
    if (this.isAnswered || this.isGone) return;
    if (this.habit === 0) this.answer(5);
    else if (this.habit === 1) this.answer(300_000);
    else if (this.habit === 4) {
      this.begin(100);
      this.downstream.abort();
    } else if (this.habit === 7) {
      this.begin(-1);
      this.downstream.body(Buffer.from('x'));
      this.downstream.end(headerList(['Checksum', 'x']), { partsMs: new Array<number>(10).fill(1), totalMs: 10 });
    }
  }

  private begin(bodyBytes: number): void {
    this.isAnswered = true;
    this.downstream.head(
      { status: 200, reason: 'OK', headers: headerList(['Server', 'x']), bodyBytes, hasBody: true },
      null,
    );
  }

  private answer(bytes: number): void {
    this.begin(bytes);
    this.downstream.body(Buffer.alloc(bytes, 'a'));
    this.downstream.end([], null);
  }

  check(): void {
    assert(this.isGone || this.isAnswered, 'a request that is not answered hears that its link went');
  }
}

// --- Caller -----------------------------------------------------------------------------------------------------------------------------

async function runCaller(pieces: readonly Buffer[], habit: number, trail: Trail): Promise<void> {
  const witness = new Witness(trail);
  const sockets: FakeSocket[] = [];
  const upstream = new LinkUpstream({
    addresses: ['127.0.0.1:1'],
    identity: '/ns/default/sa/cart',
    security: { tag: 'insecure' },
    timer,
    now,
    wallMs: now,
    random: () => 0.5,
    onTrouble: (_address, { code }) => trail.push(`trouble ${code}`),
  });
  const asked: FakeAsking[] = [];
  dialFake(
    () => {
      for (let i = 0; i < 6; i++) asked.push(new FakeAsking(upstream, (habit + i) % 8, trail));
    },
    (socket) => sockets.push(socket),
  );
  const [socket] = sockets;
  assert(socket !== undefined, 'the first request dials');
  await turn();
  // Else what the peer says comes before the requests have left.
  if ((habit & 0x80) === 0) await turn();
  witness.see(socket.take());
  const client = (upstream as unknown as { paths: { current: object | null }[] }).paths[0]!.current;
  assert(client !== null, 'the link is open');
  for (const piece of pieces) {
    witness.hear(piece);
    socket.arrive(piece);
    checkChannel(channelOf(client));
    for (const one of asked) one.act();
    await turn();
    witness.see(socket.take());
  }
  for (let i = 0; i < 3; i++) {
    for (const one of asked) one.act();
    await turn();
    witness.see(socket.take());
  }
  upstream.destroy();
  await turn();
  assert.equal(channelOf(client).streams.size, 0, 'no stream outlives its link');
  for (const one of asked) one.check();
}

/** A request of the proxy's, which does one of eight things with its answer. */
class FakeAsking implements UpstreamHandler {
  private readonly stream: UpstreamStream;
  private readonly isHead: boolean;
  private isOpening = true;
  private isAssigned = false;
  private headBytes: number | null = null;
  private bodyBytes = 0;
  private endings = 0;
  private isPaused = false;
  private isDestroyed = false;
  private turns = 0;

  constructor(
    upstream: LinkUpstream,
    private readonly habit: number,
    private readonly trail: Trail,
  ) {
    const bodyBytes = [0, -1, 0, 200_000, 5, 0, 300_000, 0][habit]!;
    this.isHead = habit === 5;
    this.stream = upstream.open(
      {
        method: this.isHead ? 'HEAD' : 'POST',
        target: '/',
        headers: headerList(['Host', 'cart']),
        isChecked: false,
        bodyBytes,
        sendsZeroLength: true,
      },
      this,
      now(),
    );
    if (bodyBytes > 0) this.stream.write(Buffer.alloc(bodyBytes));
    if (bodyBytes < 0) this.stream.write(Buffer.alloc(70_000));
    if (habit !== 3) this.stream.end();
    this.isOpening = false;
  }

  private called(what: string): void {
    assert(!this.isOpening, 'nothing is called back inside open');
    assert(!this.isDestroyed, 'nothing is called back after destroy');
    assert.equal(this.endings, 0, `${what} after the end`);
    this.trail.push(`${this.habit} ${what}`);
  }

  onAssigned(): void {
    this.called('assigned');
    assert(!this.isAssigned && this.headBytes === null, 'a stream is assigned once, and first');
    this.isAssigned = true;
  }

  onHead({ bodyBytes, hasBody, status, headers }: Parameters<UpstreamHandler['onHead']>[0]): void {
    this.called('head');
    assert(this.isAssigned && this.headBytes === null, 'one head');
    assert(status >= 200 && status <= 999 && headers.length <= limits.linkFieldsMax);
    assert(!this.isHead || !hasBody || bodyBytes === 0, 'HEAD has no body');
    this.headBytes = hasBody ? bodyBytes : 0;
    if (this.habit === 2) this.pause();
  }

  onBody(chunk: Uint8Array): void {
    this.called('body');
    assert(this.headBytes !== null && chunk.length > 0, 'a body follows its head');
    assert(!this.isPaused, 'nothing arrives while it is paused');
    this.bodyBytes += chunk.length;
    assert(this.headBytes < 0 || this.bodyBytes <= this.headBytes, 'no more body than was said');
    if (this.habit === 4) this.pause();
    if (this.habit === 7) this.destroy();
  }

  onEnd(): void {
    this.called('end');
    assert(this.headBytes !== null && !this.isPaused, 'an end follows a head, and waits for its reader');
    assert(this.headBytes < 0 || this.bodyBytes === this.headBytes, 'an answer that ends is whole');
    this.endings++;
  }

  onFailure({ code }: Parameters<UpstreamHandler['onFailure']>[0]): void {
    this.called(`failure ${code}`);
    this.endings++;
  }

  onWritable(): void {
    this.called('writable');
    this.stream.write(Buffer.alloc(100));
  }

  private pause(): void {
    this.isPaused = true;
    this.stream.pauseReading();
  }

  private destroy(): void {
    this.isDestroyed = true;
    this.stream.destroy();
  }

  /** Once a turn. */
  act(): void {
    this.turns++;
    if (this.isPaused && (this.habit === 4 || this.turns > 4)) {
      this.isPaused = false;
      this.stream.resumeReading();
    }
    if (this.habit === 6 && this.turns === 3 && this.endings === 0 && !this.isDestroyed) this.destroy();
  }

  check(): void {
    assert(this.endings === 1 || this.isDestroyed, 'every stream ends');
  }
}
