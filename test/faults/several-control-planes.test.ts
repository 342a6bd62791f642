/** Two control planes on three members of etcd, sidecars at both: one mesh, of which any part may end. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, type Running, until } from '../e2e/harness.ts';
import { EtcdCluster, whyNoEtcd } from '../fixtures/etcd-cluster.ts';

const reason = whyNoEtcd();
if (reason !== null) console.warn(`Several control planes are not tested: ${reason}`);

const route = (backend: string) => `apiVersion: weft.mesh/v1
kind: Service
metadata: { name: cart }
spec: { endpoints: ['${backend}'] }
`;

describe.skipIf(reason !== null)('two control planes on etcd', () => {
  let bench: Bench;
  let cluster: EtcdCluster;
  let one: Running;
  let other: Running;

  /** Of each test. */
  let prefix: string;
  let tests = 0;
  const store = () => `etcd://${cluster.addresses}/${prefix}`;
  const plane = (name: string, api = '127.0.0.1:0', push = '127.0.0.1:0') =>
    bench.weft(['control-plane', '--listen', api, '--push', push, '--store', store(), '--ca-dir', bench.path(name)]);
  /** Asks `first` before the other one. */
  const sidecar = (service: string, first: Running, ...more: string[]) => {
    const second = first === one ? other : one;
    return bench.weft([
      ...['sidecar', '--service', service, '--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0'],
      ...['--control-plane', `http://${first.ready.api},http://${second.ready.api}`, ...more],
    ]);
  };
  const weft = (command: string, at: Running, args: readonly string[] = [], input = '') =>
    bench.run([command, ...args, '--server', `http://${at.ready.api}`], input);
  const apply = (at: Running, backend: string, ...more: string[]) =>
    weft('apply', at, ['-f', '-', '--wait', 'applied', '--timeout', '20s', ...more], route(backend));
  const bodyAt = async (at: Running) => (await call(at.ready.outbound, 'cart')).body;

  beforeAll(async () => {
    cluster = await EtcdCluster.start();
  });
  afterAll(() => cluster?.close());
  beforeEach(async () => {
    bench = new Bench();
    prefix = `test-${tests++}`;
    [one, other] = await Promise.all([plane('one'), plane('other')]);
  });
  afterEach(() => bench.close());

  it('are one mesh: what is applied at one is in force everywhere, and both say so', async () => {
    const [a, b] = await Promise.all(['a', 'b'].map((name) => bench.app((_request, response) => response.end(name))));
    const web = await sidecar('web', one);
    const shop = await sidecar('shop', other);
    expect((await apply(one, a!.address)).code).toBe(0);
    for (const at of [web, shop]) expect(await bodyAt(at)).toBe('a');
    // Each waits for the sidecars of both: at its end all have it.
    for (const [at, app, body] of [
      [other, b!, 'b'],
      [one, a!, 'a'],
      [other, b!, 'b'],
    ] as const) {
      const applied = await apply(at, app.address);
      expect(applied.code, applied.stderr).toBe(0);
      for (const from of [web, shop]) expect(await bodyAt(from)).toBe(body);
    }

    const listed = await Promise.all(
      [one, other].map(async (at) => JSON.parse((await weft('status', at, ['-o', 'json'])).stdout)),
    );
    for (const { sidecars, controlPlanes } of listed) {
      expect(
        sidecars.map(({ service, state }: { service: string; state: string }) => `${service} ${state}`).sort(),
      ).toEqual(['shop synced', 'web synced']);
      expect(controlPlanes.map(({ sidecars: count }: { sidecars: number }) => count)).toEqual([1, 1]);
      expect(controlPlanes.filter(({ isLeader }: { isLeader: boolean }) => isLeader)).toHaveLength(1);
    }
    expect((await weft('status', one)).stdout).toContain(`http://${other.ready.api}`);

    // A sidecar that stands still is missed by the one that it is not connected to.
    shop.process.kill('SIGSTOP');
    const stuck = await weft('apply', one, ['-f', '-', '--wait', 'applied', '--timeout', '1s'], route(a!.address));
    expect(stuck.code).toBe(1);
    expect(stuck.stderr).toContain('shop.default');
    shop.process.kill('SIGCONT');
    expect((await apply(one, b!.address)).code).toBe(0);

    // One that comes later has a root of its own, which signs once the sidecars of the others have acknowledged it.
    const late = await plane('late');
    await until('the late one signs', async () => {
      const { roots, signing } = JSON.parse((await weft('ca', late, ['status', '-o', 'json'])).stdout);
      return signing !== null && roots.length === 3;
    });
  });

  it('go on when the leading member of etcd is killed, and write again within 3 s', async () => {
    const app = await bench.app((_request, response) => response.end('a'));
    const web = await sidecar('web', one);
    expect((await apply(one, app.address)).code).toBe(0);
    const outages: number[] = [];
    for (const at of [one, other]) {
      const leader = await cluster.leader();
      const { done, stop } = writesTo(at);
      await until('it writes', () => done.length > 5);
      await cluster.kill(leader);
      const killedAtMs = performance.now();
      await until('it writes again', () => done.filter((atMs) => atMs > killedAtMs + 100).length > 20, 30_000);
      await stop();
      outages.push(longestGap(done, killedAtMs));
      expect(await bodyAt(web)).toBe('a');
      await cluster.revive(leader);
    }
    console.log(`etcd's leader killed: no write for ${outages.map((ms) => `${Math.round(ms)} ms`).join(' and ')}`);
    for (const outage of outages) expect(outage).toBeLessThan(3_000);
    expect((await apply(other, app.address)).code).toBe(0);
  });

  it('take over each other’s sidecars, and keep what these have registered', async () => {
    const app = await bench.app((_request, response) => response.end('cart'));
    const cart = await sidecar('cart', one, '--app', app.address, '--inbound', '127.0.0.1:0');
    const web = await sidecar('web', other);
    await until('cart is served', async () => (await call(web.ready.outbound, 'cart')).status === 200);
    await one.kill('SIGKILL');
    const failed: number[] = [];
    await until(
      'cart has found the other one',
      async () => {
        const { status } = await call(web.ready.outbound, 'cart');
        if (status !== 200) failed.push(status);
        const { stdout } = await weft('status', other, ['-o', 'json']);
        const { sidecars, controlPlanes } = JSON.parse(stdout);
        return controlPlanes.length === 1 && sidecars.every(({ state }: { state: string }) => state === 'synced');
      },
      30_000,
    );
    expect(failed).toEqual([]);
    expect(cart.process.exitCode).toBeNull();

    // Both are gone: sidecars serve on, and the next one knows them all.
    await other.kill('SIGKILL');
    expect((await call(web.ready.outbound, 'cart')).status).toBe(200);
    const [api, push] = [other.ready.api, other.ready.push];
    other = await plane('other', api, push);
    await until('both are back', async () => {
      const { sidecars } = JSON.parse((await weft('status', other, ['-o', 'json'])).stdout);
      return sidecars.filter(({ state }: { state: string }) => state === 'synced').length === 2;
    });
    expect((await call(web.ready.outbound, 'cart')).status).toBe(200);
  });

  it('answer reads and refuse writes while etcd is away, which sidecars do not notice', async () => {
    const app = await bench.app((_request, response) => response.end('cart'));
    await sidecar('cart', one, '--app', app.address, '--inbound', '127.0.0.1:0');
    const web = await sidecar('web', other);
    await until('cart is served', async () => (await call(web.ready.outbound, 'cart')).status === 200);
    cluster.freeze();
    const beganMs = performance.now();
    const refused = await weft('apply', one, ['-f', '-'], route('127.0.0.1:1'));
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/store on etcd .*not available.*then try again/s);
    expect(performance.now() - beganMs).toBeLessThan(9_000);
    expect((await weft('get', one, ['services'])).stdout).toContain('cart');
    // Longer than any lease: etcd's own, and those of the sidecars.
    await until('25 s have gone', () => performance.now() - beganMs > 25_000, 40_000);
    expect((await call(web.ready.outbound, 'cart')).body).toBe('cart');
    await cluster.thaw();
    await until(
      'both write again',
      async () => {
        const results = await Promise.all([one, other].map((at) => apply(at, app.address)));
        return results.every(({ code }) => code === 0);
      },
      20_000,
    );
    expect((await call(web.ready.outbound, 'cart')).body).toBe('cart');
    const { sidecars } = JSON.parse((await weft('status', one, ['-o', 'json'])).stdout);
    expect(sidecars.map(({ state }: { state: string }) => state)).toEqual(['synced', 'synced']);
  });

  it('say at their start which members they have tried', async () => {
    const result = await bench.run([
      'control-plane',
      '--store',
      'etcd://127.0.0.1:1,127.0.0.1:2',
      '--listen',
      '127.0.0.1:0',
      '--push',
      '127.0.0.1:0',
    ]);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/127\.0\.0\.1:1,127\.0\.0\.1:2.*not available.*ECONNREFUSED/s);
  });

  it('are left for a directory, and come back, with history and revisions', async () => {
    const app = await bench.app((_request, response) => response.end('a'));
    for (const backend of [app.address, '127.0.0.1:1', app.address])
      await weft('apply', one, ['-f', '-'], route(backend));
    const revisions = async (at: Running) =>
      (await (await fetch(`http://${at.ready.api}/v1/revisions`)).json()) as object;
    const before = await revisions(one);
    const migrate = (from: string, to: string, ...more: string[]) =>
      bench.run(['store', 'migrate', '--from', from, '--to', to, ...more]);
    const directory = `embedded:${bench.path('store')}`;

    const busy = await migrate(store(), directory);
    expect([busy.code, busy.stderr]).toEqual([1, expect.stringMatching(/2 control planes serve.*Stop all/)]);
    await Promise.all([one.kill('SIGTERM'), other.kill('SIGTERM')]);

    const tried = await migrate(store(), directory, '--dry-run');
    expect([tried.code, tried.stdout]).toEqual([0, expect.stringContaining('nothing was written')]);
    const moved = await migrate(store(), directory);
    expect([moved.code, moved.stdout]).toEqual([0, expect.stringMatching(/^copied \d+ objects and \d+ revisions/)]);
    const occupied = await migrate(directory, store());
    expect([occupied.code, occupied.stderr]).toEqual([1, expect.stringContaining('not empty')]);
    const back = await migrate(directory, `${store()}/another`);
    expect(back.code, back.stderr).toBe(0);

    const at = (url: string) =>
      bench.weft([
        'control-plane',
        '--listen',
        '127.0.0.1:0',
        '--push',
        '127.0.0.1:0',
        '--store',
        url,
        '--ca-dir',
        bench.path('one'),
      ]);
    for (const url of [directory, `${store()}/another`]) {
      const running = await at(url);
      const { items } = (await revisions(running)) as { items: { revision: number }[] };
      const known = (before as typeof before & { items: { revision: number }[] }).items;
      expect(items.filter(({ revision }) => revision <= known[0]!.revision)).toEqual(known);
      expect((await weft('get', running, ['service', 'cart', '-o', 'yaml'])).stdout).toContain(app.address);
      await running.kill('SIGTERM');
    }
  });

  /** Writes one change after the other; `done` is when each was answered. */
  function writesTo(at: Running): { done: number[]; stop: () => Promise<void> } {
    const done: number[] = [];
    let isStopped = false;
    const running = (async () => {
      for (let round = 0; !isStopped; round++) {
        const body = {
          apiVersion: 'weft.mesh/v1',
          kind: 'Service',
          metadata: { name: 'written' },
          spec: { port: 80 + (round % 1000) },
        };
        const response = await fetch(`http://${at.ready.api}/v1/services/default/written`, {
          method: 'PUT',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(body),
        });
        await response.arrayBuffer();
        if (response.ok) done.push(performance.now());
        else if (response.status !== 503) throw new Error(`${response.status}`);
      }
    })();
    return {
      done,
      stop: async () => {
        isStopped = true;
        await running;
      },
    };
  }
});

/** The longest time without a write, from the last one before `sinceMs` on. */
function longestGap(done: readonly number[], sinceMs: number): number {
  const first = Math.max(
    0,
    done.findLastIndex((atMs) => atMs <= sinceMs),
  );
  let longest = 0;
  for (let index = first + 1; index < done.length; index++)
    longest = Math.max(longest, done[index]! - done[index - 1]!);
  return longest;
}
