/** Bodies of every length around the windows, whose readers pause and go on at any moment: all bytes arrive, in order, and nothing waits for ever. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LinkUpstream } from '../../../src/proxy/link/link-upstream.ts';
import type { Call, FakeProxy } from '../listener/listener-fakes.ts';
import { Recording } from '../upstream/recording.ts';
import { getCart, LinkRoom, postCart, turns, until } from './link-room.ts';
import { SlowWay } from './slow-way.ts';

const kib = 1024;
/** WEFT_FLOW_RUNS=3000 for a long search. */
const runsOf = (many: number) => ({
  numRuns: process.env.WEFT_FLOW_RUNS === undefined ? many : Number(process.env.WEFT_FLOW_RUNS),
});

/** One body, and what its reader does: after each `pausesAfter` bytes it stops for so many turns of the loop. */
interface Body {
  readonly bytes: number;
  readonly hasLength: boolean;
  readonly pieceBytes: number;
  readonly pausesAfter: number;
  readonly pauseTurns: number;
}

const windows = [1, 16 * kib, 32 * kib, 64 * kib, 96 * kib, 128 * kib, 136 * kib, 192 * kib, 256 * kib, 512 * kib];
const bytesNear = fc
  .tuple(fc.constantFrom(...windows), fc.integer({ min: -2, max: 2 }))
  .map(([window, more]) => Math.max(1, window + more));
const body: fc.Arbitrary<Body> = fc.record({
  bytes: fc.oneof(bytesNear, fc.integer({ min: 1, max: 700 * kib })),
  hasLength: fc.boolean(),
  pieceBytes: fc.constantFrom(700, 4 * kib, 16 * kib - 1, 64 * kib - 147, 64 * kib, 200 * kib),
  pausesAfter: fc.constantFrom(1, 1_000, 32 * kib, 64 * kib, 100_000, Number.POSITIVE_INFINITY),
  pauseTurns: fc.integer({ min: 0, max: 4 }),
});

/** A byte that tells where it belongs. */
const byteAt = (at: number): number => (at * 31 + (at >> 8)) & 0xff;
const pattern = Buffer.alloc(1024 * kib);
for (let at = 0; at < pattern.length; at++) pattern[at] = byteAt(at);

/** Reads a body and stops now and then. */
class Reader {
  bytes = 0;
  isWrong = false;
  private untilPause: number;

  constructor(
    private readonly body: Body,
    private readonly pause: () => void,
    private readonly resume: () => void,
  ) {
    this.untilPause = body.pausesAfter;
  }

  take(piece: Uint8Array): void {
    if (Buffer.compare(piece, pattern.subarray(this.bytes, this.bytes + piece.length)) !== 0) this.isWrong = true;
    this.bytes += piece.length;
    this.untilPause -= piece.length;
    if (this.untilPause > 0) return;
    this.untilPause = this.body.pausesAfter;
    this.pause();
    void turns(this.body.pauseTurns).then(this.resume);
  }
}

/** Writes as much as it is let; answers what goes on when there is room. */
function writerOf({ bytes, pieceBytes }: Body, write: (piece: Buffer) => boolean, end: () => void): () => void {
  let sent = 0;
  let isEnded = false;
  return () => {
    while (sent < bytes) {
      const piece = pattern.subarray(sent, Math.min(bytes, sent + pieceBytes));
      sent += piece.length;
      if (!write(piece)) return;
    }
    if (!isEnded) end();
    isEnded = true;
  };
}

let room: LinkRoom;
let proxy: FakeProxy;
let upstream: LinkUpstream;
let address: string;

beforeEach(async () => {
  room = new LinkRoom();
  ({ proxy, address } = await room.listen({ tag: 'insecure' }, () => performance.now()));
  upstream = room.upstream(address, { now: () => performance.now() });
  serve = [];
  proxy.onAccept = (call) => serve.shift()!(call);
});
afterEach(() => room.close());

/** What becomes of the next calls, in their order: on one link that is the order of the requests. */
let serve: ((call: Call) => void)[] = [];

/** A request with one body and an answer with the other, at the same time. */
async function exchange(from: LinkUpstream, request: Body | null, answer: Body): Promise<readonly unknown[]> {
  const asked = new Recording();
  asked.keepsBody = false;
  let requests: Reader | null = null;
  serve.push((call) => {
    const { downstream } = call;
    if (request !== null) {
      const reader = new Reader(
        request,
        () => downstream.pauseRequest(),
        () => downstream.resumeRequest(),
      );
      call.onChunk = (piece) => reader.take(piece);
      requests = reader;
    }
    // An answer that ends first ends the request too.
    const end = () =>
      void until(() => request === null || call.ends === 1, 'the end of a request').then(() =>
        downstream.end([], null),
      );
    const send = writerOf(answer, (piece) => downstream.body(piece), end);
    call.onDownstreamWritable = send;
    const bodyBytes = answer.hasLength ? answer.bytes : -1;
    queueMicrotask(() => {
      downstream.head({ status: 200, reason: 'OK', headers: [], bodyBytes, hasBody: true }, null);
      send();
    });
  });
  const head = request === null ? getCart : postCart(request.hasLength ? request.bytes : -1);
  const stream = from.open(head, asked, performance.now());
  const answers = new Reader(
    answer,
    () => stream.pauseReading(),
    () => stream.resumeReading(),
  );
  asked.onBodyHook = (piece) => answers.take(piece);
  if (request === null) stream.end();
  else {
    const send = writerOf(
      request,
      (piece) => stream.write(piece),
      () => stream.end(),
    );
    asked.onWritableHook = send;
    send();
  }
  const state = () => JSON.stringify({ request, answer, requests: requests?.bytes, answers: answers.bytes });
  await until(() => asked.endings > 0, 'the end of an answer').catch((error: Error) => {
    throw new Error(`${error.message}: ${state()}`);
  });
  const read = requests as Reader | null;
  return [
    ...[asked.failure, answers.bytes - answer.bytes, answers.isWrong],
    ...[(read?.bytes ?? 0) - (request?.bytes ?? 0), read?.isWrong ?? false],
  ];
}

const whole = ['', 0, false, 0, false];
const exchanges = fc.array(fc.tuple(fc.option(body), body), { minLength: 1, maxLength: 5 });

describe('bodies of any length, read at any pace, at the same time', () => {
  it('arrive whole', async () => {
    const property = fc.asyncProperty(exchanges, async (all) => {
      const found = await Promise.all(all.map(([request, answer]) => exchange(upstream, request, answer)));
      expect(found).toEqual(all.map(() => whole));
    });
    await fc.assert(property, runsOf(60));
  }, 120_000);

  it('arrive whole on a long way, where windows widen', async () => {
    const way = await SlowWay.open(address, 2);
    const far = room.upstream(way.address, { now: () => performance.now() });
    const property = fc.asyncProperty(exchanges, async (all) => {
      const found = await Promise.all(all.map(([request, answer]) => exchange(far, request, answer)));
      expect(found).toEqual(all.map(() => whole));
    });
    await fc.assert(property, runsOf(20));
    await way.close();
  }, 120_000);
});
