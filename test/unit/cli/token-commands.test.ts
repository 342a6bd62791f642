import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { SigningRoot } from '../../../src/identity/root.ts';
import { issueServerCertificate } from '../../../src/identity/server-certificate.ts';
import { newRoot } from '../identity/roots.ts';
import { weft } from './captured-terminal.ts';
import { fakeControlPlane } from './fake-control-plane.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weft-token-'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

const made = {
  token: 'weft_0123456789ab_secret',
  id: '0123456789ab',
  name: 'shop-ci',
  role: 'editor',
  namespaces: ['pay', 'shop'],
  createdAt: '2025-01-01T00:00:00.000Z',
  createdBy: 'alice',
  expiresAt: '2025-01-31T00:00:00.000Z',
};

describe('weft token create --role', () => {
  it.each([
    [[], /--role reader, editor, admin for the API/],
    [['--role', 'root'], /reader, editor, admin/],
    [['--role', 'editor'], /needs --namespace/],
    [['--role', 'reader', '--namespace', 'shop'], /a reader has all of them/],
    [['--role', 'editor', '--namespace', 'Shop'], /lower-case/],
    [['--role', 'admin', '--name', 'a b'], /lower-case letters/],
    [['--role', 'admin', '--name', 'anonymous'], /not anonymous/],
    [['--role', 'admin', '--ttl', '0s'], /1s to 87600h, or none/],
    [['--role', 'admin', '--service', 'cart'], /--service is for a join token/],
  ])('does not take %j', async (args, message) => {
    const said = await weft(['token', 'create', ...args]);
    expect([said.code, said.out]).toEqual([2, '']);
    expect(said.err).toMatch(message);
  });

  it('prints the token alone, and what it is beside it', async () => {
    const plane = await fakeControlPlane(() => ({ status: 200, body: made }));
    const flags = ['--role', 'editor', '--namespace', 'shop,pay', '--namespace', 'shop', '--name', 'shop-ci'];
    const said = await weft(['token', 'create', ...flags, '--server', plane.url]);
    expect(said).toEqual({
      code: 0,
      out: made.token,
      err: 'token shop-ci, editor of pay, shop, valid until 2025-01-31T00:00:00.000Z',
    });
    expect(plane.asked[0]).toMatchObject({
      method: 'POST',
      url: '/v1/tokens',
      body: { role: 'editor', namespaces: ['shop', 'pay'], name: 'shop-ci', ttlSeconds: 2_592_000 },
    });
    await weft(['token', 'create', '--role', 'admin', '--ttl', 'none', '--server', plane.url]);
    expect(plane.asked[1]?.body).toEqual({ role: 'admin', ttlSeconds: null });
  });

  it('makes one in the store itself, which only one process has', async () => {
    const store = ['--store', `embedded:${join(folder, 'store')}`];
    const said = await weft(['token', 'create', '--role', 'admin', '--name', 'first', ...store]);
    expect([said.code, said.out]).toEqual([0, expect.stringMatching(/^weft_[0-9a-f]{12}_[\w-]{43}$/)]);
    expect(said.err).toMatch(/^token first, admin, valid until /);
    const again = await weft(['token', 'create', '--role', 'admin', '--name', 'first', ...store]);
    expect(again).toMatchObject({ code: 1, out: '', err: expect.stringContaining('There is a token first already') });
    const reader = await weft(['token', 'create', '--role', 'reader', '--store', `embedded:${join(folder, 'other')}`]);
    expect(reader).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining('The first token must be an admin'),
    });
    expect(await weft(['token', 'create', '--role', 'admin', '--store', 'nonsense'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('not understood'),
    });
  });
});

describe('weft token list and revoke', () => {
  it('show what there is, and what has expired', async () => {
    const { token: _, ...shown } = made;
    const items = [
      { ...shown, lastUsedAt: '2025-01-01T23:59:00.000Z' },
      {
        ...shown,
        name: 'old',
        id: 'aaaaaaaaaaaa',
        role: 'reader',
        namespaces: [],
        expiresAt: '2025-01-01T00:00:01.000Z',
        lastUsedAt: null,
      },
      { ...shown, name: 'root', id: 'bbbbbbbbbbbb', role: 'admin', namespaces: [], expiresAt: null, lastUsedAt: null },
    ];
    const plane = await fakeControlPlane(() => ({ status: 200, body: { items } }));
    const { code, out } = await weft(['token', 'list', '--server', plane.url]);
    expect(code).toBe(0);
    const rows = out.split('\n').map((line) => line.split(/ {2,}/));
    expect(rows.slice(1).map((row) => row.slice(0, 5))).toEqual([
      ['shop-ci', '0123456789ab', 'editor of pay, shop', '2025-01-31T00:00:00.000Z', '60s ago'],
      ['old', 'aaaaaaaaaaaa', 'reader', 'EXPIRED', '-'],
      ['root', 'bbbbbbbbbbbb', 'admin', 'never', '-'],
    ]);
    expect(JSON.parse((await weft(['token', 'list', '-o', 'json', '--server', plane.url])).out)).toEqual(items);
  });

  it('take one back by name or id', async () => {
    const plane = await fakeControlPlane(() => ({ status: 200, body: { revoked: 'shop-ci' } }));
    expect(await weft(['token', 'revoke', 'shop-ci', '--server', plane.url])).toEqual({
      code: 0,
      out: 'token shop-ci revoked',
      err: '',
    });
    expect(plane.asked[0]).toMatchObject({ method: 'DELETE', url: '/v1/tokens/shop-ci' });
    expect((await weft(['token', 'revoke', '--server', plane.url])).code).toBe(2);
  });
});

describe('the token that a command shows', () => {
  const shownBy = async (...args: string[]) => {
    const plane = await fakeControlPlane(() => ({ status: 200, body: { items: [] } }));
    const said = await weft(['token', 'list', '--server', plane.url, ...args]);
    return { ...said, authorization: plane.asked[0]?.headers.authorization };
  };

  it('comes from a flag, from a file, or from the environment', async () => {
    const file = join(folder, 'token');
    await writeFile(file, 'weft_from_file\n');
    vi.stubEnv('WEFT_TOKEN', 'weft_from_env');
    expect((await shownBy()).authorization).toBe('Bearer weft_from_env');
    expect((await shownBy('--token-file', file)).authorization).toBe('Bearer weft_from_file');
    expect((await shownBy('--token', 'weft_from_flag')).authorization).toBe('Bearer weft_from_flag');
    vi.stubEnv('WEFT_TOKEN', '');
    expect((await shownBy()).authorization).toBeUndefined();
  });

  it.each([
    [['--token', 'a', '--token-file', 'b'], /exclude each other/],
    [['--token-file', '/nowhere/token'], /\/nowhere\/token cannot be read/],
    [['--token-file', 'weft_0123456789ab_secret'], /looks like the token itself/],
  ])('is not taken from %j', async (args, message) => {
    const said = await shownBy(...args);
    expect([said.code, said.authorization]).toEqual([2, undefined]);
    expect(said.err).toMatch(message);
    expect(said.err).not.toContain('0123456789ab_secret');
  });

  it('never goes over a network in plain HTTP', async () => {
    const said = await weft(['status', '--server', 'http://192.0.2.1:7070', '--token', 'weft_x']);
    expect(said).toMatchObject({ code: 2, out: '' });
    expect(said.err).toMatch(/in plain HTTP: use --server https:\/\/192\.0\.2\.1:7070 with --ca/);
  });
});

describe('a client over TLS', () => {
  let root: SigningRoot;
  let foreign: SigningRoot;
  beforeAll(async () => {
    [root, foreign] = await Promise.all([newRoot(Date.now()), newRoot(Date.now())]);
  });

  /** A control plane that shows a certificate of this root, and counts who asked it something. */
  async function plane(by: SigningRoot, trustDomain = 'weft.local') {
    const wish = { trustDomain, nowMs: Date.now(), ttlMs: 600_000 };
    const { chainPem, keyPem } = await issueServerCertificate(by, wish);
    const asked: (string | undefined)[] = [];
    const server = createServer({ cert: chainPem, key: keyPem }, (request, response) => {
      asked.push(request.headers.authorization);
      response.end('{"items":[]}');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
  }
  const list = (url: string, ...args: string[]) =>
    weft(['token', 'list', '--server', url, '--token', 'weft_x', ...args]);

  it('believes a file, or the SHA-256 of a root', async () => {
    const { url, asked } = await plane(root);
    const file = join(folder, 'root.crt');
    await writeFile(file, root.certificatePem);
    expect(await list(url, '--ca', file)).toEqual({ code: 0, out: 'no tokens', err: '' });
    expect((await list(url, '--ca', `sha256:${root.sha256.toUpperCase()}`)).code).toBe(0);
    vi.stubEnv('WEFT_CA', `sha256:${root.sha256}`);
    expect((await list(url)).code).toBe(0);
    expect(asked).toEqual(['Bearer weft_x', 'Bearer weft_x', 'Bearer weft_x']);
  });

  it('sends nothing to a server of another root', async () => {
    const { url, asked } = await plane(foreign);
    const file = join(folder, 'root.crt');
    await writeFile(file, root.certificatePem);
    for (const ca of [['--ca', file], ['--ca', `sha256:${root.sha256}`], []]) {
      const said = await list(url, ...ca);
      expect([said.code, said.out]).toEqual([1, '']);
      expect(said.err).toMatch(/is not believed \(.+\), and was sent nothing: name the root of the mesh with --ca/);
      expect(said.err).toMatch(/After a `weft ca rotate` it is another one than before\.$/);
    }
    expect(asked).toEqual([]);
  });

  it.each([
    ['/nowhere/ca.pem', /cannot be read/],
    ['sha256:abc', /64 hex digits/],
  ])('does not take --ca %s', async (ca, message) => {
    const said = await list('https://127.0.0.1:1', '--ca', ca);
    expect([said.code, said.out]).toEqual([2, '']);
    expect(said.err).toMatch(message);
  });

  it('takes no file without a certificate', async () => {
    const file = join(folder, 'empty.pem');
    await writeFile(file, 'nothing here');
    expect((await list('https://127.0.0.1:1', '--ca', file)).err).toMatch(/holds no certificate in PEM/);
  });
});
