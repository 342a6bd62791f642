import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/sidecar/clock.ts';
import { registrationOf } from '../../../src/sidecar/config-source.ts';
import { openPushLink } from '../../../src/sidecar/push-link.ts';
import { Subscription } from '../../../src/sidecar/subscription.ts';
import { ManualClock, silentLogger } from '../control/memory-store.ts';
import { FakeControlPlane, until } from './fake-control-plane.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A control plane whose push port answers an upgrade with a status instead, and remembers what came with it. */
async function refusing(status: number): Promise<{ url: string; seen: IncomingHttpHeaders[] }> {
  const seen: IncomingHttpHeaders[] = [];
  const server = createServer((_request, response) => {
    response.end(JSON.stringify({ push: `127.0.0.1:${(server.address() as AddressInfo).port}` }));
  });
  server.on('upgrade', (request, socket) => {
    seen.push(request.headers);
    // Whoever was refused hangs up at once.
    socket.on('error', () => {});
    socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  );
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

const open = (url: string, token: string | null) =>
  openPushLink(url, { token, trust: null }, systemClock, new AbortController().signal, { onFrame() {}, onClosed() {} });

describe('a push port that refuses', () => {
  it.each<[number, string | null, RegExp]>([
    [401, null, /with a certificate \(401\): name a join token with --join-token-file or WEFT_JOIN_TOKEN/],
    [401, 'stale', /refuses the token that came with the certificate/],
    [503, null, /it answers 503/],
  ])('with %d, token %j, is explained', async (status, token, message) => {
    const { url, seen } = await refusing(status);
    await expect(open(url, token)).rejects.toThrow(message);
    expect(seen.map(({ authorization }) => authorization)).toEqual([token === null ? undefined : `Bearer ${token}`]);
  });
});

describe('a subscription', () => {
  it('shows the token of the moment at each try, and tries at once when it hears of a new one', async () => {
    const { url, seen } = await refusing(401);
    let token: string | null = null;
    const subscription = new Subscription({
      urls: [url],
      service: 'app',
      namespace: 'default',
      softwareVersion: '0.1.0',
      pushToken: () => token,
      hosts: [],
      stateDir: null,
      // Its time stands still: only the call ends a wait.
      clock: new ManualClock(),
      random: () => 1,
      logger: silentLogger,
      apply: async () => {},
    });
    cleanups.push(() => subscription.close());
    subscription.start();
    await until(() => subscription.status().lastError !== null);
    token = 'fresh';
    await until(
      () => seen.length === 2,
      () => subscription.connectNow(),
    );
    expect(seen.map(({ authorization }) => authorization)).toEqual([undefined, 'Bearer fresh']);
  });

  it.each([true, false])('says in its Hello whether its links are insecure: %s', async (isLinkInsecure) => {
    const plane = await FakeControlPlane.start();
    cleanups.push(() => plane.stop());
    const subscription = new Subscription({
      urls: [plane.url],
      service: 'app',
      namespace: 'default',
      softwareVersion: '0.1.0',
      isLinkInsecure,
      hosts: [],
      stateDir: null,
      clock: systemClock,
      random: () => 0,
      logger: silentLogger,
      apply: async () => {},
    });
    cleanups.push(() => subscription.close());
    subscription.start();
    await until(() => plane.sessions[0]?.hello !== undefined);
    expect(plane.last.hello!.insecureLink).toBe(isLinkInsecure);
  });
});

describe('what is registered', () => {
  const facts = { inbound: '127.0.0.1:1', link: ['127.0.0.1:2'], advertise: null, zone: 'z', labels: { a: 'b' } };

  it('is nothing while the own address is not known', () => {
    expect(registrationOf({ ...facts, inbound: '0.0.0.0:1' }, null)).toBeNull();
    expect(registrationOf({ ...facts, link: ['[::]:2'] }, null)).toBeNull();
    expect(registrationOf({ ...facts, inbound: null, link: [] }, null)).toBeNull();
  });

  it.each([
    [{}, null, '127.0.0.1:1', ['127.0.0.1:2']],
    [{ link: [] }, null, '127.0.0.1:1', []],
    [{ inbound: null, link: ['127.0.0.1:2', '127.0.0.1:3'] }, null, '127.0.0.1:2', ['127.0.0.1:2', '127.0.0.1:3']],
    [{ inbound: '0.0.0.0:1', link: ['[::]:2'] }, '10.0.0.7', '10.0.0.7:1', ['10.0.0.7:2']],
    [{ inbound: '0.0.0.0:1', link: ['[::]:2'], advertise: 'fd00::7' }, '10.0.0.7', '[fd00::7]:1', ['[fd00::7]:2']],
  ])('of %j at %j is %s and %j', (given, localAddress, address, link) => {
    expect(registrationOf({ ...facts, ...given }, localAddress)).toEqual({
      address,
      link,
      zone: 'z',
      labels: { a: 'b' },
      weight: 1,
    });
  });
});
