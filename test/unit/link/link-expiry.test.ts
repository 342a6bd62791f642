import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { defaultListenerLimits } from '../../../src/model/listener-limits.ts';
import { CoarseTimer } from '../../../src/proxy/coarse-timer.ts';
import { LinkCallee } from '../../../src/proxy/link/link-callee.ts';
import { FakeSocket } from '../../fuzz/link-sockets.ts';
import { FakeProxy } from '../listener/listener-fakes.ts';
import { frames } from './link-room.ts';

const dayMs = 24 * 3600_000;

describe("the end of a caller's certificate", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function calleeUntil(expiresAtMs: number) {
    const socket = new FakeSocket();
    const proxy = new FakeProxy();
    const callee = new LinkCallee(
      socket.asSocket,
      'web.default',
      expiresAtMs,
      {
        host: '',
        port: 0,
        acceptor: proxy,
        limits: defaultListenerLimits.link,
        timer: new CoarseTimer(() => 0, 1_000_000_000),
        now: () => 0,
        onRefused: () => {},
      },
      () => {},
    );
    socket.arrive(frames.settings);
    return { socket, proxy, callee };
  }

  it('is noticed also when it is months away, which no timer can wait for at once', () => {
    const { socket, proxy, callee } = calleeUntil(Date.now() + 60 * dayMs);
    vi.advanceTimersByTime(59 * dayMs);
    socket.arrive(frames.open(1, -1));
    expect(proxy.calls).toHaveLength(1);
    vi.advanceTimersByTime(2 * dayMs);
    socket.arrive(frames.open(2));
    expect(proxy.calls).toHaveLength(1);
    vi.runOnlyPendingTimers();
    expect(socket.take().toString('latin1')).toContain('the certificate of the caller has expired');
    callee.destroy();
  });

  it('does not come on a plain link', () => {
    const { socket, proxy, callee } = calleeUntil(Number.POSITIVE_INFINITY);
    vi.advanceTimersByTime(60 * dayMs);
    socket.arrive(frames.open(1));
    expect(proxy.calls).toHaveLength(1);
    callee.destroy();
  });
});
