import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { headerList } from '../../../src/proxy/headers.ts';
import { blockBytes, FrameOutput } from '../../../src/proxy/link/frame-output.ts';
import { FrameParser } from '../../../src/proxy/link/frame-parser.ts';
import { dataBytesMax, frameType, joinedBytesMax } from '../../../src/proxy/link/frames.ts';
import { payloadBytesMax } from '../../../src/proxy/link/head-codec.ts';
import type { AnswerHead } from '../../../src/proxy/request.ts';
import { decodeHead, encodeHead } from './payload-text.ts';

/** Takes what it is given, and says so when the test does. */
class StuckSocket {
  writableLength = 0;
  readonly taken: (() => void)[] = [];
  write(bytes: Uint8Array, done: () => void = () => {}): void {
    this.writableLength += bytes.length;
    this.taken.push(() => {
      this.writableLength -= bytes.length;
      done();
    });
  }
  cork(): void {}
  uncork(): void {}
}

const pong = '\0'.repeat(8);
const pongBytes = 16;

function open() {
  const socket = new StuckSocket();
  let written = 0;
  const output = new FrameOutput(socket as unknown as Socket, () => written++);
  return { socket, output, written: () => written };
}

/** With its fields as names and values in turn. */
const headOf = (headers: readonly string[]) => ({ status: 200, reason: 'OK', headers, bodyBytes: 5, hasBody: true });

function put(output: FrameOutput, stream: number, head: ReturnType<typeof headOf>): void {
  const given: AnswerHead = { ...head, headers: headerList(head.headers) };
  output.putHead(stream, given, null, payloadBytesMax(head.reason.length, given.headers));
}

describe('the frames of a turn', () => {
  it('are gathered while the socket does not keep up: a peer that reads nothing is not given a block for each few bytes', () => {
    const { socket, output } = open();
    for (let turn = 0; turn < 1_000; turn++) {
      output.put(frameType.pong, 0, pong);
      output.flush();
    }
    expect(socket.taken.length).toBeLessThanOrEqual(4);
    expect(output.unsentBytes).toBe(1_000 * pongBytes);
  });

  it('that were gathered leave once the socket has taken something, or with the last words', () => {
    const { socket, output, written } = open();
    for (let turn = 0; turn < 10; turn++) {
      output.put(frameType.pong, 0, pong);
      output.flush();
    }
    const before = socket.taken.length;
    socket.taken.shift()!();
    expect(written()).toBe(1);
    output.flush();
    expect(socket.taken.length).toBe(before);
    output.put(frameType.pong, 0, pong);
    output.flush(true);
    for (const take of socket.taken.splice(0)) take();
    expect(output.unsentBytes).toBe(0);
    expect(socket.writableLength).toBe(0);
  });

  it('that fill a block are not held back', () => {
    const { socket, output } = open();
    const large = headOf(['A', 'x'.repeat(60_000)]);
    const payload = encodeHead(large);
    for (let turn = 0; turn < 8; turn++) {
      put(output, 1, large);
      put(output, 1, large);
      output.flush();
    }
    expect(output.pendingBytes).toBe(0);
    expect(socket.writableLength).toBe(8 * 2 * (8 + payload.length));
  });
});

const hello = Buffer.from('hello');

/** The frames that a turn's writes hold: type, stream, and what a HEAD says. */
function framesOf(write: (output: FrameOutput) => void) {
  const sent: Buffer[] = [];
  const socket = {
    writableLength: 0,
    write: (bytes: Buffer) => sent.push(Buffer.from(bytes)),
    cork() {},
    uncork() {},
  };
  const output = new FrameOutput(socket as unknown as Socket, () => {});
  write(output);
  const { pendingBytes } = output;
  output.flush();
  expect(pendingBytes).toBe(Buffer.concat(sent).length);
  const found: { type: number; stream: number; text: string }[] = [];
  const parser = new FrameParser({
    onData: (stream, piece) => {
      found.push({ type: frameType.data, stream, text: piece.toString('latin1') });
      return null;
    },
    onFrame: (type, stream, bytes, start, end) => {
      found.push({ type, stream, text: bytes.toString('latin1', start, end) });
      return null;
    },
  });
  expect(parser.feed(Buffer.concat(sent))).toBeNull();
  return found;
}

describe('an answer that is whole within a turn', () => {
  const head = headOf(['A', 'b']);

  it('is one frame', () => {
    const [only, ...others] = framesOf((output) => {
      put(output, 7, head);
      expect(output.joinBody(7, hello)).toBe(true);
      expect(output.joinEnd(7)).toBe(true);
    });
    expect(others).toEqual([]);
    const read = decodeHead(only!.text)!;
    const said = { status: 200, headers: ['A', 'b'], bodyBytes: 5, hasBody: true };
    expect(read).toMatchObject({ ...said, data: 'hello', endsStream: true });
  });

  it.each<readonly [string, (output: FrameOutput) => boolean]>([
    ['another stream', (output) => output.joinBody(8, hello)],
    ['no bytes', (output) => output.joinBody(7, Buffer.alloc(0))],
    ['more bytes than may', (output) => output.joinBody(7, Buffer.alloc(joinedBytesMax + 1))],
    ['more behind the first bytes', (output) => output.joinBody(7, hello) && output.joinBody(7, hello)],
    ['the end of another stream', (output) => output.joinEnd(8)],
    ['a second end', (output) => output.joinEnd(7) && output.joinEnd(7)],
    [
      'bytes behind another frame',
      (output) => {
        output.putNumber(frameType.credit, 9, 1);
        return output.joinBody(7, hello);
      },
    ],
    [
      'an end behind DATA',
      (output) => {
        output.putData(7, hello);
        return output.joinEnd(7);
      },
    ],
    [
      'bytes behind what has left',
      (output) => {
        output.flush();
        return output.joinBody(7, hello);
      },
    ],
  ])('takes nothing else into its frame: %s', (_what, join) => {
    const { output } = open();
    put(output, 7, head);
    expect(join(output)).toBe(false);
  });

  it('does not grow beyond its block', () => {
    const { output } = open();
    output.put(frameType.goaway, 0, 'x'.repeat(blockBytes - 8 - 8 - payloadBytesMax(2, headerList(['A', 'b']))));
    put(output, 7, head);
    const leftBytes = blockBytes - output.pendingBytes;
    expect(leftBytes).toBeGreaterThan(0);
    expect(output.joinBody(7, Buffer.alloc(leftBytes + 1))).toBe(false);
    expect(output.joinBody(7, Buffer.alloc(leftBytes))).toBe(true);
  });
});

describe('pieces of a body', () => {
  const data = (stream: number, text: string) => ({ type: frameType.data, stream, text });

  it('of one stream share a frame, up to the largest', () => {
    const whole = 'x'.repeat(dataBytesMax - 3);
    const found = framesOf((output) => {
      output.putData(7, Buffer.from(whole));
      output.putData(7, Buffer.from('abc'));
      output.putData(7, Buffer.from('d'));
      output.putData(7, Buffer.from('ef'));
    });
    expect(found).toEqual([data(7, `${whole}abc`), data(7, 'def')]);
  });

  it.each<readonly [string, (output: FrameOutput) => void, { type: number; stream: number; text: string }[]]>([
    ['of two streams', (output) => output.putData(9, hello), [data(9, 'hello')]],
    [
      'behind another frame of the stream',
      (output) => {
        output.put(frameType.pong, 0, pong);
        output.putData(7, hello);
      },
      [{ type: frameType.pong, stream: 0, text: pong }, data(7, 'hello')],
    ],
    [
      'behind a number',
      (output) => {
        output.putNumber(frameType.credit, 7, 0x41424344);
        output.putData(7, hello);
      },
      [{ type: frameType.credit, stream: 7, text: 'ABCD' }, data(7, 'hello')],
    ],
    [
      'behind the head of the next answer',
      (output) => {
        put(output, 7, headOf([]));
        output.putData(7, hello);
      },
      [{ type: frameType.head, stream: 7, text: encodeHead(headOf([])) }, data(7, 'hello')],
    ],
  ])('%s do not', (_what, write, others) => {
    const found = framesOf((output) => {
      output.putData(7, hello);
      write(output);
    });
    expect(found).toEqual([data(7, 'hello'), ...others]);
  });

  it('of two turns do not: what has left cannot be changed', () => {
    const { output } = open();
    output.putData(7, hello);
    output.flush();
    output.putData(7, hello);
    expect(output.pendingBytes).toBe(8 + hello.length);
  });

  it('that do not fit into the block begin the next one', () => {
    const { output } = open();
    output.put(frameType.goaway, 0, 'x'.repeat(blockBytes - 8 - 8 - hello.length - 4));
    output.putData(7, hello);
    const before = output.pendingBytes;
    output.putData(7, hello);
    expect(output.pendingBytes).toBe(before + 8 + hello.length);
    output.putData(7, hello);
    expect(output.pendingBytes).toBe(before + 8 + 2 * hello.length);
  });
});
