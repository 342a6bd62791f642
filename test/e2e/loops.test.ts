/** Sidecars with several event loops: what is true of one loop is true of all of them together, and they end as one. */
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, load, type Running, until } from './harness.ts';
import { beside, IdentityMesh, linesOf, linkFailures, whenServed } from './identity-mesh.ts';
import { certificateAt, loopsOf, onFreshConnections, served, sumOf, tally, valuesOf, withLoops } from './loops-mesh.ts';
import { manifest, type Resource, route, service, startCart, startWeb } from './static-mesh.ts';
import { steadyApp, steadyLoad } from './steady-load.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

const named = async (name: string) => (await bench.app((_request, response) => response.end(name))).address;
const roundRobin = { loadBalancer: { policy: 'RoundRobin' } };

/** A request whose head of 10 KiB comes in two, and the begin of its answer. */
function inTwoSegments(address: string): Promise<string> {
  const [host, port] = address.split(':');
  const fields = Array.from({ length: 10 }, (_, i) => `X-Large-${i}: ${'y'.repeat(1_000)}\r\n`).join('');
  const head = `GET / HTTP/1.1\r\nHost: cart\r\n${fields}\r\n`;
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), host, () => {
      socket.setNoDelay(true);
      socket.write(head.slice(0, 6_000));
      setTimeout(() => socket.write(head.slice(6_000)), 50);
    });
    socket.once('data', (bytes: Buffer) => {
      resolve(bytes.toString('latin1'));
      socket.destroy();
    });
    socket.on('error', reject);
    socket.once('close', () => resolve('closed'));
  });
}

/** A port that nobody listens on, and `count - 1` behind it. */
async function freePorts(count: number): Promise<number> {
  for (;;) {
    const servers = [createServer()];
    const listen = (port: number) =>
      new Promise<boolean>((resolve) => {
        const server = servers.at(-1)!;
        server.once('error', () => resolve(false));
        server.listen(port, '127.0.0.1', () => resolve(true));
      });
    let isFree = await listen(0);
    const first = (servers[0]!.address() as AddressInfo).port;
    for (let next = 1; next < count && isFree; next++) {
      servers.push(createServer());
      isFree = await listen(first + next);
    }
    for (const server of servers) if (server.listening) await new Promise((resolve) => server.close(resolve));
    if (isFree) return first;
  }
}

describe('several event loops', () => {
  it.each([2, 3])('%i of them serve on one port, take exact turns, and count together', async (loops) => {
    const [a, b, c] = await Promise.all(['a', 'b', 'c'].map(named));
    const mesh = [service('round', [a, b, c], roundRobin), service('cart', [a, b])];
    const split = route([
      {
        backendRefs: [
          { name: 'only-a', port: 80, weight: 1 },
          { name: 'only-b', port: 80, weight: 2 },
        ],
      },
    ]);
    const resources = [...mesh, service('only-a', [a]), service('only-b', [b]), split];
    const web = await startWeb(bench, resources, ...withLoops(loops), '--upstream', 'round=127.0.0.1:0');
    const replies = await onFreshConnections(web.ready.outbound, 300, () => ({ host: 'round' }));
    expect(tally(replies)).toEqual({ a: 100, b: 100, c: 100 });
    const kept = await load(web.ready.outbound, 'round', 30, 300).done;
    expect([kept.failed, Object.fromEntries(kept.byBody)]).toEqual([[], { a: 100, b: 100, c: 100 }]);
    const shares = tally(await onFreshConnections(web.ready.outbound, 300, () => ({ host: 'cart' })));
    expect(shares).toEqual({ a: 100, b: 200 });

    const byLoop = await served(web);
    expect(byLoop).toHaveLength(loops);
    for (const requests of byLoop) expect(requests).toBeGreaterThan(0);
    expect(sumOf(byLoop)).toBe(900);
    expect(sumOf(await valuesOf(web, 'weft_requests_total'))).toBe(900);
    expect(sumOf(await valuesOf(web, 'weft_request_duration_seconds_count'))).toBe(900);
    const stats = JSON.parse((await call(web.ready.admin, 'admin', '/stats')).body) as {
      series: { destination: string; requests: number }[];
    };
    const requestsOf = (destination: string) => stats.series.find((each) => each.destination === destination)?.requests;
    expect([requestsOf('round.default'), requestsOf('only-b.default')]).toEqual([600, 200]);
    const [port] = linesOf(web, 'a port of its own');
    const own = await onFreshConnections(String(port!.address), 60, () => ({ host: 'whatever' }));
    expect(tally(own)).toEqual({ a: 20, b: 20, c: 20 });

    await web.kill('SIGTERM');
    expect(await web.exited).toEqual({ code: 0, signal: null });
    expect(linesOf(web, 'an event loop')).toEqual([]);
  });

  it('take heads as large as one loop does, which come in several segments', async () => {
    const a = await named('a');
    const web = await startWeb(bench, [service('cart', [a])], ...withLoops(3));
    const answers = await Promise.all(Array.from({ length: 60 }, () => inTwoSegments(web.ready.outbound)));
    expect(answers.filter((answer) => !/^HTTP\/1.1 200 OK\r\n/.test(answer))).toEqual([]);
    for (const requests of await served(web)) expect(requests).toBeGreaterThan(0);
  });

  it('share an inbound listener on uWebSockets.js, and drain it with no failed request', async () => {
    const start = async (name: string) =>
      startCart(bench, await named(name), [], '127.0.0.1:0', '--inbound-http', 'uws', ...withLoops(2));
    const [one, two] = await Promise.all([start('one'), start('two')]);
    const web = await startWeb(bench, [service('cart', [one!.ready.inbound, two!.ready.inbound])], ...withLoops(2));
    const traffic = load(web.ready.outbound, 'cart', 24);
    await until('every loop has served', async () =>
      (await Promise.all([one!, two!, web].map(served))).flat().every((requests) => requests > 20),
    );
    writeFileSync(bench.path('web.yaml'), manifest([service('cart', [two!.ready.inbound])]));
    await until('nobody is sent to the first one', async () =>
      (await loopsOf(web)).every(({ revision }) => revision > 1),
    );
    await one!.kill('SIGTERM');
    expect(await one!.exited).toEqual({ code: 0, signal: null });
    expect((await traffic.stop()).failed).toEqual([]);
  });

  it('take a change of the configuration, all of them', async () => {
    const [a, b] = await Promise.all(['a', 'b'].map(named));
    const web = await startWeb(bench, [service('cart', [a])], ...withLoops(3));
    expect(tally(await onFreshConnections(web.ready.outbound, 60, () => ({ host: 'cart' })))).toEqual({ a: 60 });
    const traffic = load(web.ready.outbound, 'cart', 20);
    for (let change = 1; change <= 10; change++) {
      writeFileSync(bench.path('web.yaml'), manifest([service('cart', [change % 2 === 0 ? a : b])]));
      await until('every loop has the change', async () =>
        (await loopsOf(web)).every(({ revision }) => revision > change),
      );
      const expected = change % 2 === 0 ? { a: 60 } : { b: 60 };
      expect(tally(await onFreshConnections(web.ready.outbound, 60, () => ({ host: 'cart' })))).toEqual(expected);
    }
    expect((await traffic.stop()).failed).toEqual([]);
  });

  it('write whole lines into one access log', async () => {
    const a = await named('a');
    const web = await startWeb(bench, [service('cart', [a])], ...withLoops(3), '--access-log');
    await onFreshConnections(web.ready.outbound, 300, (i) => ({ host: 'cart', path: `/${i}` }));
    await web.kill('SIGTERM');
    const lines = web.logs().trim().split('\n');
    const paths = lines
      .map((line) => (JSON.parse(line) as { path?: string }).path)
      .filter((path) => path !== undefined);
    expect(new Set(paths).size).toBe(300);
    expect(paths).toHaveLength(300);
  });

  it('are refused a port that another sidecar shares among its own', async () => {
    const a = await named('a');
    const web = await startWeb(bench, [service('cart', [a])], ...withLoops(2));
    const second = bench.begin([
      ...['sidecar', '--service', 'web', '--outbound', web.ready.outbound, '--admin', '127.0.0.1:0'],
      ...['--config', bench.path('web.yaml'), ...withLoops(2)],
    ]);
    expect(await second.exited).toEqual({ code: 1, signal: null });
    // One sentence for a person, with the flag.
    expect(second.logs()).toMatch(/^The sidecar could not start: --outbound: cannot listen on .*another process.*\n$/);
    expect((await call(web.ready.outbound, 'cart')).body).toBe('a');
  });

  it('have a link port each, the one named and those behind it; one that is taken is named, and nothing stays behind', async () => {
    const app = await named('cart');
    const first = await freePorts(3);
    const links = [0, 1, 2].map((loop) => `127.0.0.1:${first + loop}`);
    const blocker = await bench.tcp(() => {});
    const args = (link: string) => ['--link', link, '--insecure-link', ...withLoops(3)];
    const cart = await startCart(bench, app, [], '127.0.0.1:0', ...args(links[0]!));
    expect((await loopsOf(cart)).map(({ link }) => link)).toEqual(links);
    expect(cart.ready).toMatchObject({ link: links[0], links });
    const refused = bench.begin([
      ...['sidecar', '--service', 'cart', '--app', app, '--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0'],
      ...['--config', bench.path('cart.yaml'), ...args(`127.0.0.1:${blocker.port - 1}`)],
    ]);
    expect(await refused.exited).toEqual({ code: 1, signal: null });
    expect(refused.logs()).toContain('--link: cannot listen on');
  });

  it('take exact turns over links, whose ports all carry calls', async () => {
    const names = ['a', 'b', 'c'];
    const callees = await Promise.all(
      names.map(async (name) =>
        startCart(
          bench,
          await named(name),
          [],
          '127.0.0.1:0',
          '--link',
          '127.0.0.1:0',
          '--insecure-link',
          ...withLoops(2),
        ),
      ),
    );
    const endpoints = callees.map(({ ready }) => ({ address: ready.inbound, link: ready.links }));
    const resources = [service('round', endpoints, roundRobin)];
    const web = await startWeb(bench, resources, '--insecure-link', ...withLoops(3));
    const replies = await onFreshConnections(web.ready.outbound, 300, () => ({ host: 'round' }));
    expect(tally(replies)).toEqual({ a: 100, b: 100, c: 100 });
    for (const requests of await served(web)) expect(requests).toBeGreaterThan(0);
    // Those of the first moment go to whichever link is there first.
    const kept = await load(web.ready.outbound, 'round', 12, 600).done;
    expect([kept.failed, Object.fromEntries(kept.byBody)]).toEqual([[], { a: 200, b: 200, c: 200 }]);
    for (const callee of callees) {
      const byLoop = await served(callee);
      expect(sumOf(byLoop)).toBe(300);
      for (const requests of byLoop) expect(requests).toBeGreaterThan(0);
    }
  });
});

describe('several event loops in a mesh', () => {
  const pattern = (name: string): Resource => ({
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name },
    spec: {
      parentRefs: [{ group: 'weft.mesh', kind: 'Service', name }],
      rules: [
        {
          matches: [{ path: { type: 'RegularExpression', value: '/v[0-9]+' } }],
          backendRefs: [{ name, port: 80 }],
        },
      ],
    },
  });

  it('decide patterns and discover hosts, each of them', async () => {
    const mesh = await IdentityMesh.start(bench);
    const app = await named('here');
    const hosts = Array.from({ length: 30 }, (_, i) => `cart-${i}`);
    await mesh.apply(manifest([...hosts.map((host) => service(host, [app])), pattern('cart-0')]));
    const web = await mesh.sidecar('web', ...withLoops(3));
    // The first requests for all of them, three for each host.
    const found = await onFreshConnections(web.ready.outbound, 90, (i) => ({ host: hosts[i % 30]!, path: '/v1' }));
    expect(tally(found)).toEqual({ here: 90 });
    const none = await onFreshConnections(web.ready.outbound, 30, () => ({ host: 'nobody' }));
    expect(tally(none)).toEqual({ '404 unknown-service': 30 });
    const before = await served(web);
    const matched = await onFreshConnections(web.ready.outbound, 90, (i) => ({ host: 'cart-0', path: `/v${i}` }));
    expect(tally(matched)).toEqual({ here: 90 });
    const unmatched = await onFreshConnections(web.ready.outbound, 90, () => ({ host: 'cart-0', path: '/w' }));
    expect(tally(unmatched)).toEqual({ '404 no-route': 90 });
    const after = await served(web);
    expect(after.map((requests, loop) => requests > before[loop]! + 10)).toEqual([true, true, true]);
    // A Service that comes later is pushed to all loops.
    await mesh.apply(manifest([service('nobody', [app])]));
    expect(tally(await onFreshConnections(web.ready.outbound, 30, () => ({ host: 'nobody' })))).toEqual({ here: 30 });
    await web.kill('SIGTERM');
    expect(await web.exited).toEqual({ code: 0, signal: null });
  });

  it('register every link port, and drain under load with no failed request', async () => {
    const mesh = await IdentityMesh.start(bench);
    const start = async (name: string) =>
      mesh.sidecar('cart', '--app', await named(name), '--link', '127.0.0.1:0', ...withLoops(2));
    const [one] = await Promise.all([start('one'), start('two')]);
    const web = await mesh.sidecar('web', ...withLoops(3));
    await whenServed(web.ready.outbound, 'cart');
    const traffic = load(web.ready.outbound, 'cart', 24);
    await until('both are called on all their loops', async () => {
      const counts = await Promise.all([one!, web].map(served));
      return counts.flat().every((requests) => requests > 20);
    });
    await one!.kill('SIGTERM');
    expect(await one!.exited).toEqual({ code: 0, signal: null });
    const sentAtStop = traffic.sent;
    await until('requests go on', () => traffic.sent > sentAtStop + 200);
    const { failed, byBody } = await traffic.stop();
    expect(failed).toEqual([]);
    expect([...byBody.keys()].sort()).toEqual(['one', 'two']);
    // What each loop has counted is one series.
    const rows = async () => {
      const told = JSON.parse(await mesh.command(['stat', '-o', 'json'])) as {
        series: { direction: string; source: string; requests: number }[];
      };
      return told.series.filter(({ direction, source }) => direction === 'outbound' && source === 'web.default');
    };
    await until('the control plane knows of all requests', async () => {
      const counts = (await rows()).map(({ requests }) => requests);
      return counts.length === 1 && counts[0] === sumOf(await served(web));
    });
    expect(linesOf(one!, 'an event loop')).toEqual([]);
    expect(linesOf(one!, 'the drain ended before')).toEqual([]);
  });

  it('show a new certificate on all link ports, and believe a new root, with no failed request', async () => {
    const mesh = await IdentityMesh.start(bench, '--certificate-ttl', '10s');
    const cart = await mesh.sidecar('cart', ...beside(await bench.app(steadyApp)), ...withLoops(3));
    const web = await mesh.sidecar('web', ...withLoops(2));
    await whenServed(web.ready.outbound, 'cart');
    const { links } = cart.ready;
    expect(links).toHaveLength(3);
    const shown = async () => new Set(await Promise.all(links.map(certificateAt)));
    const failuresBefore = await linkFailures(web, 'outbound');
    const first = await shown();
    expect(first.size).toBe(1);
    const traffic = steadyLoad(web.ready.outbound, 'cart', { gets: 12, posts: 4 });
    await mesh.command(['ca', 'rotate']);
    const renewals = (sidecar: Running) => linesOf(sidecar, 'a new certificate is in force').length - 1;
    await until('there are new certificates', () => renewals(cart) >= 3 && renewals(web) >= 3, 40_000);
    await until('all loops show one and the same', async () => {
      const now = await shown();
      return now.size === 1 && ![...first].some((certificate) => now.has(certificate));
    });
    const { failed, sent } = await traffic.stop();
    expect(failed).toEqual([]);
    expect(sent).toBeGreaterThan(100);
    expect(await linkFailures(web, 'outbound')).toEqual(failuresBefore);
  });
});

describe('the end of several event loops', () => {
  /** Loaded into every thread; those of event loops do this once the file is there. */
  const saboteur = (flag: string, deed: string) => `
    const { isMainThread, workerData } = require('node:worker_threads');
    const { existsSync } = require('node:fs');
    if (!isMainThread && workerData?.live !== undefined)
      setInterval(() => { if (existsSync(${JSON.stringify(flag)})) { ${deed} } }, 20);
  `;

  const sabotaged = async (deed: string, ...more: readonly string[]): Promise<Running> => {
    const preload = bench.file('saboteur.cjs', saboteur(bench.path('now'), deed));
    const config = bench.file('web.yaml', manifest([service('cart', [await named('a')])]));
    const web = await bench.weft(
      [
        ...['sidecar', '--service', 'web', '--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0'],
        ...['--config', config, ...withLoops(3), ...more],
      ],
      { NODE_OPTIONS: `--require ${preload}` },
    );
    expect((await call(web.ready.outbound, 'cart')).body).toBe('a');
    bench.file('now', '');
    return web;
  };

  it('is one with the process when one of them fails, with a clear word', async () => {
    const web = await sabotaged("throw new Error('sabotage');");
    expect(await web.exited).toEqual({ code: 1, signal: null });
    expect(web.logs()).toMatch(/event loop [12] failed, and with it this sidecar: Error: sabotage/);
    expect(web.logs()).not.toContain('Assertion failed');
  });

  it('does not wait for one that hangs', async () => {
    const web = await sabotaged('for (;;);', '--drain-timeout', '100ms');
    await new Promise((resolve) => setTimeout(resolve, 200));
    const { body } = await call(web.ready.admin, 'admin', '/metrics');
    expect(body).toContain('weft_loop_requests_total{loop="2"}');
    web.process.kill('SIGTERM');
    expect(await web.exited).toEqual({ code: null, signal: 'SIGKILL' });
    expect(linesOf(web, 'did not stop in time')).toHaveLength(1);
    expect(web.logs()).not.toContain('Assertion failed');
  });

  it('comes at once with a second signal, and is no abort', async () => {
    const app = await bench.app(() => {});
    const web = await startWeb(bench, [service('cart', [app.address])], ...withLoops(3));
    const unanswered = onFreshConnections(web.ready.outbound, 20, () => ({ host: 'cart' })).catch(() => 'cut');
    await until('calls are under way', async () => sumOf(await valuesOf(web, 'weft_loop_connections')) >= 20);
    web.process.kill('SIGTERM');
    await until('it drains', () => linesOf(web, 'draining').length > 0);
    web.process.kill('SIGTERM');
    expect(await web.exited).toEqual({ code: 143, signal: null });
    expect(web.logs()).not.toContain('Assertion failed');
    expect(await unanswered).toBe('cut');
  });

  it('comes after the app with `weft run`', async () => {
    const result = await bench.run([
      ...['run', '--service', 'cart', '--app-port', String(await freePorts(1)), '--outbound', '127.0.0.1:0'],
      ...['--admin', '127.0.0.1:0', '--config', bench.file('none.yaml', manifest([service('x', [])])), ...withLoops(2)],
      ...['--', process.execPath, '-e', 'process.exitCode = 7'],
    ]);
    expect(result.code).toBe(7);
    expect(result.stderr).not.toContain('Assertion failed');
  });
});
