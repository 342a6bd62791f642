/** Who gets a link and who does not: a mesh of real processes, and callers of every kind. */
import { spawn, spawnSync } from 'node:child_process';
import { connect } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { SigningRoot } from '../../src/identity/root.ts';
import { type Credentials, credentialsFrom, rootIn } from './credentials.ts';
import { Bench, call, type Running, until } from './harness.ts';
import { beside, counted, IdentityMesh, linesOf, linkFailures, whenServed } from './identity-mesh.ts';
import { RotationMesh } from './rotation-mesh.ts';
import { manifest, service } from './static-mesh.ts';

const refusedMessage = 'a caller was refused the link';
const hourMs = 3600_000;
const request = 'GET / HTTP/1.1\r\nHost: web\r\n\r\n';

interface Target {
  readonly host: string;
  readonly port: number;
}
const targetOf = (address: string): Target => ({
  host: address.split(':')[0]!,
  port: Number(address.split(':')[1]),
});

/** Says what it has to say as soon as it may, and resolves with what it hears until the other side closes. */
function heardBy(socket: ReturnType<typeof connect> | TLSSocket): Promise<string> {
  let heard = '';
  socket.setTimeout(10_000, () => socket.destroy(new Error('nobody closed the connection')));
  return new Promise((resolve, reject) => {
    socket.on('data', (bytes: Buffer) => {
      heard += bytes.toString('latin1');
    });
    // A refusal may come as a reset, or as an alert of TLS.
    socket.on('error', (error: NodeJS.ErrnoException) =>
      error.message === 'nobody closed the connection' ? reject(error) : resolve(`${heard} ${error.code ?? error}`),
    );
    socket.once('close', () => resolve(heard));
  });
}

function tlsClient(target: Target, credentials: Partial<Credentials>, alpn: readonly string[]): Promise<string> {
  const options = { ...target, ...credentials, ALPNProtocols: [...alpn], rejectUnauthorized: false };
  const socket = connectTls(options, () => socket.write(request));
  return heardBy(socket);
}

function openssl({ host, port }: Target): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn('openssl', ['s_client', '-connect', `${host}:${port}`, '-alpn', 'weft/1', '-quiet']);
    let heard = '';
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
    child.stdin.on('error', () => {});
    child.stdin.write(request);
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (bytes: Buffer) => {
        heard += bytes.toString('latin1');
      });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      resolve(`${heard} ended with ${code ?? signal}`);
    });
  });
}

describe('the link port of a sidecar', () => {
  const bench = new Bench();
  let web: Running;
  let shop: Running;
  let target: Target;
  let root: SigningRoot;
  let foreignRoot: SigningRoot;
  let requests = 0;

  beforeAll(async () => {
    const mesh = await IdentityMesh.start(bench);
    const app = await bench.app((_request, response) => {
      requests++;
      response.end('web');
    });
    web = await mesh.sidecar('web', ...beside(app));
    shop = await mesh.sidecar('shop');
    target = targetOf(web.ready.link);
    [root, foreignRoot] = await Promise.all([rootIn(bench.path('ca')), rootIn(bench.path('another'))]);
    await whenServed(shop.ready.outbound, 'web');
  });
  afterAll(() => bench.close());

  const by = async (signer: SigningRoot, wish: Partial<Parameters<typeof credentialsFrom>[1]> = {}) =>
    credentialsFrom(signer, { service: 'shop', ...wish });
  const link = ['weft/1'];

  /** Of each kind one line a second is logged: the next one of this kind will be. */
  const whenLogged = (reason: string) =>
    until(`the log takes another ${reason}`, () => {
      const last = linesOf(web, `${refusedMessage}: ${reason}`).at(-1);
      return last === undefined || Date.now() - Date.parse(last.time) > 1_100;
    });

  async function expectRefusals(reasons: readonly string[], callers: () => Promise<readonly string[]>): Promise<void> {
    for (const reason of reasons) await whenLogged(reason);
    const before = await linkFailures(web, 'inbound');
    const linesBefore = linesOf(web, refusedMessage).length;
    const requestsBefore = requests;
    const heard = await callers();
    const expected = Object.fromEntries(reasons.map((reason) => [reason, 1]));
    await until('each is counted', async () => {
      const found = counted(before, await linkFailures(web, 'inbound'));
      return Object.values(found).reduce((sum, count) => sum + count, 0) >= reasons.length;
    });
    expect(counted(before, await linkFailures(web, 'inbound'))).toEqual(expected);
    await until('each is logged', () => linesOf(web, refusedMessage).length >= linesBefore + reasons.length);
    const lines = linesOf(web, refusedMessage).slice(linesBefore);
    expect(lines.map(({ reason }) => reason).sort()).toEqual([...reasons].sort());
    for (const line of lines) {
      expect(line.caller).toMatch(/^127\.0\.0\.1:\d+$/);
      expect(line.detail).not.toMatch(/openssl|node_modules|undefined/);
      expect(line.detail).not.toBe('');
    }
    expect(requests).toBe(requestsBefore);
    for (const text of heard) expect(text).not.toContain('200 OK');
  }

  const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

  it.skipIf(!hasOpenssl)('refuses openssl s_client without a certificate', () =>
    expectRefusals(['no-certificate'], async () => [await openssl(target)]),
  );

  it.each<readonly [string, string, () => Promise<string>]>([
    ['a TLS client without a certificate', 'no-certificate', async () => tlsClient(target, {}, link)],
    [
      "a certificate of somebody else's CA",
      'untrusted-certificate',
      async () => tlsClient(target, await by(foreignRoot), link),
    ],
    [
      'an expired certificate',
      'expired-certificate',
      async () => tlsClient(target, await by(root, { nowMs: Date.now() - hourMs, ttlMs: hourMs / 2 }), link),
    ],
    [
      'a certificate of another trust domain',
      'foreign-identity',
      async () => tlsClient(target, await by(root, { trustDomain: 'other.example' }), link),
    ],
    ['a TLS client without ALPN', 'not-the-link', async () => tlsClient(target, await by(root), [])],
    ['a TLS client of another protocol', 'handshake-failed', async () => tlsClient(target, await by(root), ['h2'])],
    [
      'a plain HTTP client',
      'not-the-link',
      async () => {
        const socket = connect(target, () => socket.write(request));
        return heardBy(socket);
      },
    ],
  ])('refuses %s', (_who, reason, caller) => expectRefusals([reason], async () => [await caller()]));

  it('says who was refused for what, also when all of them come at once', () =>
    expectRefusals(['no-certificate', 'untrusted-certificate', 'expired-certificate'], async () =>
      Promise.all([
        tlsClient(target, {}, link),
        tlsClient(target, await by(foreignRoot), link),
        tlsClient(target, await by(root, { nowMs: Date.now() - hourMs, ttlMs: hourMs / 2 }), link),
      ]),
    ));

  it('goes on serving a sidecar with a good certificate meanwhile', async () => {
    const before = await linkFailures(web, 'inbound');
    expect(await call(shop.ready.outbound, 'web')).toMatchObject({ status: 200, body: 'web' });
    expect(counted(before, await linkFailures(web, 'inbound'))).toEqual({});
  });
});

describe('a caller', () => {
  let bench: Bench;
  let mesh: IdentityMesh;
  let app: { readonly address: string };
  let requests: number;
  beforeEach(async () => {
    bench = new Bench();
    mesh = await IdentityMesh.start(bench);
    requests = 0;
    app = await bench.app((_request, response) => {
      requests++;
      response.end('web');
    });
  });
  afterEach(() => bench.close());

  it('refuses a callee that is another Service than its endpoint says, and takes it when that is what was asked for', async () => {
    const web = await mesh.sidecar('web', ...beside(app));
    const shop = await mesh.sidecar('shop');
    await whenServed(shop.ready.outbound, 'web');
    const served = requests;
    const before = await linkFailures(shop, 'outbound');
    const endpoint = { address: app.address, link: web.ready.link };
    await mesh.apply(manifest([service('cart', [endpoint])]));

    const refused = await call(shop.ready.outbound, 'cart', '/', { method: 'POST', body: 'x' });
    expect([refused.status, refused.headers['weft-failure']]).toEqual([503, 'wrong-identity']);
    expect(JSON.parse(refused.body)).toMatchObject({ message: expect.stringMatching(/somebody else/) });
    expect(requests).toBe(served);
    const lines = linesOf(shop, 'The endpoint proved to be somebody else');
    expect(lines[0]).toMatchObject({
      failure: 'wrong-identity',
      link: web.ready.link,
      detail: 'it is spiffe://weft.local/ns/default/sa/web, not spiffe://weft.local/ns/default/sa/cart',
    });
    const found = counted(before, await linkFailures(shop, 'outbound'));
    expect(Object.keys(found)).toEqual(['wrong-identity']);
    // Each of the three tries of the request is a dial of its own; those of one second share a line.
    expect(found['wrong-identity']).toBeLessThanOrEqual(3);
    expect(lines.length).toBeLessThanOrEqual(found['wrong-identity']!);

    await mesh.apply(manifest([service('cart', [{ ...endpoint, identity: 'spiffe://weft.local/ns/default/sa/web' }])]));
    expect(await call(shop.ready.outbound, 'cart')).toMatchObject({ status: 200, body: 'web' });
    await mesh.apply(manifest([service('cart', [{ ...endpoint, identity: 'spiffe://weft.local/ns/shop/sa/web' }])]));
    expect((await call(shop.ready.outbound, 'cart')).headers['weft-failure']).toBe('wrong-identity');
  });

  it('with --insecure-link fails clearly at a callee with TLS', async () => {
    const web = await mesh.sidecar('web', ...beside(app));
    const bare = await mesh.sidecar('bare', '--insecure-link');
    let refused = await call(bare.ready.outbound, 'web');
    // Registered once it has a certificate, which its ready line does not wait for; its Service is there a moment before its endpoint.
    const isNotYetThere = () => /^(unknown-service|no-endpoint)$/.test(String(refused.headers['weft-failure']));
    await until('web is known', async () => {
      if (isNotYetThere()) refused = await call(bare.ready.outbound, 'web');
      return !isNotYetThere();
    });
    expect([refused.status, refused.headers['weft-failure']]).toEqual([502, 'link-lost']);
    expect(Object.keys(await linkFailures(bare, 'outbound'))).toEqual(['link-lost']);
    expect(linesOf(bare, 'The link to the far sidecar broke').at(0)?.detail).toMatch(
      /before it greeted: --insecure-link must be said by both sides/,
    );
    expect(Object.keys(await linkFailures(web, 'inbound'))).toEqual(['not-the-link']);
    expect(linesOf(web, refusedMessage)).toMatchObject([
      { reason: 'not-the-link', detail: expect.stringMatching(/does not speak TLS.*--insecure-link/) },
    ]);
    expect(requests).toBe(0);
  });

  it('with TLS fails clearly at a callee with --insecure-link', async () => {
    const bare = await mesh.sidecar('bare', ...beside(app), '--insecure-link');
    const shop = await mesh.sidecar('shop');
    // Before its own first certificate it has nothing to dial with.
    await until('shop has a certificate', () => linesOf(shop, 'a new certificate is in force').length > 0);
    const refused = await call(shop.ready.outbound, 'bare');
    expect([refused.status, refused.headers['weft-failure']]).toEqual([503, 'link-handshake-failed']);
    expect(linesOf(shop, 'The TLS handshake of the link').at(0)?.detail).toMatch(
      /does not speak TLS: --insecure-link must be said by both sides/,
    );
    await until('the callee counts it', async () => (await linkFailures(bare, 'inbound'))['not-the-link']! > 0);
    expect(linesOf(bare, refusedMessage).at(0)?.detail).toMatch(/--insecure-link must be said by both sides/);
    expect(requests).toBe(0);
    const status = await mesh.command(['status']);
    expect(status).toMatch(/bare.*insecure/);
  });
});

describe('a mesh with join tokens', () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.close());

  it('has no place for a sidecar without one, one for a sidecar with it, which needs none for a restart', async () => {
    const mesh = await IdentityMesh.start(bench);
    const tokenFile = async (name: string) =>
      bench.file(`${name}.token`, await mesh.command(['token', 'create', '--join', '--service', name]));
    const tokens = { web: await tokenFile('web'), shop: await tokenFile('shop') };
    const app = await bench.app((_request, response) => response.end('web'));
    const state = ['--state-dir', bench.path('shop-state')];

    const stranger = mesh.beginSidecar('shop');
    let isStrangerReady = false;
    stranger.whenReady.then(
      () => {
        isStrangerReady = true;
      },
      () => {},
    );
    await until('it is told what it lacks', () => linesOf(stranger, 'there is no new certificate').length > 0);
    expect(linesOf(stranger, 'there is no new certificate')[0]!.reason).toMatch(
      /weft token create --join --service shop\.default/,
    );
    await until('it is refused the push channel', () => /takes only sidecars with a certificate/.test(stranger.logs()));
    const impostor = await bench.run([
      ...['sidecar', '--service', 'web', '--control-plane', mesh.url, '--join-token-file', tokens.shop],
    ]);
    expect([impostor.code, impostor.stderr]).toEqual([1, expect.stringMatching(/for shop\.default, not for web/)]);

    await mesh.sidecar('web', ...beside(app), '--join-token-file', tokens.web);
    const shop = await mesh.sidecar('shop', ...state, '--join-token-file', tokens.shop);
    await whenServed(shop.ready.outbound, 'web');
    await shop.kill('SIGTERM');
    const again = await mesh.sidecar('shop', ...state);
    await whenServed(again.ready.outbound, 'web');
    // Ends well only when both have acknowledged the next root, which they do not before a control plane vouched for it over TLS.
    await mesh.command(['ca', 'rotate']);
    await whenServed(again.ready.outbound, 'web');
    await again.kill('SIGTERM');

    await mesh.control.kill('SIGKILL');
    const alone = await mesh.sidecar('shop', ...state);
    expect(await call(alone.ready.outbound, 'web')).toMatchObject({ status: 200, body: 'web' });

    // The one that was refused is where it was.
    expect(isStrangerReady).toBe(false);
    expect(linesOf(stranger, 'a new certificate is in force')).toEqual([]);
  });
});

describe('certificates of 10 s, the shortest there are, and a root', () => {
  const bench = new Bench();
  afterAll(() => bench.close());

  it('are replaced under load, and no request fails', async () => {
    const mesh = await RotationMesh.start(bench, '10s');
    await mesh.runFor(8_000);
    await mesh.rotateRoot();
    await mesh.runFor(25_000);
    expect((await mesh.roots()).map(({ isSigning, retiresAt }) => [isSigning, retiresAt !== null])).toEqual([
      [false, true],
      [true, false],
    ]);
    for (const { handovers, renewals } of await mesh.stop()) {
      expect(handovers).toBeGreaterThanOrEqual(2);
      expect(renewals).toBeGreaterThanOrEqual(3);
    }
  });
});
