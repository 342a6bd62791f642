/** Peers that die, stop, vanish and come back, again and again and for long: what the short forms in link-faults.test.ts leave out. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/model/limits.ts';
import { heldMiB, inspectable } from '../e2e/garbage.ts';
import { Bench, call, until } from '../e2e/harness.ts';
import { bodiesApp, upload } from '../e2e/large-bodies.ts';
import {
  type Callee,
  linksInto,
  startLinkMesh,
  underLoad,
  untilNothingIsLeft,
  untilServedBy,
} from '../e2e/link-mesh.ts';
import { expectBearable, foundMs, kinds, methodLoad, slowestMs } from '../e2e/method-load.ts';

const slackMs = 1_000;
const workers = 16;
const posts = workers / 2;

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

const pass = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Each ends with the callee reachable again. */
const faults: readonly [name: string, cause: (callee: Callee) => Promise<void>][] = [
  [
    'kill -9',
    async ({ sidecar, restart }) => {
      await sidecar.kill('SIGKILL');
      await restart();
    },
  ],
  [
    'a stop of 8 s',
    async ({ sidecar }) => {
      sidecar.process.kill('SIGSTOP');
      await pass(8_000);
      sidecar.process.kill('SIGCONT');
    },
  ],
  [
    'a stop of 1 s',
    async ({ sidecar }) => {
      sidecar.process.kill('SIGSTOP');
      await pass(1_000);
      sidecar.process.kill('SIGCONT');
    },
  ],
  [
    'a black hole of 8 s',
    async ({ line }) => {
      line.blackHole();
      await pass(8_000);
      line.heal();
    },
  ],
  ['a reset', async ({ line }) => line.reset()],
  ['a cut', async ({ line }) => line.cut()],
];

describe('faults one after the other at one of three callees', () => {
  it('cost no GET, of POSTs those under way, and leave no memory behind', async () => {
    const mesh = await startLinkMesh(bench, { names: ['one', 'two', 'three'], environment: inspectable });
    const traffic = await underLoad(mesh, workers);
    /** Every fault once, each at another callee than the turn before. */
    const turn = async (shift: number) => {
      for (const [i, [, cause]] of faults.entries()) {
        const callee = mesh.callees[(i + shift) % mesh.callees.length]!;
        await cause(callee);
        await untilServedBy(callee);
      }
    };
    await turn(0);
    const before = await heldMiB(mesh.web);
    await turn(1);
    await turn(2);
    const growth = (await heldMiB(mesh.web)) - before;
    const answers = await traffic.stop();
    console.log(kinds(answers), `slowest ${Math.round(slowestMs(answers))} ms, growth ${growth.toFixed(1)} MiB`);
    expectBearable(answers, {
      kinds: { 'POST 502 link-lost': posts * faults.length * 3 },
      withinMs: foundMs + slackMs,
    });
    expect(growth).toBeLessThanOrEqual(15);
    for (const callee of mesh.callees) await untilNothingIsLeft(mesh, callee, 1);
  });
});

describe('the only callee, silent for longer than its lease', () => {
  it.each<[string, (callee: Callee) => void, (callee: Callee) => void]>([
    ['stopped', ({ sidecar }) => sidecar.process.kill('SIGSTOP'), ({ sidecar }) => sidecar.process.kill('SIGCONT')],
    ['behind a black hole', ({ line }) => line.blackHole(), ({ line }) => line.heal()],
  ])('%s: every request is told in time, and all is well when it is back', async (_how, silence, wake) => {
    const mesh = await startLinkMesh(bench, { names: ['one'] });
    const one = mesh.callees[0]!;
    const traffic = await underLoad(mesh, workers);
    silence(one);
    await pass(limits.leaseMs + 5_000);
    wake(one);
    await untilServedBy(one);
    const answers = await traffic.stop();
    const { 'GET 503 connect-timeout': gets = 0, 'POST 503 connect-timeout': posted = 0 } = kinds(answers);
    console.log(kinds(answers), `slowest ${Math.round(slowestMs(answers))} ms`);
    expect(gets).toBeGreaterThan(0);
    expect(posted).toBeGreaterThan(0);
    expectBearable(answers, {
      kinds: { 'GET 503 connect-timeout': gets, 'POST 503 connect-timeout': posted, 'POST 502 link-lost': posts },
      // A GET is repeated, and waits a little for the link's successor.
      withinMs: foundMs + limits.linkSilentWaitMs + slackMs,
    });
    await untilNothingIsLeft(mesh, one, 1);
  });
});

describe('a black hole', () => {
  it('under an upload: the caller is told, and the callee gives up the rest', async () => {
    const mesh = await startLinkMesh(bench, { names: ['one'], handler: () => bodiesApp });
    const one = mesh.callees[0]!;
    const uploads = Array.from({ length: 4 }, () =>
      upload(mesh.web.ready.outbound, 'basket', 1024 ** 3).then(
        () => 'arrived',
        (error: Error) => error.message,
      ),
    );
    await until('they are at the app', () => one.app.active === 4);
    await pass(500);
    const fromMs = performance.now();
    one.line.blackHole();
    const told = await Promise.all(uploads);
    const tookMs = performance.now() - fromMs;
    await until('its app is rid of them', () => one.app.active === 0, foundMs + slackMs - tookMs);
    console.log(told, `after ${Math.round(tookMs)} ms`);
    // Some clients are still sending and meet the end of their connection before they read why.
    for (const text of told) expect(text).toMatch(/502 link-lost|EPIPE|ECONNRESET|socket hang up/);
    expect(tookMs).toBeLessThan(foundMs + slackMs);
  });

  it('around an idle link is found out by both ends, and the next request gets through at once when it is healed', async () => {
    const mesh = await startLinkMesh(bench, { names: ['one'] });
    const one = mesh.callees[0]!;
    await until('nothing runs', () => one.app.active === 0);
    one.line.blackHole();
    const idleFoundMs = limits.linkIdleQuietMs + limits.linkPingMs + 2 * limits.poolSweepMs;
    await until('the callee is rid of it', async () => (await linksInto(one.sidecar)) === 0, idleFoundMs + slackMs);
    await until('so is the caller', () => mesh.web.logs().includes('does not answer any more'), slackMs);
    one.line.heal();
    const traffic = methodLoad(mesh.web.ready.outbound, 'basket', 2);
    await untilServedBy(one);
    await traffic.stop();
    expect((await call(mesh.web.ready.outbound, 'basket')).status).toBe(200);
  });
});
