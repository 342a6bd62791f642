/** Certificates, tokens and the TLS of the API's port, as sidecars and attackers meet them. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { Agent, request as httpsRequest } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { connect as connectTls, createServer as createTlsServer, type PeerCertificate, type TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { type CertificateRequest, makeCertificateRequest } from '../../src/identity/certificate-request.ts';
import { limits } from '../../src/model/limits.ts';
import { systemClock } from '../../src/sidecar/clock.ts';
import { decodeControlFrame } from '../../src/wire/control-frame.ts';
import { encodeSidecarFrame } from '../../src/wire/sidecar-frame.ts';
import { silentLogger } from '../unit/control/memory-store.ts';
import { type Answer, type ApiUnderTest, expectProblem, muteSidecar } from './api-harness.ts';
import { apiRoom } from './api-room.ts';

const { cleanups, start } = apiRoom();

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** Asks for a certificate of `service` with a new key. */
async function certify(api: ApiUnderTest, service: string, token?: string): Promise<Answer & CertificateRequest> {
  const made = await makeCertificateRequest();
  const body = { csr: made.csrPem, service, namespace: 'default' };
  const answer = await api.call('POST', '/v1/certificates', {
    body,
    headers: token === undefined ? {} : bearer(token),
  });
  return { ...answer, ...made };
}

async function joinToken(api: ApiUnderTest, service: string, ttlSeconds = 60): Promise<string> {
  const { status, body } = await api.call('POST', '/v1/join-tokens', {
    body: { service, namespace: 'default', ttlSeconds },
  });
  expect(status).toBe(200);
  return body.token;
}

interface LogLine {
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

/** What a control plane warns of. */
function rememberingLogger() {
  const lines: LogLine[] = [];
  const warn = (fields: object, message: string) => void lines.push({ fields: { ...fields }, message });
  return { logger: { ...silentLogger, warn }, lines };
}

/** A clock that can be put forward. */
function shiftedClock() {
  const clock = { ...systemClock, aheadMs: 0, nowMs: () => Date.now() + clock.aheadMs };
  return clock;
}

describe('POST /v1/certificates', () => {
  it('refuses what it cannot understand', async () => {
    const api = await start();
    const { csrPem } = await makeCertificateRequest();
    const valid = { csr: csrPem, service: 'cart', namespace: 'default' };
    const post = (body: unknown) => api.call('POST', '/v1/certificates', { body });
    for (const [body, detail] of [
      [[], /JSON object/],
      ['null', /JSON object/],
      [{ ...valid, csr: 7 }, /csr must be a text/],
      [{ ...valid, csr: '' }, /csr must be a text/],
      [{ ...valid, service: undefined }, /service must be a text/],
      [{ ...valid, service: 'Cart' }, /must be names/],
      [{ ...valid, service: 'a/sa/admin' }, /must be names/],
      [{ ...valid, service: 'x'.repeat(64) }, /must be names/],
      [{ ...valid, namespace: '..' }, /must be names/],
      [{ ...valid, csr: 'hello' }, /not one CERTIFICATE REQUEST/],
    ] as const)
      expectProblem(await post(body), 400, 'bad-request', detail);
    expectProblem(await post({ ...valid, csr: 'x'.repeat(20_000) }), 413, 'too-large');
    expectProblem(await api.get('/v1/certificates'), 405, 'method-not-allowed', /POST/);
  });

  it('logs whom it refused, and no token', async () => {
    const { logger, lines } = rememberingLogger();
    const api = await start({ logger });
    const token = await joinToken(api, 'cart');
    await certify(api, 'pay');
    await certify(api, 'cart', `${token}A`);
    await certify(api, 'web', token);
    const who = { namespace: 'default', peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/) };
    const refused = 'a sidecar was refused a certificate';
    expect(lines).toEqual([
      {
        fields: { ...who, service: 'pay', code: 'token-required', reason: expect.any(String) },
        message: `${refused}: token-required`,
      },
      {
        fields: { ...who, service: 'cart', code: 'token-invalid', reason: expect.any(String) },
        message: `${refused}: token-invalid`,
      },
      {
        fields: {
          ...who,
          service: 'web',
          code: 'token-for-another-service',
          reason: expect.stringMatching(/sa\/cart, not/),
        },
        message: `${refused}: token-for-another-service`,
      },
    ]);
    expect(JSON.stringify(lines)).not.toContain(token);
  });

  it('needs no token before the first one was made', async () => {
    const api = await start({ certificateTtlMs: 20_000 });
    const askedAtMs = Date.now();
    const { status, body, keyPem } = await certify(api, 'cart');
    expect(status).toBe(200);
    expect(body).toMatchObject({ trustDomain: 'weft.local', spiffeId: 'spiffe://weft.local/ns/default/sa/cart' });
    const svid = new X509Certificate(body.certificate);
    expect(svid.subjectAltName).toBe('URI:spiffe://weft.local/ns/default/sa/cart');
    expect(svid.checkPrivateKey(createPrivateKey(keyPem))).toBe(true);
    expect(svid.verify(new X509Certificate(body.bundle).publicKey)).toBe(true);
    expect(Date.parse(svid.validTo)).toBe(Date.parse(body.expiresAt));
    expect(Date.parse(body.expiresAt) - askedAtMs).toBeGreaterThan(18_000);
    expect(Date.parse(body.expiresAt) - askedAtMs).toBeLessThan(22_000);
    expect((await api.get('/v1/bootstrap')).body).toMatchObject({ bundle: body.bundle, requiresToken: false });
  });

  it('is for the bearer of a token of this Service and nobody else from the first token on', async () => {
    const clock = shiftedClock();
    const api = await start({ clock });
    const stranger = await start();
    const token = await joinToken(api, 'cart');
    expect((await api.get('/v1/bootstrap')).body.requiresToken).toBe(true);
    const none = await certify(api, 'cart');
    expectProblem(none, 401, 'token-required', /weft token create --join.*--join-token-file/);
    expect(none.headers.get('www-authenticate')).toBe('Bearer');
    expectProblem(await certify(api, 'cart', 'x'), 401, 'token-invalid', /not a token of this mesh/);
    expectProblem(await certify(api, 'cart', 'x y'), 401, 'token-invalid', /Bearer TOKEN/);
    expectProblem(await certify(api, 'cart', `${token}A`), 401, 'token-invalid');
    expectProblem(await certify(api, 'cart', await joinToken(stranger, 'cart')), 401, 'token-invalid', /root/);
    expectProblem(await certify(api, 'web', token), 403, 'token-for-another-service', /sa\/cart, not .*sa\/web/);

    // As often as it is shown, also after a restart.
    const first = await certify(api, 'cart', token);
    expect(first.status).toBe(200);
    await api.restart();
    expect((await certify(api, 'cart', token)).status).toBe(200);
    expectProblem(await certify(api, 'cart'), 401, 'token-required');

    // The push token renews, for its own Service.
    const renewed = await certify(api, 'cart', first.body.token);
    expect(renewed.status).toBe(200);
    expectProblem(await certify(api, 'web', first.body.token), 403, 'token-for-another-service');

    clock.aheadMs = 61_000;
    expectProblem(await certify(api, 'cart', token), 401, 'token-invalid', /expired/);
    expect((await certify(api, 'cart', first.body.token)).status).toBe(200);
    clock.aheadMs = limits.certificateTtlMs + 1_000;
    expectProblem(await certify(api, 'cart', first.body.token), 401, 'token-invalid', /expired/);
  });

  it('waits for the sidecars that have not acknowledged the root', async () => {
    const api = await start();
    const before = await muteSidecar(api, 'one', []);
    before.ack(await before.next());
    await api.plane.close();
    // Its key is lost: the new root is one that the sidecar, whose lease lives, has yet to hear of.
    await rm(join(api.directory, 'ca'), { recursive: true });
    await api.restart();
    const refused = await certify(api, 'cart');
    expectProblem(refused, 503, 'not-signing', /one sidecar has not acknowledged its root/);
    expect(refused.headers.get('retry-after')).toBe('1');
    const name = { sidecar: 'one', service: 'app', namespace: 'default' };
    expect(refused.body.missing).toEqual([name]);
    expect((await api.get('/v1/ca')).body).toMatchObject({ signing: null, waitingFor: [name], roots: [{}, {}] });
    expectProblem(await api.call('POST', '/v1/ca/rotate?timeoutMs=1'), 503, 'not-signing');

    const again = await muteSidecar(api, 'one', []);
    cleanups.push(again.end);
    again.ack(await again.next());
    while ((await api.get('/v1/ca')).body.signing === null) await setImmediate();
    expect((await certify(api, 'cart')).status).toBe(200);
  });

  it('leaves nothing secret in the log, nor in a refusal', async () => {
    const lines: string[] = [];
    const note = (fields: object, message: string) => void lines.push(JSON.stringify([fields, message]));
    const api = await start({ logger: { debug: note, info: note, warn: note, error: note, fatal: note } });
    const token = await joinToken(api, 'cart');
    const { body, csrPem } = await certify(api, 'cart', token);
    const refusals = [
      await certify(api, 'web', token),
      await certify(api, 'cart', `${token}A`),
      await api.call('POST', '/v1/certificates', { body: `{"csr": "${token}`, headers: bearer(token) }),
      await api.call('POST', '/v1/join-tokens', { body: { service: token, namespace: 'default' } }),
    ];
    await pushAs(api, 'cart', token);
    const said = [...lines, ...refusals.map((refusal) => JSON.stringify(refusal.body))].join('\n');
    const key = await readFile(join(api.directory, 'ca', 'root.key'), 'utf8');
    for (const secret of [token, body.token, key.split('\n')[1]!, csrPem.split('\n')[1]!]) {
      // The signature is what makes a token one.
      expect(said).not.toContain(secret.split('.').at(-1));
    }
  });
});

describe('join tokens', () => {
  it.each([
    [{}, /namespace must be a text/],
    [{ service: 'cart' }, /namespace/],
    [{ service: 'Cart', namespace: 'default' }, /must be names/],
    [{ service: 'cart', namespace: 'default', ttlSeconds: 0 }, /1 to 2592000/],
    [{ service: 'cart', namespace: 'default', ttlSeconds: 1.5 }, /whole number/],
    [{ service: 'cart', namespace: 'default', ttlSeconds: '60' }, /whole number/],
    [{ service: 'cart', namespace: 'default', ttlSeconds: 2_592_001 }, /1 to 2592000/],
  ])('are not made of %j', async (body, detail) => {
    const api = await start();
    expectProblem(await api.call('POST', '/v1/join-tokens', { body }), 400, 'bad-request', detail);
    expect((await api.get('/v1/ca')).body.requiresJoinToken).toBe(false);
  });

  it('live as long as they say, an hour by themselves', async () => {
    const api = await start();
    const { body } = await api.call('POST', '/v1/join-tokens', { body: { service: 'cart', namespace: 'shop' } });
    expect(body.spiffeId).toBe('spiffe://weft.local/ns/shop/sa/cart');
    expect(Date.parse(body.expiresAt) - Date.now()).toBeGreaterThan(limits.joinTokenTtlMs - 10_000);
    expect(Date.parse(body.expiresAt) - Date.now()).toBeLessThanOrEqual(limits.joinTokenTtlMs);
  });
});

interface Met {
  readonly socket: TLSSocket;
  readonly peer: PeerCertificate;
}

/** A raw TLS client that believes what it is shown, and looks at it. */
async function meet(api: ApiUnderTest, options: object = {}): Promise<Met> {
  const [host, port] = api.plane.api.split(':') as [string, string];
  const socket = connectTls({ host, port: Number(port), rejectUnauthorized: false, ...options });
  cleanups.push(() => socket.destroy());
  await once(socket, 'secureConnect');
  return { socket, peer: socket.getPeerCertificate(true) };
}

/** SHA-256 of the root at the end of what the port shows. */
function shownRoot({ peer }: Met): string {
  const issuer = (peer as PeerCertificate & { issuerCertificate: PeerCertificate }).issuerCertificate;
  return issuer.fingerprint256.replaceAll(':', '').toLowerCase();
}

async function rawConnection(api: ApiUnderTest): Promise<Socket> {
  const [host, port] = api.plane.api.split(':') as [string, string];
  const socket = connect(Number(port), host);
  cleanups.push(() => socket.destroy());
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** A clock on which a peer has little time for its first byte and its handshake. */
const impatientClock = {
  ...systemClock,
  after: (ms: number, run: () => void) => systemClock.after(ms === limits.headTimeoutMs ? 30 : ms, run),
};

describe('TLS on the port of the API', () => {
  it('shows the root that join tokens name, and the name of a control plane', async () => {
    const api = await start();
    const token = await joinToken(api, 'cart');
    const { root } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString());
    const met = await meet(api);
    expect(shownRoot(met)).toBe(root);
    expect(met.peer.subjectaltname).toContain('URI:spiffe://weft.local/control-plane');
    expect(met.socket.getProtocol()).toBe('TLSv1.3');
    expect((await meet(api)).peer.fingerprint256).toBe(met.peer.fingerprint256);
  });

  it('is verified by who believes the bundle, and refused by who does not', async () => {
    const api = await start();
    const { bundle } = (await api.get('/v1/bootstrap')).body;
    const verified = { rejectUnauthorized: true, servername: 'localhost' };
    expect((await meet(api, { ...verified, ca: bundle })).socket.authorized).toBe(true);
    await expect(meet(api, verified)).rejects.toThrow(/self-signed|unable to/);
  });

  it('speaks the same API as without, several requests to a connection', async () => {
    const api = await start();
    const agent = new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
    cleanups.push(() => agent.destroy());
    const get = (path: string) =>
      new Promise<{ status: number | undefined; port: number | undefined; body: string }>((resolve, reject) => {
        const request = httpsRequest(`https://${api.plane.api}${path}`, { agent }, async (response) => {
          let body = '';
          for await (const chunk of response) body += String(chunk);
          resolve({ status: response.statusCode, port: request.socket?.localPort, body });
        });
        request.on('error', reject).end();
      });
    const answers = [await get('/healthz'), await get('/v1/nothing'), await get('/v1/ca')];
    expect(answers.map(({ status }) => status)).toEqual([200, 404, 200]);
    expect(new Set(answers.map(({ port }) => port)).size).toBe(1);
    expect(JSON.parse(answers[2]!.body)).toEqual((await api.get('/v1/ca')).body);
  });

  it('takes a first byte that comes alone, for either protocol', async () => {
    const api = await start();
    const plain = await rawConnection(api);
    const head = 'GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n';
    plain.write(head[0]!);
    let text = '';
    plain.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    await api.get('/healthz');
    plain.write(head.slice(1));
    await once(plain, 'close');
    expect(text).toMatch(/^HTTP\/1\.1 200 OK/);
  });

  it('ends what begins like TLS and is none, and serves on', async () => {
    const api = await start();
    for (const bytes of [[0x16], [0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5], [0x16, ...Buffer.from('GET / HTTP/1.1\r\n\r\n')]]) {
      const socket = await rawConnection(api);
      socket.end(Buffer.from(bytes));
      socket.resume();
      await once(socket, 'close');
    }
    expect((await api.get('/healthz')).status).toBe(200);
    expect((await meet(api)).socket.encrypted).toBe(true);
  });

  it.each([
    ['nothing', []],
    ['no more than the start of a handshake', [0x16, 3, 1, 1, 0]],
  ])('cuts who says %s in time', async (_, bytes) => {
    const api = await start({ clock: impatientClock });
    const socket = await rawConnection(api);
    if (bytes.length > 0) socket.write(Buffer.from(bytes));
    socket.resume();
    await once(socket, 'close');
    expect((await api.get('/healthz')).status).toBe(200);
  });

  it('is not held up at its end by who has not shaken hands yet', async () => {
    const api = await start();
    const [silent, half] = [await rawConnection(api), await rawConnection(api)];
    half.write(Buffer.from([0x16, 3, 1, 1, 0]));
    const closed = [silent, half].map((socket) => {
      socket.resume();
      return once(socket, 'close');
    });
    const before = performance.now();
    await api.plane.close();
    expect(performance.now() - before).toBeLessThan(1_500);
    await Promise.all(closed);
  });

  it('renews its certificate at half of its life', async () => {
    const clock = shiftedClock();
    const api = await start({ clock, certificateTtlMs: 60_000 });
    const first = (await meet(api)).peer.fingerprint256;
    clock.aheadMs = 25_000;
    expect((await meet(api)).peer.fingerprint256).toBe(first);
    clock.aheadMs = 31_000;
    expect((await meet(api)).peer.fingerprint256).not.toBe(first);
  });
});

describe('two Services with certificates', () => {
  it('shake hands and know each other by name', async () => {
    const api = await start();
    const [cart, web] = [await certify(api, 'cart'), await certify(api, 'web')];
    const mutual = { minVersion: 'TLSv1.3', requestCert: true, rejectUnauthorized: true } as const;
    const server = createTlsServer({ ...mutual, key: cart.keyPem, cert: cart.body.certificate, ca: cart.body.bundle });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    const caller = connectTls({
      ...{ host: '127.0.0.1', port, key: web.keyPem, cert: web.body.certificate, ca: web.body.bundle },
      checkServerIdentity: () => undefined,
    });
    cleanups.push(() => caller.destroy());
    const [[callee]] = await Promise.all([once(server, 'secureConnection'), once(caller, 'secureConnect')]);
    cleanups.push(() => callee.destroy());
    expect([callee.authorized, caller.authorized]).toEqual([true, true]);
    expect(callee.getPeerCertificate().subjectaltname).toBe('URI:spiffe://weft.local/ns/default/sa/web');
    expect(caller.getPeerCertificate().subjectaltname).toBe('URI:spiffe://weft.local/ns/default/sa/cart');
  });
});

describe('a rotation', () => {
  it('waits for a late sidecar, names it, and goes on', async () => {
    const api = await start({ certificateTtlMs: 20_000 });
    const sidecar = await muteSidecar(api, 'late', []);
    cleanups.push(sidecar.end);
    sidecar.ack(await sidecar.next());
    const before = (await api.get('/v1/ca')).body;
    expect(before).toMatchObject({
      trustDomain: 'weft.local',
      certificateTtlSeconds: 20,
      requiresJoinToken: false,
      signing: before.roots[0].sha256,
      roots: [{ isSigning: true, retiresAt: null, subject: expect.stringMatching(/^O=Weft, CN=Weft root/) }],
      waitingFor: [],
    });
    expectProblem(await api.call('POST', '/v1/ca/rotate?timeoutMs=x'), 400, 'bad-request');
    const late = await api.call('POST', '/v1/ca/rotate?timeoutMs=50');
    const name = { sidecar: 'late', service: 'app', namespace: 'default' };
    expectProblem(late, 504, 'not-applied', /one sidecar has not acknowledged it.*rotate again to go on/);
    expect(late.body.missing).toEqual([name]);
    const between = (await api.get('/v1/ca')).body;
    expect(between).toMatchObject({ signing: before.signing, waitingFor: [name], roots: [{}, { isSigning: false }] });
    expect(new X509Certificate((await certify(api, 'cart')).body.certificate).issuer).toBe(
      new X509Certificate((await api.get('/v1/bootstrap')).body.bundle).subject,
    );

    const again = api.call('POST', '/v1/ca/rotate');
    sidecar.ack(await sidecar.next());
    const { status, body } = await again;
    expect(status).toBe(200);
    expect(body).toMatchObject({
      signing: between.roots[1].sha256,
      roots: [
        { sha256: before.signing, isSigning: false, retiresAt: expect.any(String) },
        { isSigning: true, retiresAt: null },
      ],
    });
    expect(shownRoot(await meet(api))).toBe(body.signing);
    await api.restart();
    expect((await api.get('/v1/ca')).body).toMatchObject({ signing: body.signing, roots: body.roots });
    expect((await certify(api, 'cart')).status).toBe(200);
  });
});

interface Pushed {
  /** What the upgrade was answered with, 101 when it was let in. */
  readonly status: number;
  /** Code of the refusal that followed; null: it became a member. */
  readonly refusal: string | null;
}

/** Opens the push channel as a sidecar of `service`. */
async function pushAs(api: ApiUnderTest, service: string, token?: string): Promise<Pushed> {
  const socket = new WebSocket(`ws://${api.plane.push}/v1/push`, {
    headers: token === undefined ? {} : bearer(token),
  });
  cleanups.push(() => socket.terminate());
  socket.on('error', () => {});
  const status = await new Promise<number>((resolve) => {
    socket.once('open', () => resolve(101));
    socket.once('unexpected-response', (_, response) => resolve(response.statusCode ?? 0));
  });
  if (status !== 101) return { status, refusal: null };
  const hello = { tag: 'hello', namespace: 'default', softwareVersion: '0.1.0', more: false } as const;
  socket.send(
    encodeSidecarFrame({
      ...hello,
      ...{ service, sidecar: `s-${service}`, hosts: [], held: new Map(), registration: null, insecureLink: false },
    }),
  );
  const [bytes] = await once(socket, 'message');
  const frame = decodeControlFrame(bytes as Buffer);
  return { status, refusal: frame.tag === 'refusal' ? frame.code : null };
}

describe('the push port', () => {
  it('is open to everybody until the first join token, and then to who shows a push token of its Service', async () => {
    const clock = shiftedClock();
    const { logger, lines } = rememberingLogger();
    const api = await start({ clock, logger });
    expect(await pushAs(api, 'cart')).toEqual({ status: 101, refusal: null });
    const early = (await certify(api, 'cart')).body.token;
    expect(await pushAs(api, 'web', early)).toEqual({ status: 101, refusal: 'wrong-identity' });
    const join = await joinToken(api, 'cart');
    for (const token of [undefined, 'x', join]) expect(await pushAs(api, 'cart', token)).toMatchObject({ status: 401 });
    expect(await pushAs(api, 'cart', early)).toEqual({ status: 101, refusal: null });
    const { token } = (await certify(api, 'cart', join)).body;
    expect(await pushAs(api, 'cart', token)).toEqual({ status: 101, refusal: null });
    expect(await pushAs(api, 'web', token)).toEqual({ status: 101, refusal: 'wrong-identity' });
    clock.aheadMs = limits.certificateTtlMs + 1_000;
    expect(await pushAs(api, 'cart', token)).toMatchObject({ status: 401 });
    expect(lines).toContainEqual({
      fields: {
        ...{ sidecar: 's-web', service: 'web', namespace: 'default', code: 'wrong-identity' },
        reason: 'its token is for cart.default, not for web.default',
      },
      message: 'a sidecar was refused',
    });
    expect(lines.at(-1)).toMatchObject({
      fields: {
        ...{ claimedService: 'cart', claimedNamespace: 'default', peer: '127.0.0.1' },
        reason: 'the push token is not valid: it has expired',
      },
      message: 'a connection of a sidecar was refused',
    });
    for (const secret of [early, join, token]) expect(JSON.stringify(lines)).not.toContain(secret);
  });
});
