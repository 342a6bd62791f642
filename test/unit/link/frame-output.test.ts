import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { FrameOutput } from '../../../src/proxy/link/frame-output.ts';
import { frameType } from '../../../src/proxy/link/frames.ts';

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
    const payload = 'x'.repeat(60_000);
    for (let turn = 0; turn < 8; turn++) {
      output.put(frameType.head, 1, payload);
      output.put(frameType.head, 1, payload);
      output.flush();
    }
    expect(output.pendingBytes).toBe(0);
    expect(socket.writableLength).toBe(8 * 2 * (8 + payload.length));
  });
});
