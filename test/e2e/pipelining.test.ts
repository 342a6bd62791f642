/** Apps that are declared safe with pipelining, and one that is not, called by sidecars beside the caller and beside the app. */
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, load } from './harness.ts';
import { manifest, service, startCart, startWeb } from './static-mesh.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

const headEnd = '\r\n\r\n';

/** An app that gathers what comes for a moment, so that there is something to wait behind, and answers each request with its target. */
class GatheringApp {
  /** The most requests that waited on one connection. */
  deepest = 0;
  readonly methods: string[] = [];
  private answers = 0;

  /** After every `breaksEvery` answers a connection is closed, with what waits on it unanswered. */
  constructor(private readonly breaksEvery = Number.POSITIVE_INFINITY) {}

  readonly serve = (socket: Socket): void => {
    let text = '';
    let waiting: string[] = [];
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      for (let end = text.indexOf(headEnd); end !== -1; end = text.indexOf(headEnd)) {
        const [method = '', target = ''] = text.split(' ', 2);
        text = text.slice(end + headEnd.length);
        this.methods.push(method);
        waiting.push(target);
        if (waiting.length === 1) setTimeout(answerAll, 2);
      }
      this.deepest = Math.max(this.deepest, waiting.length);
    });
    const answerAll = () => {
      const answered = waiting;
      waiting = [];
      for (const target of answered) {
        if (socket.destroyed) return;
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${target.length}${headEnd}${target}`);
        if (++this.answers % this.breaksEvery === 0) socket.destroy();
      }
    };
  };
}

const pipelining = { pipelining: { maxRequests: 6 } };

/** As many requests at a time as make lines, each with a target of its own: the wrong answers. */
async function mixedUp(address: string, count = 1_000): Promise<string[]> {
  const wrong: string[] = [];
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const path = `/${next++}`;
      const { status, body } = await call(address, 'cart', path);
      if (status !== 200 || body !== path) wrong.push(`${path}: ${status} ${body}`);
    }
  };
  await Promise.all(Array.from({ length: 48 }, worker));
  return wrong;
}

describe('pipelining', () => {
  it('is not done unless the Service says so', async () => {
    const app = new GatheringApp();
    const { address } = await bench.tcp(app.serve);
    const caller = await startWeb(bench, [service('cart', [address])]);
    expect(await mixedUp(caller.ready.outbound)).toEqual([]);
    expect(app.deepest).toBe(1);
  });

  it('from the caller’s sidecar: each gets its own answer, and a line is as long as it may be', async () => {
    const app = new GatheringApp();
    const { address } = await bench.tcp(app.serve);
    const caller = await startWeb(bench, [service('cart', [address], pipelining)]);
    expect(await mixedUp(caller.ready.outbound)).toEqual([]);
    expect(app.deepest).toBeGreaterThan(1);
    expect(app.deepest).toBeLessThanOrEqual(6);
  });

  it('from the sidecar beside the app, which learns of it as of every change', async () => {
    const app = new GatheringApp();
    const { address } = await bench.tcp(app.serve);
    const sidecar = await startCart(bench, address, [service('cart', [])], '127.0.0.1:0', '--inbound-http', 'uws');
    expect(await mixedUp(sidecar.ready.inbound)).toEqual([]);
    expect(app.deepest).toBe(1);
    bench.file('cart.yaml', manifest([service('cart', [], pipelining)]));
    for (let tries = 0; app.deepest === 1 && tries < 50; tries++)
      expect(await mixedUp(sidecar.ready.inbound, 200)).toEqual([]);
    expect(app.deepest).toBeGreaterThan(1);
  });

  it('is not done to a POST', async () => {
    const app = new GatheringApp();
    const { address } = await bench.tcp(app.serve);
    const caller = await startWeb(bench, [service('cart', [address], pipelining)]);
    const replies = await Promise.all(
      Array.from({ length: 60 }, () => call(caller.ready.outbound, 'cart', '/', { method: 'POST' })),
    );
    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(app.methods)).toEqual(new Set(['POST']));
    expect(app.deepest).toBe(1);
  });

  it('survives an app that closes connections with requests in line', async () => {
    const app = new GatheringApp(40);
    const { address } = await bench.tcp(app.serve);
    const caller = await startWeb(bench, [service('cart', [address], pipelining)]);
    // One that meets three such ends in a row is answered 502; nearly none does, and none gets an answer that is another's.
    const wrong = await mixedUp(caller.ready.outbound, 2_000);
    expect(wrong.filter((one) => !/: 502 /.test(one))).toEqual([]);
    expect(wrong.length).toBeLessThan(40);
    expect(app.deepest).toBeGreaterThan(1);
  });

  it('goes on beside clients that leave', async () => {
    const app = new GatheringApp();
    const { address } = await bench.tcp(app.serve);
    const caller = await startWeb(bench, [service('cart', [address], pipelining)]);
    let isOver = false;
    const leavers = Array.from({ length: 8 }, async () => {
      while (!isOver) await call(caller.ready.outbound, 'cart', '/left', { timeoutMs: 1 }).catch(() => {});
    });
    expect(await mixedUp(caller.ready.outbound)).toEqual([]);
    isOver = true;
    await Promise.all(leavers);
    const { failed } = await load(caller.ready.outbound, 'cart', 8, 100).done;
    expect(failed).toEqual([]);
  });
});
