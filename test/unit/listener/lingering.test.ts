/** When the edge stops to wait for who has not read its answer, or not sent its request, on a socket of which only numbers matter. */
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { linger, watchReader } from '../../../src/proxy/listener/last-answer.ts';

class FakeSocket {
  bytesRead = 10;
  writableLength = 0;
  destroyed = false;
  destroy(): void {
    this.destroyed = true;
  }
  get asSocket(): Socket {
    return this as unknown as Socket;
  }
}

let socket: FakeSocket;
beforeEach(() => {
  vi.useFakeTimers();
  socket = new FakeSocket();
});
afterEach(() => vi.useRealTimers());

describe('a connection whose answer has left', () => {
  it('ends when nothing more of the request comes', () => {
    linger(socket.asSocket, () => false);
    vi.advanceTimersByTime(limits.lingerMs - 1);
    expect(socket.destroyed).toBe(false);
    vi.advanceTimersByTime(1);
    expect(socket.destroyed).toBe(true);
    vi.advanceTimersByTime(1_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('waits longer for a client that goes on sending, but not for ever', () => {
    linger(socket.asSocket, () => false);
    for (let atMs = 0; atMs < limits.lingerTotalMs; atMs += 500) {
      expect(socket.destroyed).toBe(false);
      socket.bytesRead++;
      vi.advanceTimersByTime(500);
    }
    expect(socket.destroyed).toBe(true);
  });

  it('ends when too much has come', () => {
    linger(socket.asSocket, () => false);
    socket.bytesRead += limits.lingerBytesMax + 1;
    vi.advanceTimersByTime(1_000);
    expect(socket.destroyed).toBe(true);
  });

  it('is left alone once the request is complete', () => {
    let isComplete = false;
    linger(socket.asSocket, () => isComplete);
    vi.advanceTimersByTime(1_000);
    isComplete = true;
    vi.advanceTimersByTime(2 * limits.lingerTotalMs);
    expect([socket.destroyed, vi.getTimerCount()]).toEqual([false, 0]);
  });
});

describe('a reader', () => {
  it.each([100, 60_000])('that takes nothing is found after %i ms', (idleMs) => {
    const onUnread = vi.fn();
    socket.writableLength = 50_000;
    const timer = watchReader(socket.asSocket, idleMs, onUnread);
    vi.advanceTimersByTime(idleMs - 1);
    expect(onUnread).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(onUnread).toHaveBeenCalledOnce();
    clearInterval(timer);
  });

  it('that is slow, and takes something now and then, is waited for', () => {
    const onUnread = vi.fn();
    socket.writableLength = 50_000;
    const timer = watchReader(socket.asSocket, 10_000, onUnread);
    for (let i = 0; i < 5; i++) {
      vi.advanceTimersByTime(9_000);
      socket.writableLength -= 10_000;
    }
    expect(onUnread).not.toHaveBeenCalled();
    clearInterval(timer);
  });
});
