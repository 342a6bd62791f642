/** TLS on the ports of a control plane that other machines reach: what they show, what they refuse, and that nothing goes in plain. */
import { once } from 'node:events';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, createSecureContext, type TLSSocket } from 'node:tls';
import { beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { type PlainPolicy, speakTlsToo } from '../../src/control/api/tls-port.ts';
import { emptyBundle } from '../../src/control/ca/bundle-edits.ts';
import { startPush } from '../../src/control/push.ts';
import { makeCertificateRequest } from '../../src/identity/certificate-request.ts';
import type { SigningRoot } from '../../src/identity/root.ts';
import { issueServerCertificate } from '../../src/identity/server-certificate.ts';
import { issueSvid } from '../../src/identity/svid.ts';
import { controlPlaneServerName } from '../../src/model/identity.ts';
import { limits } from '../../src/model/limits.ts';
import { systemClock } from '../../src/sidecar/clock.ts';
import { askForBootstrap } from '../../src/sidecar/identity/bootstrap-client.ts';
import { askForCertificate } from '../../src/sidecar/identity/certificate-client.ts';
import type { ControlPlaneTrust } from '../../src/sidecar/identity/control-plane-contact.ts';
import { DirectoryIdentity } from '../../src/sidecar/identity/directory-identity.ts';
import { DirectoryWithToken } from '../../src/sidecar/identity/directory-with-token.ts';
import { IssuedIdentity } from '../../src/sidecar/identity/issued-identity.ts';
import { decodeJoinToken, fixedJoinToken } from '../../src/sidecar/identity/join-token.ts';
import { openPushLink } from '../../src/sidecar/push-link.ts';
import { decodeControlFrame } from '../../src/wire/control-frame.ts';
import { encodeSidecarFrame } from '../../src/wire/sidecar-frame.ts';
import { ManualClock, MemoryStore, silentLogger } from '../unit/control/memory-store.ts';
import { newRoot } from '../unit/identity/roots.ts';
import { ApiUnderTest, expectProblem } from './api-harness.ts';
import { apiRoom } from './api-room.ts';

let own: SigningRoot;
let foreign: SigningRoot;
beforeAll(async () => {
  [own, foreign] = await Promise.all([newRoot(Date.now()), newRoot(Date.now())]);
});

const room = apiRoom();
const { cleanups, start } = room;

async function pemOf(root: SigningRoot, names: readonly string[] = []) {
  const wish = { trustDomain: 'weft.local', names, nowMs: Date.now(), ttlMs: 600_000 };
  const { chainPem, keyPem } = await issueServerCertificate(root, wish);
  return { cert: chainPem, key: keyPem };
}

/** Shakes hands with whoever is there, and answers what it is shown. */
async function meet(address: string, servername?: string): Promise<TLSSocket> {
  const [host, port] = address.split(':') as [string, string];
  const named = servername === undefined ? {} : { servername };
  const socket = connectTls({ host, port: Number(port), rejectUnauthorized: false, ...named });
  cleanups.push(() => socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}
const rootShown = (socket: TLSSocket): string =>
  socket.getPeerX509Certificate()!.issuerCertificate!.fingerprint256.replaceAll(':', '').toLowerCase();

/** All that a port says to these bytes until it closes. */
async function said(address: string, bytes: string): Promise<string> {
  const [host, port] = address.split(':') as [string, string];
  const socket: Socket = connect(Number(port), host);
  cleanups.push(() => socket.destroy());
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
  });
  socket.on('error', () => undefined);
  socket.write(bytes);
  await once(socket, 'close');
  return text;
}

describe('a port that speaks TLS too', () => {
  async function port(plain: PlainPolicy) {
    const asked: (string | undefined)[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url);
      response.end('served');
    });
    const { cert, key } = await pemOf(own);
    const context = createSecureContext({ cert, key });
    const cut = speakTlsToo(server, { context: async () => context, plain, clock: systemClock, onError: () => {} });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => {
      cut();
      server.closeAllConnections();
      server.close();
    });
    return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
  }
  const question = 'POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\nconnection: close\r\n\r\n';

  it('answers plain HTTP where it is refused so that people understand, and hands nothing on', async () => {
    const peers: string[] = [];
    const { address, asked } = await port({ tag: 'refused', onRefused: (peer) => peers.push(peer) });
    // With a body behind it: what is not read must not take the answer away.
    const text = await said(address, `${question}${'x'.repeat(100_000)}`);
    expect(text).toMatch(/^HTTP\/1\.1 426 Upgrade Required\r\n/);
    expect(text).toMatch(/upgrade: TLS\/1\.3/);
    expect(JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4))).toMatchObject({
      status: 426,
      code: 'tls-required',
      detail: expect.stringContaining('https://'),
    });
    expect(asked).toEqual([]);
    expect(peers).toEqual([expect.stringMatching(/^127\.0\.0\.1:\d+$/)]);
    expect((await meet(address)).encrypted).toBe(true);
  });

  it('takes plain HTTP between loopback addresses where only that is allowed', async () => {
    const { address, asked } = await port({ tag: 'on-loopback', onRefused: () => {} });
    expect(await said(address, 'GET /y HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')).toMatch(/^HTTP\/1\.1 200/);
    expect(asked).toEqual(['/y']);
  });
});

describe('an API with a certificate of its own', () => {
  it('shows it to people, and the root of the mesh to sidecars, and reads it again', async () => {
    const clock = { ...systemClock, aheadMs: 0, nowMs: () => Date.now() + clock.aheadMs };
    const files = await ApiUnderTest.start({ workerFile: room.workerFile });
    cleanups.push(() => files.stop());
    const [certFile, keyFile] = [join(files.directory, 'api.crt'), join(files.directory, 'api.key')];
    const write = async (root: SigningRoot) => {
      const { cert, key } = await pemOf(root, ['api.example']);
      for (const [path, text] of [
        [certFile, cert],
        [keyFile, key],
      ] as const) {
        await writeFile(`${path}.new`, text);
        await rename(`${path}.new`, path);
      }
    };
    await write(own);
    const warned: object[] = [];
    const logger = { ...silentLogger, error: (fields: object) => void warned.push(fields) };
    const api = await start({ clock, logger, tlsFiles: { certFile, keyFile } });
    for (const name of [undefined, 'api.example']) expect(rootShown(await meet(api.plane.api, name))).toBe(own.sha256);
    const mesh = rootShown(await meet(api.plane.api, controlPlaneServerName));
    expect(mesh).not.toBe(own.sha256);

    await write(foreign);
    clock.aheadMs += limits.tlsFilesLookMs;
    expect(rootShown(await meet(api.plane.api))).toBe(foreign.sha256);
    expect(rootShown(await meet(api.plane.api, controlPlaneServerName))).toBe(mesh);

    // Half of a renewal: the one before stays.
    await writeFile(certFile, (await pemOf(own)).cert);
    clock.aheadMs += limits.tlsFilesLookMs;
    expect(rootShown(await meet(api.plane.api))).toBe(foreign.sha256);
    expect(warned).toMatchObject([{ certFile, reason: expect.stringMatching(/do not fit together/) }]);
  });

  it.each([
    ['none', 'nonsense', /is no certificate in PEM/],
    ['another key', null, /do not fit together/],
  ])('does not start with %s', async (_what, cert, reason) => {
    const files = await ApiUnderTest.start({ workerFile: room.workerFile });
    cleanups.push(() => files.stop());
    const [certFile, keyFile] = [join(files.directory, 'api.crt'), join(files.directory, 'api.key')];
    const [first, second] = [await pemOf(own), await pemOf(own)];
    await writeFile(certFile, cert ?? first.cert);
    await writeFile(keyFile, second.key);
    await expect(ApiUnderTest.start({ workerFile: room.workerFile, tlsFiles: { certFile, keyFile } })).rejects.toThrow(
      reason,
    );
    await expect(
      ApiUnderTest.start({ workerFile: room.workerFile, tlsFiles: { certFile: '/nowhere', keyFile } }),
    ).rejects.toMatchObject({ code: 'bad-tls-files', message: expect.stringContaining('/nowhere cannot be read') });
  });
});

describe('an API whose certificate has expired', () => {
  it('starts all the same, and says so: its sidecars never see it', async () => {
    const files = await ApiUnderTest.start({ workerFile: room.workerFile });
    cleanups.push(() => files.stop());
    const [certFile, keyFile] = [join(files.directory, 'api.crt'), join(files.directory, 'api.key')];
    const { cert, key } = await pemOf(own);
    await writeFile(certFile, cert);
    await writeFile(keyFile, key);
    const errors: string[] = [];
    const logger = { ...silentLogger, error: (_: object, message: string) => void errors.push(message) };
    const clock = { ...systemClock, nowMs: () => Date.now() + 3600_000 };
    const api = await start({ clock, logger, tlsFiles: { certFile, keyFile } });
    expect(rootShown(await meet(api.plane.api))).toBe(own.sha256);
    expect(errors).toEqual([expect.stringMatching(/certificate of the API has expired/)]);
  });
});

describe('push over TLS', () => {
  /** A control plane whose push port speaks TLS, and a sidecar's token for it. */
  async function secured() {
    const api = await start({ isPushTls: true });
    const joined = await api.call('POST', '/v1/join-tokens', { body: { service: 'app', namespace: 'default' } });
    const { csrPem } = await makeCertificateRequest();
    const certified = await api.call('POST', '/v1/certificates', {
      body: { csr: csrPem, service: 'app', namespace: 'default' },
      headers: { authorization: `Bearer ${joined.body.token}` },
    });
    const { root } = JSON.parse(Buffer.from(joined.body.token.split('.')[1], 'base64url').toString());
    const trust: ControlPlaneTrust = { trustDomain: 'weft.local', rootsSha256: [root], bundlePem: null };
    return { api, token: certified.body.token as string, trust };
  }
  const link = (
    api: ApiUnderTest,
    token: string | null,
    trust: ControlPlaneTrust | null,
    onFrame = (_: Uint8Array) => {},
  ) =>
    openPushLink(api.url(''), { token, trust }, systemClock, new AbortController().signal, { onFrame, onClosed() {} });

  it('is what sidecars are told of, and asks for join tokens from the start', async () => {
    const { api } = await secured();
    expect((await api.get('/v1/bootstrap')).body).toMatchObject({
      push: `wss://${api.plane.push}/v1/push`,
      requiresToken: true,
    });
  });

  it('carries frames both ways for who pins the root or knows it from the bundle', async () => {
    const { api, token, trust } = await secured();
    const { bundle } = (await api.get('/v1/bootstrap')).body;
    for (const believed of [trust, { ...trust, rootsSha256: [], bundlePem: bundle }]) {
      let heard: (bytes: Uint8Array) => void = () => {};
      const frame = new Promise<Uint8Array>((resolve) => {
        heard = resolve;
      });
      const open = await link(api, token, believed, (bytes) => heard(bytes));
      cleanups.push(() => open.close());
      expect(open.localAddress).toBe('127.0.0.1');
      open.send(
        encodeSidecarFrame({
          tag: 'hello',
          ...{ sidecar: 'one', service: 'app', namespace: 'default', softwareVersion: '0.1.0', more: false },
          ...{ hosts: [], held: new Map(), registration: null, insecureLink: false },
        }),
      );
      expect(decodeControlFrame(Buffer.from(await frame)).tag).toBe('push');
      expect((await api.get('/v1/sidecars')).body.items).toMatchObject([{ sidecar: 'one', connected: true }]);
      open.close();
    }
  });

  it('takes a sidecar whose links show a certificate of another CA, with a join token beside it', async () => {
    const { api } = await secured();
    const joined = await api.call('POST', '/v1/join-tokens', { body: { service: 'app', namespace: 'default' } });
    const identityDir = await mkdtemp(join(tmpdir(), 'weft-other-ca-'));
    const { csrPem, keyPem } = await makeCertificateRequest();
    const identity = { trustDomain: 'weft.local', namespace: 'default', service: 'app' };
    const svid = await issueSvid(foreign, { csrPem, identity, nowMs: Date.now(), ttlMs: 600_000 });
    await writeFile(join(identityDir, 'svid.pem'), svid.certificatePem);
    await writeFile(join(identityDir, 'key.pem'), keyPem);
    await writeFile(join(identityDir, 'bundle.pem'), foreign.certificatePem);
    const own = { service: 'app', namespace: 'default', clock: systemClock, logger: silentLogger };
    const directory = new DirectoryIdentity({ path: identityDir, ...own });
    await directory.load();
    const issued = new IssuedIdentity({
      ...own,
      ...{ urls: [api.url('')], file: null, random: () => 0.5, ask: askForCertificate, askForBootstrap },
      joinToken: fixedJoinToken(decodeJoinToken(joined.body.token, 'app', 'default')),
      makeRequest: makeCertificateRequest,
    });
    const agent = new DirectoryWithToken(directory, issued);
    cleanups.push(
      () => rm(identityDir, { recursive: true }),
      () => agent.close(),
    );
    // Of the directory at once; what opens the push channel is asked for.
    expect(agent.current?.bundlePem).toBe(foreign.certificatePem);
    expect(agent.pushToken).toBeNull();
    agent.start();
    await agent.first;
    const open = await link(api, agent.pushToken, agent.controlPlaneTrust);
    open.close();
    expect(agent.current?.certificatePem).toBe(svid.certificatePem);
    expect(agent.status()).toMatchObject({ source: 'directory', lastError: null });
  });

  it('shows no token to a control plane of another root', async () => {
    const { api, token, trust } = await secured();
    await expect(link(api, token, { ...trust, rootsSha256: [foreign.sha256] })).rejects.toThrow(/root/);
    await expect(link(api, token, { ...trust, trustDomain: 'other.example' })).rejects.toThrow(
      /not of spiffe:\/\/other/,
    );
    expect((await api.get('/v1/sidecars')).body.items).toEqual([]);
  });

  it('is for no sidecar that knows no root, nor without a token', async () => {
    const { api, trust } = await secured();
    await expect(link(api, null, null)).rejects.toThrow(/knows no root to believe: name a join token/);
    await expect(link(api, null, trust)).rejects.toThrow(/only sidecars with a certificate \(401\)/);
    await expect(link(api, 'a.b.c', trust)).rejects.toThrow(/refuses the token/);
  });

  it('says what is wrong to who speaks plain, asks something else or comes from a page', async () => {
    const { api, token } = await secured();
    const { push } = api.plane;
    const upgrade = (path: string, more = '') =>
      `GET ${path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nauthorization: Bearer ${token}\r\n${more}\r\n`;
    expect(await said(push, upgrade('/v1/push'))).toMatch(/^HTTP\/1\.1 426 /);
    const over = async (text: string) => {
      const socket = await meet(push);
      let heard = '';
      socket.setEncoding('latin1').on('data', (chunk: string) => {
        heard += chunk;
      });
      socket.write(text);
      await once(socket, 'close');
      return heard;
    };
    expect(await over(upgrade('/v1/other'))).toMatch(/^HTTP\/1\.1 404 /);
    expect(await over(upgrade('/v1/push', 'origin: http://evil.example\r\n'))).toMatch(/^HTTP\/1\.1 403 /);
    expect(await over('GET / HTTP/1.1\r\nhost: a\r\n\r\n')).toMatch(/^HTTP\/1\.1 404 /);
    expect(await over('nonsense\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
  });
});

/** A push port over TLS with a time that is the test's, which asks nobody for a token, and one connection to it. */
describe('a connection to the push port over TLS', () => {
  async function open() {
    const clock = new ManualClock();
    const store = new MemoryStore(clock);
    const { cert, key } = await pemOf(own);
    const context = createSecureContext({ cert, key });
    const authority = { bundle: emptyBundle('weft.local'), identify: () => Promise.reject(new Error('not asked')) };
    const push = await startPush({
      ...{ store, authority, host: '127.0.0.1', port: 0, clock, logger: silentLogger },
      transport: { tag: 'tls', context: async () => context, isInsecure: false },
    });
    const socket = new WebSocket(`wss://${push.address}/v1/push`, {
      perMessageDeflate: false,
      rejectUnauthorized: false,
    });
    cleanups.push(
      () => push.close(),
      () => socket.terminate(),
    );
    const frames: ReturnType<typeof decodeControlFrame>[] = [];
    socket.on('message', (bytes: Buffer) => frames.push(decodeControlFrame(bytes)));
    socket.on('error', () => undefined);
    const closed = once(socket, 'close') as Promise<[number, Buffer]>;
    await once(socket, 'open');
    const advance = async (seconds: number) => {
      for (let i = 0; i < seconds; i++) {
        clock.advance(1_000);
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    return { socket, push, store, frames, closed, advance };
  }
  const hello = encodeSidecarFrame({
    tag: 'hello',
    ...{ sidecar: 'one', service: 'app', namespace: 'default', softwareVersion: '0.1.0', more: false },
    ...{ hosts: ['big'], held: new Map(), registration: null, insecureLink: false },
  });

  it.each([
    ['bytes that are no frame', Buffer.from([1, 2, 3])],
    ['text', 'hello'],
    ['nothing', Buffer.alloc(0)],
  ])('that brings %s is told so, and closed', async (_what, bytes) => {
    const { socket, frames, closed } = await open();
    socket.send(bytes);
    expect((await closed)[0]).toBe(1008);
    expect(frames).toMatchObject([{ tag: 'refusal' }]);
  });

  it('that brings too much at once is closed, and others go on', async () => {
    const { socket, push, closed } = await open();
    socket.send(Buffer.alloc(limits.pushClientFrameBytesMax + 1));
    expect((await closed)[0]).toBe(1009);
    const again = new WebSocket(`wss://${push.address}/v1/push`, { rejectUnauthorized: false });
    cleanups.push(() => again.terminate());
    await once(again, 'open');
  });

  it('that does not greet is cut after 10 s', async () => {
    const { closed, advance } = await open();
    await advance(limits.greetingMs / 1_000 + 2);
    expect((await closed)[0]).toBe(1006);
  });

  it('that is silent is asked, and cut when it does not answer', async () => {
    const { socket, push, closed, advance } = await open();
    socket.send(hello);
    await once(socket, 'message');
    let pings = 0;
    socket.on('ping', () => pings++);
    // Its answers keep it.
    for (let round = 0; round < 3; round++) {
      await advance(9);
      while (pings <= round) await once(socket, 'ping');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(push.fleet.list()).toMatchObject([{ connected: true }]);
    socket.pause();
    await advance(20);
    socket.resume();
    expect((await closed)[0]).toBe(1006);
  });

  it('that does not read is cut after 15 s, and costs one ChangeSet', async () => {
    const { socket, store, push, advance } = await open();
    socket.send(hello);
    await once(socket, 'message');
    socket.send(encodeSidecarFrame({ tag: 'ack', sequence: 1 }));
    socket.pause();
    const big = { apiVersion: 'weft.mesh/v1', kind: 'Service', metadata: { name: 'big' }, spec: {} } as const;
    await store.put({ ...big, metadata: { name: 'big', annotations: { note: 'x'.repeat(32 * 1024 * 1024) } } });
    // It is not silent meanwhile.
    for (let second = 0; second < 20 && push.fleet.list()[0]?.connected === true; second++) {
      await advance(1);
      socket.send(encodeSidecarFrame({ tag: 'renew', trouble: '' }));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(push.fleet.list()[0]?.connected ?? false).toBe(false);
  });
});

describe('the address of the push port', () => {
  it('is the one under which a sidecar has found a control plane that listens everywhere', async () => {
    // Nothing of it leaves this machine: it is asked on loopback.
    const api = await start({ push: '0.0.0.0:0', isInsecure: true });
    const port = api.plane.push.split(':').at(-1);
    const answer = await api.raw('GET /v1/bootstrap HTTP/1.1\r\nhost: localhost:1\r\nconnection: close\r\n\r\n');
    expect(answer).toContain(`"push":"ws://localhost:${port}/v1/push"`);
    expect((await api.get('/v1/status')).body.access).toEqual({ requiresToken: false, isInsecure: true });
    expectProblem(await api.get('/nowhere'), 404, 'not-found');
  });
});
