import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { SigningRoot } from '../../../../src/identity/root.ts';
import { issueServerCertificate } from '../../../../src/identity/server-certificate.ts';
import { askForBootstrap } from '../../../../src/sidecar/identity/bootstrap-client.ts';
import { newRoot, nowMs } from '../../identity/roots.ts';

let root: SigningRoot;
let other: SigningRoot;
beforeAll(async () => {
  [root, other] = await Promise.all([newRoot(), newRoot()]);
});

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function urlOf(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        if ('closeAllConnections' in server) (server.closeAllConnections as () => void)();
      }),
  );
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const good = JSON.stringify({ push: 'ws://127.0.0.1:7071/v1/push', bundle: 'ROOTS' });
/** Always the same, whatever it is asked. */
function answering(body: string, status = 200, headers = {}) {
  const paths: (string | undefined)[] = [];
  const listener: RequestListener = (request, response) => {
    paths.push(request.url);
    response.writeHead(status, headers).end(body);
  };
  return { paths, listener };
}

async function tlsServer(by: SigningRoot, body = good) {
  const { chainPem, keyPem } = await issueServerCertificate(by, {
    ...{ trustDomain: 'weft.local', nowMs, ttlMs: 3600_000 },
  });
  const { paths, listener } = answering(body);
  return { paths, url: await urlOf(createHttpsServer({ key: keyPem, cert: chainPem }, listener)) };
}

const { signal } = new AbortController();
const pinned = () => ({ trustDomain: 'weft.local', rootsSha256: [root.sha256], bundlePem: null });

describe('over TLS', () => {
  it('asks nothing of somebody whose root is another', async () => {
    const { url, paths } = await tlsServer(other);
    await expect(askForBootstrap(url, pinned(), nowMs, signal)).rejects.toThrow(/cannot be reached over TLS: .*root/);
    expect(paths).toEqual([]);
  });

  it('asks nothing of somebody who speaks plain HTTP', async () => {
    const { paths, listener } = answering(good);
    const url = await urlOf(createHttpServer(listener));
    await expect(askForBootstrap(url, pinned(), nowMs, signal)).rejects.toThrow('cannot be reached over TLS');
    expect(paths).toEqual([]);
  });

  it('reads no endless answer', async () => {
    const { url } = await tlsServer(root, 'x'.repeat(600 * 1024));
    await expect(askForBootstrap(url, pinned(), nowMs, signal)).rejects.toThrow('too much');
  });

  it('answers with the push port and the roots', async () => {
    const { url, paths } = await tlsServer(root);
    expect(await askForBootstrap(url, pinned(), nowMs, signal)).toEqual({
      pushUrl: 'ws://127.0.0.1:7071/v1/push',
      bundlePem: 'ROOTS',
    });
    expect(paths).toEqual(['/v1/bootstrap']);
  });
});

describe('in plain HTTP', () => {
  it.each<[string, number, string, object, RegExp]>([
    ['an error', 500, good, {}, /answers 500/],
    ['an order to speak TLS', 426, '{}', {}, /needs a join token/],
    ['another place', 302, '', { Location: 'http://127.0.0.1:1/' }, /answers 302/],
    ['no JSON', 200, '<html>', {}, /push address/],
    ['null', 200, 'null', {}, /push address/],
    ['a push address elsewhere', 200, '{"push":"ws://a:1/v1/other"}', {}, /push address/],
    ['another scheme', 200, '{"push":"https://a:1/v1/push"}', {}, /push address/],
    ['a name in it', 200, '{"push":"ws://me@a:1/v1/push"}', {}, /push address/],
    ['too much', 200, 'x'.repeat(600 * 1024), {}, /too much/],
  ])('takes no %s', async (_what, status, body, headers, message) => {
    const url = await urlOf(createHttpServer(answering(body, status, headers).listener));
    await expect(askForBootstrap(url, null, nowMs, signal)).rejects.toThrow(message);
  });

  it('takes a push address that speaks TLS', async () => {
    const url = await urlOf(createHttpServer(answering('{"push":"wss://a:9/v1/push"}').listener));
    expect(await askForBootstrap(url, null, nowMs, signal)).toEqual({ pushUrl: 'wss://a:9/v1/push', bundlePem: '' });
  });

  it('asks nobody at https:// without a root to believe', async () => {
    const { url, paths } = await tlsServer(root);
    await expect(askForBootstrap(url.replace('http:', 'https:'), null, nowMs, signal)).rejects.toThrow(
      /join token names/,
    );
    expect(paths).toEqual([]);
  });

  it('takes HOST:PORT for a push address, and no roots for none', async () => {
    const url = await urlOf(createHttpServer(answering('{"push":"127.0.0.1:9"}').listener));
    const expected = { pushUrl: 'ws://127.0.0.1:9/v1/push', bundlePem: '' };
    expect(await askForBootstrap(url, null, nowMs, signal)).toEqual(expected);
  });
});
