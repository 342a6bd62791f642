/** Callers and callees that die, stop, vanish or drain, under load: when it is found out, what becomes of requests, and what stays behind. */
import { request as httpRequest, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/model/limits.ts';
import { heldMiB, inspectable } from '../e2e/garbage.ts';
import { Bench, call, load, type Running, until } from '../e2e/harness.ts';
import {
  type Callee,
  linksInto,
  startLinkMesh,
  underLoad,
  untilNothingIsLeft,
  untilServedBy,
} from '../e2e/link-mesh.ts';
import { expectBearable, foundMs, methodLoad } from '../e2e/method-load.ts';

/** For this machine to do what was due. */
const slackMs = 1_000;
/** Requests at once; half of them GET, half POST. */
const workers = 16;
const posts = workers / 2;

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

/** Answers at once, but for what is asked while `isHanging`: never. */
class Sometimes {
  isHanging = false;
  readonly handler: RequestListener = (request, response) => {
    request.resume();
    if (!this.isHanging) request.once('end', () => response.end('answered'));
  };
}

describe('one of two callees', () => {
  it('killed: what may be repeated is, the rest is told at once, and its successor gets its share', async () => {
    const mesh = await startLinkMesh(bench, { names: ['one', 'two'] });
    const [one, two] = mesh.callees as [Callee, Callee];
    const traffic = await underLoad(mesh, workers);
    await one.sidecar.kill('SIGKILL');
    await until('its app hears of it', () => one.app.active === 0);
    await untilServedBy(two);
    await one.restart();
    await untilServedBy(one);
    expectBearable(await traffic.stop(), { kinds: { 'POST 502 link-lost': posts }, withinMs: 2_000 });
    await untilNothingIsLeft(mesh, one, 1);
  });

  it('stopped: found within the stated time, and served again once it goes on', async () => {
    const mesh = await startLinkMesh(bench, { names: ['one', 'two'] });
    const one = mesh.callees[0]!;
    const traffic = await underLoad(mesh, workers);
    one.sidecar.process.kill('SIGSTOP');
    await until('it is found out', () => mesh.web.logs().includes('does not answer any more'), foundMs + slackMs);
    one.sidecar.process.kill('SIGCONT');
    await untilServedBy(one);
    expectBearable(await traffic.stop(), { kinds: { 'POST 502 link-lost': posts }, withinMs: foundMs + slackMs });
    await untilNothingIsLeft(mesh, one, 1);
  });

  it('behind a black hole: likewise, and those who come meanwhile do not wait for it', async () => {
    const mesh = await startLinkMesh(bench, { names: ['one', 'two'] });
    const one = mesh.callees[0]!;
    const traffic = await underLoad(mesh, workers);
    one.line.blackHole();
    await until('it is found out', () => mesh.web.logs().includes('does not answer any more'), foundMs + slackMs);
    const foundAtMs = performance.now();
    await until(
      'a dial was in vain',
      () => mesh.web.logs().includes('no link within'),
      limits.connectTimeoutMs + slackMs,
    );
    one.line.heal();
    await untilServedBy(one);
    const answers = await traffic.stop();
    expectBearable(answers, { kinds: { 'POST 502 link-lost': posts }, withinMs: foundMs + slackMs });
    expectBearable(
      answers.filter(({ sentAtMs }) => sentAtMs > foundAtMs),
      { kinds: {}, withinMs: 2_000 },
    );
    await untilNothingIsLeft(mesh, one, 1);
  });
});

describe('the only callee', () => {
  it('killed: who waits for it is told at once, who comes meanwhile too, and all is well when it is back', async () => {
    const mesh = await startLinkMesh(bench, { names: ['one'] });
    const one = mesh.callees[0]!;
    const traffic = await underLoad(mesh, workers);
    await one.sidecar.kill('SIGKILL');
    await until('those who come fail', () => traffic.answers.some(({ status }) => status === 503));
    await one.restart();
    await untilServedBy(one);
    const answers = await traffic.stop();
    expectBearable(
      answers.filter(({ status }) => status !== 503),
      { kinds: { 'POST 502 link-lost': posts }, withinMs: 2_000 },
    );
    // The network in between accepts and breaks off while nobody is behind it.
    const codes = new Set(answers.filter(({ status }) => status === 503).map(({ failure }) => failure));
    expect([...codes].filter((code) => !['link-handshake-failed', 'connect-failed'].includes(code))).toEqual([]);
    await untilNothingIsLeft(mesh, one, 1);
  });
});

describe('the caller', () => {
  it.each(['SIGKILL', 'SIGSTOP'] as const)('that gets %s: what it asked for ends at the callee', async (signal) => {
    const app = new Sometimes();
    const mesh = await startLinkMesh(bench, { names: ['one'], handler: () => app.handler });
    const { web, callees } = mesh;
    const one = callees[0]!;
    app.isHanging = true;
    const asked = Array.from({ length: 50 }, (_, i) =>
      call(web.ready.outbound, 'basket', '/', { method: i % 2 === 0 ? 'GET' : 'POST' }).then(
        ({ status }) => status,
        () => 0,
      ),
    );
    await until('all are at the app', () => one.app.active === 50);
    if (signal === 'SIGKILL') await web.kill(signal);
    else web.process.kill(signal);
    await until(
      'its app works on nothing',
      () => one.app.active === 0,
      signal === 'SIGKILL' ? slackMs : foundMs + slackMs,
    );
    await until('its link is gone', async () => (await linksInto(one.sidecar)) === 0);
    app.isHanging = false;
    if (signal === 'SIGSTOP') web.process.kill('SIGCONT');
    const statuses = await Promise.all(asked);
    const expected = signal === 'SIGKILL' ? [0, 0] : [200, 502];
    expect(statuses).toEqual(Array.from({ length: 50 }, (_, i) => expected[i % 2]));
    if (signal === 'SIGSTOP') await untilNothingIsLeft(mesh, one, 1);
  });
});

describe('a drain while pushes arrive 5 s late', () => {
  const pushDelayMs = 5_000;
  /** What the caller has in force. */
  const holds = async (web: Running, text: string) =>
    (await call(web.ready.admin, 'admin', '/config')).body.includes(text);

  it('of one of three sidecars costs no request', async () => {
    const mesh = await startLinkMesh(bench, { names: ['one', 'two', 'three'] });
    const { web, push, callees } = mesh;
    const one = callees[0]!;
    const traffic = await underLoad(mesh, workers, 'cart');
    push.delayBackMs = pushDelayMs;
    await one.sidecar.kill('SIGTERM');
    // It has ended, and the caller has not been told by anybody but itself.
    expect(await holds(web, one.sidecar.ready.link)).toBe(true);
    const served = one.app.served;
    await until('the caller is told', async () => !(await holds(web, one.sidecar.ready.link)), pushDelayMs + slackMs);
    expectBearable(await traffic.stop(), { kinds: {}, withinMs: 2_000 });
    expect(one.app.served).toBe(served);
  });

  it('of one of two apps beside `weft run` costs no request', async () => {
    const mesh = await startLinkMesh(bench, { names: ['one'] });
    const { web, push, callees } = mesh;
    const script = `require('http').createServer((q, r) => { q.resume(); q.on('end', () => setTimeout(() => r.end('run'), 20)); }).listen(process.env.PORT, '127.0.0.1')`;
    const port = await freePort();
    const run = await bench.weft([
      ...['run', '--service', 'cart', '--app-port', port, '--inbound', '127.0.0.1:0', '--outbound', '127.0.0.1:0'],
      ...['--admin', '127.0.0.1:0', '--control-plane', `http://${mesh.api}`, '--', process.execPath, '-e', script],
    ]);
    const traffic = methodLoad(web.ready.outbound, 'cart', workers);
    const byRun = () => traffic.answers.filter(({ body }) => body === 'run').length;
    await until('both are called', () => callees[0]!.app.served > 50 && byRun() > 50);
    push.delayBackMs = pushDelayMs;
    await run.kill('SIGTERM');
    expect(await holds(web, run.ready.link)).toBe(true);
    await until('the caller is told', async () => !(await holds(web, run.ready.link)), pushDelayMs + slackMs);
    expectBearable(await traffic.stop(), { kinds: {}, withinMs: 2_000 });
  });
});

/** A moment ago nobody listened there. */
async function freePort(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return String(typeof address === 'object' && address !== null ? address.port : 0);
}

describe('10,000 requests that their clients give up', () => {
  it('leave nothing open and no memory behind', async () => {
    const app: RequestListener = (request, response) => {
      request.resume();
      if (request.url === '/') response.end('whole');
      else response.write('begun');
    };
    const mesh = await startLinkMesh(bench, { names: ['one'], handler: () => app, environment: inspectable });
    const one = mesh.callees[0]!;
    const held = () => Promise.all([mesh.web, one.sidecar].map(heldMiB));
    await giveUp(mesh.web, 3_000);
    // Asks for metrics as well, whose worker takes its memory once.
    await untilNothingIsLeft(mesh, one, 1);
    const before = await held();
    await giveUp(mesh.web, 10_000);
    await untilNothingIsLeft(mesh, one, 1);
    const growth = (await held()).map((mib, i) => mib - before[i]!);
    expect(Math.max(...growth)).toBeLessThanOrEqual(15);
    expect((await load(mesh.web.ready.outbound, 'basket', 4, 100).done).failed).toEqual([]);
  });
});

/** Half of them before the answer, half of them in its body; 50 at once. */
async function giveUp({ ready }: Running, count: number): Promise<void> {
  const [hostname, port] = ready.outbound.split(':');
  let left = count;
  const giveUpOne = (waitsForAnswer: boolean) =>
    new Promise<void>((resolve) => {
      const outgoing = httpRequest({ hostname, port, path: '/long', headers: { host: 'basket' }, agent: false });
      const end = (incoming?: IncomingMessage) => {
        incoming?.on('error', () => {});
        outgoing.destroy();
        resolve();
      };
      outgoing.on('error', () => resolve());
      outgoing.once('response', end);
      if (!waitsForAnswer) outgoing.once('finish', () => setImmediate(end));
      outgoing.end();
    });
  const work = async () => {
    while (left-- > 0) await giveUpOne(left % 2 === 0);
  };
  await Promise.all(Array.from({ length: 50 }, work));
}
