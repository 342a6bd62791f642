import { createServer as createHttpServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { makeCertificateRequest } from '../../../../src/identity/certificate-request.ts';
import type { SigningRoot } from '../../../../src/identity/root.ts';
import { issueServerCertificate } from '../../../../src/identity/server-certificate.ts';
import { issueSvid } from '../../../../src/identity/svid.ts';
import { limits } from '../../../../src/model/limits.ts';
import {
  askForCertificate,
  type CertificateQuestion,
  CertificateRefusedError,
} from '../../../../src/sidecar/identity/certificate-client.ts';
import type { ControlPlaneTrust } from '../../../../src/sidecar/identity/control-plane-contact.ts';
import { identityOf, newRoot, nowMs } from '../../identity/roots.ts';

let root: SigningRoot;
let other: SigningRoot;
beforeAll(async () => {
  root = await newRoot();
  other = await newRoot();
});

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        if ('closeAllConnections' in server) (server.closeAllConnections as () => void)();
      }),
  );
  return (server.address() as AddressInfo).port;
}

interface Seen {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly authorization: string | undefined;
  readonly body: string;
}

const good = { certificate: 'CERT', bundle: 'ROOTS', token: 'push-token' };

/** Answers everything the same way, and remembers what it was asked. */
function answering(status: number, body: unknown, headers = {}) {
  const seen: Seen[] = [];
  const listener: RequestListener = async (request, response) => {
    seen.push({
      method: request.method,
      url: request.url,
      authorization: request.headers.authorization,
      body: await bodyOf(request),
    });
    response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body));
  };
  return { listener, seen };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request) body += chunk;
  return body;
}

interface Served {
  /** Who issued the server's certificate. */
  readonly by?: SigningRoot;
  readonly trustDomain?: string;
  readonly atMs?: number;
  /** Sends the root as well. */
  readonly isRootSent?: boolean;
  readonly chain?: { readonly chainPem: string; readonly keyPem: string };
}

async function tlsServer({ by = root, trustDomain = 'weft.local', atMs = nowMs, isRootSent = true, chain }: Served) {
  const issued = chain ?? (await issueServerCertificate(by, { trustDomain, nowMs: atMs, ttlMs: 3600_000 }));
  const leafOnly = issued.chainPem.slice(0, issued.chainPem.indexOf('-----END') + 26);
  const { listener, seen } = answering(200, good);
  const server = createHttpsServer({ key: issued.keyPem, cert: isRootSent ? issued.chainPem : leafOnly }, listener);
  return { port: await listening(server), seen };
}

const trusting = (trust: Partial<ControlPlaneTrust> = {}): ControlPlaneTrust => ({
  trustDomain: 'weft.local',
  rootsSha256: [],
  bundlePem: null,
  ...trust,
});

function ask(port: number, question: Partial<CertificateQuestion> = {}, signal = new AbortController().signal) {
  return askForCertificate(
    {
      url: `http://127.0.0.1:${port}`,
      csrPem: 'CSR',
      service: 'cart',
      namespace: 'shop',
      token: 'join-token',
      trust: null,
      ...question,
    },
    nowMs,
    signal,
  );
}

describe('a control plane that has not proved to be one', () => {
  async function sidecarChain() {
    const { csrPem, keyPem } = await makeCertificateRequest();
    const { certificatePem } = await issueSvid(root, { csrPem, identity: identityOf('cart'), nowMs, ttlMs: 60_000 });
    return { chainPem: `${certificatePem.trim()}\n${root.certificatePem.trim()}\n`, keyPem };
  }
  async function impostorChain() {
    // The real root is in what it sends, for everybody may have it; its own certificate is by another.
    const { chainPem, keyPem } = await issueServerCertificate(other, {
      trustDomain: 'weft.local',
      nowMs,
      ttlMs: 60_000,
    });
    return { chainPem: `${chainPem.trim()}\n${root.certificatePem.trim()}\n`, keyPem };
  }

  it.each<[string, () => Promise<Served>, () => ControlPlaneTrust, RegExp]>([
    [
      'has another root than the token names',
      async () => ({ by: other }),
      () => trusting({ rootsSha256: [root.sha256] }),
      /not issued by a root that the join token names/,
    ],
    [
      'sends the root that the token names, but was not issued by it',
      async () => ({ chain: await impostorChain() }),
      () => trusting({ rootsSha256: [root.sha256] }),
      /not issued by a root that the join token names/,
    ],
    [
      'does not send its root at the first contact',
      async () => ({ isRootSent: false }),
      () => trusting({ rootsSha256: [root.sha256] }),
      /not issued by a root that the join token names/,
    ],
    [
      'has a root that is not in the bundle',
      async () => ({ by: other }),
      () => trusting({ bundlePem: root.certificatePem }),
      /not issued by a root of the trust bundle/,
    ],
    [
      'is a sidecar with a good certificate',
      async () => ({ chain: await sidecarChain() }),
      () => trusting({ rootsSha256: [root.sha256] }),
      /is the one of spiffe:\/\/weft.local\/ns\/default\/sa\/cart, not of spiffe:\/\/weft.local\/control-plane/,
    ],
    [
      'is of another trust domain',
      async () => ({ trustDomain: 'elsewhere' }),
      () => trusting({ bundlePem: root.certificatePem }),
      /is the one of spiffe:\/\/elsewhere\/control-plane/,
    ],
    [
      'has a certificate that has expired',
      async () => ({ atMs: nowMs - 3600_000 }),
      () => trusting({ bundlePem: root.certificatePem }),
      /expired at/,
    ],
    [
      'has a certificate of the future',
      async () => ({ atMs: nowMs + 10 * limits.certificateBackdateMs }),
      () => trusting({ rootsSha256: [root.sha256] }),
      /do the clocks agree/,
    ],
  ])('because it %s, sees no token', async (_why, served, trust, message) => {
    const { port, seen } = await tlsServer(await served());
    await expect(ask(port, { trust: trust() })).rejects.toThrow(message);
    expect(seen).toEqual([]);
  });

  it('because it speaks no TLS, sees no token', async () => {
    const { listener, seen } = answering(200, good);
    const port = await listening(createHttpServer(listener));
    await expect(ask(port, { trust: trusting({ rootsSha256: [root.sha256] }) })).rejects.toThrow();
    expect(seen).toEqual([]);
  });

  it('because it hangs up, or hangs, is given up', async () => {
    const hangingUp = await listening(createTcpServer((socket) => socket.destroy()));
    await expect(ask(hangingUp, { trust: trusting() })).rejects.toThrow();
    let connected = () => {};
    const isConnected = new Promise<void>((resolve) => {
      connected = resolve;
    });
    const hanging = createTcpServer((socket) => {
      cleanups.push(async () => socket.destroy());
      connected();
    });
    const port = await listening(hanging);
    const stop = new AbortController();
    const asked = ask(port, { trust: trusting() }, stop.signal);
    await isConnected;
    stop.abort(new Error('late'));
    await expect(asked).rejects.toThrow('late');
  });
});

describe('an answer', () => {
  it.each<[string, number, unknown, RegExp]>([
    ['that is no JSON', 200, 'x', /something else than a certificate/],
    ['without a certificate', 200, { ...good, certificate: 7 }, /something else than a certificate/],
    ['without a bundle', 200, { ...good, bundle: undefined }, /something else than a certificate/],
    ['without a token', 200, { ...good, token: null }, /without a token/],
    ['with a token that would break the next request', 200, { ...good, token: 'a\r\nb: c' }, /without a token/],
    ['that is too long', 200, 'x'.repeat(600 * 1024), /too much/],
    ['that says something else', 302, '', /it answers 302/],
  ])('%s is none', async (_what, status, body, message) => {
    const port = await listening(createHttpServer(answering(status, body).listener));
    await expect(ask(port)).rejects.toThrow(message);
  });

  it('that says no says why', async () => {
    const problem = { status: 503, code: 'not-signing', detail: 'cart-1 has not acknowledged the root' };
    const port = await listening(createHttpServer(answering(503, problem).listener));
    const error = await ask(port).catch((refusal: unknown) => refusal);
    expect(error).toBeInstanceOf(CertificateRefusedError);
    expect(error).toMatchObject({ status: 503, code: 'not-signing', message: problem.detail });
  });

  it('that does not end is given up with its reason', async () => {
    let asked = () => {};
    const isAsked = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const server = createHttpServer((_request, response) => {
      response.writeHead(200).write('{');
      asked();
    });
    const port = await listening(server);
    const stop = new AbortController();
    const answer = ask(port, {}, stop.signal);
    await isAsked;
    stop.abort(new Error('late'));
    await expect(answer).rejects.toThrow();
  });
});

describe('a question', () => {
  const asked = {
    method: 'POST',
    url: '/v1/certificates',
    authorization: 'Bearer join-token',
    body: JSON.stringify({ csr: 'CSR', service: 'cart', namespace: 'shop' }),
  };

  it('goes in plain HTTP where nothing is to be proved, with a token or without', async () => {
    const { listener, seen } = answering(200, good);
    const port = await listening(createHttpServer(listener));
    expect(await ask(port)).toEqual({ certificatePem: 'CERT', bundlePem: 'ROOTS', pushToken: 'push-token' });
    await ask(port, { token: null });
    expect(seen).toEqual([asked, { ...asked, authorization: undefined }]);
  });

  it.each<[string, () => ControlPlaneTrust, boolean]>([
    ['pinned by the token', () => trusting({ rootsSha256: [root.sha256] }), true],
    ['known from the bundle', () => trusting({ bundlePem: `${other.certificatePem}\n${root.certificatePem}` }), false],
    ['of both', () => trusting({ rootsSha256: [root.sha256], bundlePem: other.certificatePem }), true],
  ])('goes over TLS to a control plane with a root %s', async (_what, trust, isRootSent) => {
    const { port, seen } = await tlsServer({ isRootSent });
    await ask(port, { trust: trust() });
    expect(seen).toEqual([asked]);
  });
});
