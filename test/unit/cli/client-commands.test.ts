import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { weft } from './captured-terminal.ts';
import { fakeControlPlane } from './fake-control-plane.ts';

const cart = {
  apiVersion: 'weft.mesh/v1',
  kind: 'Service',
  metadata: { name: 'cart', namespace: 'default', resourceVersion: '7', creationTimestamp: '2025-01-01T23:59:00Z' },
  spec: { endpoints: ['127.0.0.1:9001', '127.0.0.1:9002'] },
};
const cartYaml = 'apiVersion: weft.mesh/v1\nkind: Service\nmetadata: { name: cart }\nspec: {}\n';
const webSidecar = {
  sidecar: 'web-1',
  service: 'web',
  namespace: 'default',
  connected: true,
  state: 'synced',
  revision: 7,
  reason: null,
  subscriptions: ['cart'],
  registration: { address: '127.0.0.1:4000', zone: '', labels: {}, weight: 1, link: ['127.0.0.1:15008'] },
  isLinkInsecure: false,
  softwareVersion: '0.1.0',
  leaseEndsInMs: 12_000,
  stateAgeMs: 65_000,
};

async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('client commands, when things go wrong', () => {
  it.each([['get', 'services'], ['status'], ['stat'], ['delete', 'service', 'cart']])(
    'weft %s %s explains that no control plane answers',
    async (...args) => {
      const server = `http://127.0.0.1:${await closedPort()}`;
      const { code, out, err } = await weft([...args.filter((arg) => arg !== undefined), '--server', server]);
      expect({ code, out }).toEqual({ code: 1, out: '' });
      expect(err).toBe(
        `No control plane answers at ${server} (ECONNREFUSED): start one with \`weft control-plane\`, or name another with --server.`,
      );
    },
  );

  it.each(['sec\nret', 'sec ret', 'secr\u00e9t', 'sec\u20acret', 's'.repeat(4097)])(
    'does not repeat a token that is none (%#)',
    async (token) => {
      const said = {
        code: 2,
        out: '',
        err: 'The token (--token or WEFT_TOKEN) is not usable: expected at most 4096 visible ASCII characters.',
      };
      expect(await weft(['status', '--token', token])).toEqual(said);
      vi.stubEnv('WEFT_TOKEN', token);
      expect(await weft(['status'])).toEqual(said);
      vi.unstubAllEnvs();
    },
  );

  it('explains an answer that no control plane gives', async () => {
    const { url } = await fakeControlPlane(() => ({ status: 200, body: '<html>hello</html>' }));
    const { code, err } = await weft(['get', 'services', '--server', url]);
    expect(code).toBe(1);
    expect(err).toMatch(/not as a Weft control plane does: is --server right\?/);
  });

  it('says of an empty standard input what it is', async () => {
    const { url } = await fakeControlPlane(() => ({ status: 200, body: {} }));
    const { code, err } = await weft(['apply', '-f', '-', '--server', url], '# nothing\n');
    expect({ code, err }).toEqual({ code: 1, err: 'There is no resource in standard input.' });
  });

  it('shows every problem of a refused write', async () => {
    const { url } = await fakeControlPlane(() => ({
      status: 422,
      body: {
        status: 422,
        title: 'Invalid',
        detail: 'The resources are not valid together.',
        problems: [{ object: 'Service default/cart', path: 'spec', message: 'cannot be so' }],
      },
    }));
    const { code, err } = await weft(['apply', '-f', '-', '--server', url], cartYaml);
    expect(code).toBe(1);
    expect(err).toBe(
      'The resources are not valid together.\nstandard input:4:7: Service default/cart: spec: cannot be so',
    );
  });

  it('names the sidecars on which a change is not in force', async () => {
    const { url, asked } = await fakeControlPlane(() => ({
      status: 504,
      body: {
        status: 504,
        title: 'Not applied',
        code: 'not-applied',
        revision: 9,
        results: [{ kind: 'Service', namespace: 'default', name: 'cart', action: 'created', revision: 9 }],
        missing: [{ sidecar: 'web-1', service: 'web', namespace: 'default' }],
        refused: [{ sidecar: 'pay-1', service: 'pay', namespace: 'shop', reason: 'no memory' }],
      },
    }));
    const { code, out, err } = await weft(
      ['apply', '-f', '-', '--wait', 'applied', '--timeout', '2s', '--server', url],
      cartYaml,
    );
    expect({ code, out }).toEqual({ code: 1, out: 'Service/default/cart created' });
    expect(err).toBe(
      'Revision 9 is committed, but within 2 s it did not come into force on 2 sidecars:\n' +
        '  pay.shop (pay-1) refused it: no memory\n  web.default (web-1) has not answered',
    );
    expect(asked[0]?.url).toBe('/v1/transactions?wait=applied&timeoutMs=2000');
  });

  it('says how many sidecars it does not count, as they were not heard of any more', async () => {
    const name = { sidecar: 'web-1', service: 'web', namespace: 'default' };
    const applied = { revision: 9, applied: [name], missing: [], refused: [], gone: [name, name] };
    const { url } = await fakeControlPlane(() => ({ status: 200, body: { revision: 9, results: [], applied } }));
    const { code, out } = await weft(['apply', '-f', '-', '--wait', 'applied', '--server', url], cartYaml);
    expect(code).toBe(0);
    expect(out).toMatch(/^revision 9, in force on 1 sidecar; not counted: 2 sidecars not heard of any more/);
  });

  it('is content with fewer sidecars than all, and names the others', async () => {
    const name = { sidecar: 'web-1', service: 'web', namespace: 'default' };
    const report = { revision: 9, applied: [name, name], missing: [name], refused: [{ ...name, reason: 'no memory' }] };
    const results = [{ kind: 'Service', namespace: 'default', name: 'cart', action: 'created', revision: 9 }];
    const { url, asked } = await fakeControlPlane(() => ({
      status: 200,
      body: { revision: 9, results, applied: report },
    }));
    const { code, out, err } = await weft(
      ['apply', '-f', '-', '--wait', 'applied', '--percent', '50', '--server', url],
      cartYaml,
    );
    expect({ code, out }).toEqual({
      code: 0,
      out: 'Service/default/cart created\nrevision 9, in force on 2 sidecars',
    });
    expect(err).toBe(
      'not yet on 2 sidecars:\n  web.default (web-1) refused it: no memory\n  web.default (web-1) has not answered',
    );
    expect(asked[0]?.url).toBe('/v1/transactions?wait=applied&timeoutMs=30000&percent=50');
    // Of what nobody waits for no share can be asked.
    const alone = await weft(['apply', '-f', '-', '--percent', '50', '--server', url], cartYaml);
    expect({ code: alone.code, err: alone.err }).toEqual({
      code: 1,
      err: '--percent says how many sidecars --wait applied waits for: say that too.',
    });
    expect(asked).toHaveLength(1);
  });

  it('says that an object does not exist', async () => {
    const { url } = await fakeControlPlane(() => ({ status: 404, body: { status: 404, title: 'Not found' } }));
    const { code, err } = await weft(['get', 'svc', 'cart', '-n', 'shop', '--server', url]);
    expect({ code, err }).toEqual({
      code: 1,
      err: 'There is no Service "cart" in namespace shop; `weft get services` lists those there are.',
    });
  });

  it('says which files cannot be read', async () => {
    const { code, err } = await weft(['apply', '-f', '/nowhere/at/all.yaml']);
    expect({ code, err }).toEqual({ code: 1, err: 'There is no file or folder /nowhere/at/all.yaml.' });
  });
});

describe('manifests that cannot be taken', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weft-manifests-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('are a pipe or a device, which may never end', async () => {
    const pipe = join(folder, 'mesh.yaml');
    execFileSync('mkfifo', [pipe]);
    for (const path of [pipe, '/dev/zero', '/dev/null'])
      expect(await weft(['apply', '-f', path])).toEqual({
        code: 1,
        out: '',
        err: `${path} is neither a file nor a folder. What another program writes is read from -, standard input.`,
      });
    expect((await weft(['delete', '-f', folder])).err).toBe(`There is no file *.yaml, *.yml or *.json in ${folder}.`);
  });

  it('are larger than the limit, alone or together', async () => {
    const large = join(folder, 'large.yaml');
    await writeFile(large, '');
    await truncate(large, 2 ** 40);
    expect((await weft(['apply', '-f', large])).err).toBe(
      `${large} is too large: one command reads at most ${limits.manifestBytesMax} bytes.`,
    );
    await writeFile(large, cartYaml);
    await writeFile(join(folder, 'small.yaml'), cartYaml + '#'.repeat(limits.manifestBytesMax - cartYaml.length));
    expect((await weft(['apply', '-f', folder])).err).toMatch(/small\.yaml is too large/);
  });

  it('lead nowhere', async () => {
    await symlink(join(folder, 'nowhere'), join(folder, 'broken.yaml'));
    await symlink(join(folder, 'loop.yaml'), join(folder, 'loop.yaml'));
    expect((await weft(['apply', '-f', join(folder, 'broken.yaml')])).err).toMatch(/^There is no file or folder/);
    expect((await weft(['apply', '-f', folder])).err).toMatch(/loop\.yaml cannot be read: ELOOP/);
  });
});

describe('client commands', () => {
  const one = (action: string, revision: number) => ({
    status: 200,
    body: { revision, results: [{ kind: 'Service', namespace: 'default', name: 'cart', action, revision }] },
  });

  it('apply sends all of a file, and tells what became of it', async () => {
    const { url, asked } = await fakeControlPlane(() => one('created', 7));
    const said = await weft(['apply', '-f', '-', '-m', 'first', '--server', url, '--token', 'secret'], cartYaml);
    expect(said).toEqual({ code: 0, out: 'Service/default/cart created\nrevision 7', err: '' });
    expect(asked).toMatchObject([
      {
        method: 'POST',
        url: '/v1/transactions',
        headers: { authorization: 'Bearer secret' },
        body: { message: 'first', delete: [], apply: [{ kind: 'Service', metadata: { name: 'cart' } }] },
      },
    ]);
  });

  it('apply --dry-run changes nothing and says so', async () => {
    const { url, asked } = await fakeControlPlane(() => one('replaced', 7));
    const { out } = await weft(['apply', '-f', '-', '--dry-run', '--server', url], cartYaml);
    expect(out).toBe('Service/default/cart replaced (dry run)');
    expect(asked[0]?.url).toBe('/v1/transactions?dryRun=1');
  });

  it('delete sends one name', async () => {
    const { url, asked } = await fakeControlPlane(() => one('deleted', 8));
    const { out } = await weft(['delete', 'Route', 'cart', '-n', 'shop', '--server', url]);
    expect(out).toBe('Service/default/cart deleted\nrevision 8');
    expect(asked[0]?.body).toMatchObject({
      apply: [],
      delete: [{ kind: 'HTTPRoute', namespace: 'shop', name: 'cart' }],
    });
  });

  it('get shows a table, an array of JSON, or YAML that can be applied', async () => {
    const registered = { service: 'cart', namespace: 'default', registration: { address: '127.0.0.1:7' } };
    const { url, asked } = await fakeControlPlane((asked) => ({
      status: 200,
      body: asked.url === '/v1/sidecars' ? { items: [registered] } : { items: [cart], revision: 7 },
    }));
    const table = await weft(['get', 'services', '-n', 'default', '--server', url]);
    expect(table.out.split('\n')).toEqual([
      'NAMESPACE  NAME  PORT  ENDPOINTS  BALANCER      REVISION  AGE',
      // Two that are written, one that a sidecar registered.
      'default    cart    80          3  LeastRequest         7  60s',
    ]);
    expect(asked[0]?.url).toBe('/v1/services?namespace=default');
    expect(JSON.parse((await weft(['get', 'services', '-o', 'json', '--server', url])).out)).toEqual([cart]);
    expect((await weft(['get', 'services', '-o', 'yaml', '--server', url])).out).toContain('name: cart');
  });

  it('get of nothing is an empty array, or a line that says so', async () => {
    const { url } = await fakeControlPlane(() => ({ status: 200, body: { items: [], revision: 0 } }));
    expect((await weft(['get', 'routes', '-o', 'json', '--server', url])).out).toBe('[]');
    expect((await weft(['get', 'routes', '--server', url])).out).toBe('no httproutes');
  });

  it('get sidecars and status show who has what in force', async () => {
    const { url } = await fakeControlPlane(({ url }) =>
      url === '/v1/status'
        ? {
            status: 200,
            body: { revision: 7, version: '0.1.0', store: 'embedded:s', startedAt: '2025-01-01T23:00:00Z' },
          }
        : { status: 200, body: { items: [webSidecar] } },
    );
    const row = /web\.default +web-1 +synced +65s +7 +12s +127\.0\.0\.1:4000 +127\.0\.0\.1:15008 +cart/;
    expect((await weft(['get', 'sidecars', '--server', url])).out).toMatch(row);
    expect(JSON.parse((await weft(['get', 'sidecars', '-o', 'json', '--server', url])).out)).toEqual([webSidecar]);
    const status = await weft(['status', '--server', url]);
    expect(status.out).toMatch(row);
    expect(status.out).toContain('weft 0.1.0, up 60m, store embedded:s\nrevision 7, 1 sidecar, all synced');
    expect(status.out).not.toContain('insecure');
  });

  it('status says since when the store takes no writes, and why', async () => {
    const storeOutage = { since: '2025-01-01T23:59:30.000Z', reason: 'a:1 did not answer in time' };
    const status = {
      ...{ revision: 7, version: '0.1.0', store: 'etcd://a:1', startedAt: '2025-01-01T23:00:00Z' },
      storeOutage,
    };
    const { url } = await fakeControlPlane(({ url }) => ({
      status: 200,
      body: url === '/v1/status' ? status : { items: [] },
    }));
    expect((await weft(['status', '--server', url])).out).toContain(
      '\nstore: not available since 2025-01-01T23:59:30.000Z (30s), writes are refused: a:1 did not answer in time\n',
    );
    expect(JSON.parse((await weft(['status', '-o', 'json', '--server', url])).out)).toMatchObject({ storeOutage });
  });

  it('status says where each sidecar has its links, and which have no identity', async () => {
    const withLink = (...link: string[]) => ({ ...webSidecar, registration: { ...webSidecar.registration, link } });
    const items = [
      { ...webSidecar, sidecar: 'caller-1', registration: null },
      { ...withLink(), sidecar: 'none-1' },
      { ...withLink('h:1', 'h:2', 'h:3'), sidecar: 'loops-1' },
      { ...withLink('h:1'), sidecar: 'open-1', isLinkInsecure: true },
    ];
    const { url } = await fakeControlPlane(({ url }) => ({
      status: 200,
      body:
        url === '/v1/status'
          ? { revision: 7, version: '0.1.0', store: 'embedded:s', startedAt: '2025-01-01T23:00:00Z' }
          : { items },
    }));
    const { out } = await weft(['status', '--server', url]);
    expect(out).toContain('\nWARNING: 1 sidecar with --insecure-link: no encryption, no identity\n');
    for (const row of [
      /caller-1 .* - +- +cart/,
      /none-1 .* 127\.0\.0\.1:4000 +- +cart/,
      /loops-1 .* h:1 \+2 +cart/,
      /open-1 .* insecure +cart/,
    ])
      expect(out).toMatch(row);
  });

  it('status says which sidecars run on the older HTTP core, and what to do about it', async () => {
    const items = [
      { ...webSidecar, sidecar: 'old-1', hasOlderUwsCore: true },
      { ...webSidecar, sidecar: 'new-1', hasOlderUwsCore: false },
      { ...webSidecar, sidecar: 'other-1' },
    ];
    const from = async (sidecars: unknown[]) => {
      const { url } = await fakeControlPlane(({ url: path }) => ({
        status: 200,
        body:
          path === '/v1/status'
            ? { revision: 7, version: '0.1.0', store: 'embedded:s', startedAt: '2025-01-01T23:00:00Z' }
            : { items: sidecars },
      }));
      return (await weft(['status', '--server', url])).out;
    };
    const out = await from(items);
    expect(out).toContain(
      '\nnote: 1 sidecar on the uWebSockets.js core for Node 20, which has gaps (docs/uws.md); remedy: --outbound-http node, or Node 24 with the official uWebSockets.js build (glibc 2.38 or newer)\n',
    );
    for (const row of [/CALLS +CORE/, /old-1 .* cart +uws, Node 20/, /new-1 .* cart +-/, /other-1 .* cart +-/])
      expect(out).toMatch(row);
    expect(await from(items.slice(1))).not.toMatch(/CORE|uWebSockets/);
  });

  it('status says which Services a registration has created, where nobody is under them or the name may be a slip', async () => {
    const founded = (
      name: string,
      time: string,
      sidecars: number,
      namespace = 'default',
      similar: string | null = null,
    ) => ({
      ...{ name, namespace, at: `2025-01-01T${time}:00Z`, sidecars, similar },
    });
    const { url } = await fakeControlPlane(({ url: path }) => ({
      status: 200,
      body:
        path === '/v1/status'
          ? {
              ...{ revision: 7, version: '0.1.0', store: 'embedded:s', startedAt: '2025-01-01T20:00:00Z' },
              foundedServices: [
                founded('cart', '23:30', 1),
                founded('web', '21:00', 1),
                founded('crat', '21:00', 0, 'shop'),
                founded('wbe', '23:30', 1, 'shop', 'web'),
              ],
            }
          : { items: [webSidecar] },
    }));
    const { out } = await weft(['status', '--server', url]);
    expect(out.split('\n').filter((line) => line.startsWith('note:'))).toEqual([
      'note: created Service crat.shop 3h ago (it did not exist); no sidecar is registered under it: if its name is a mistake, `weft delete service crat -n shop` removes it',
      'note: created Service wbe.shop 30m ago (it did not exist); did you mean web?',
    ]);
  });

  it('status shows who fell silent, and suggests to delete no Service that was served', async () => {
    const founded = { namespace: 'default', at: '2025-01-01T21:00:00Z', sidecars: 0, similar: null };
    const { url } = await fakeControlPlane(({ url: path }) => ({
      status: 200,
      body:
        path === '/v1/status'
          ? {
              ...{ revision: 7, version: '0.1.0', store: 'embedded:s', startedAt: '2025-01-01T20:00:00Z' },
              foundedServices: [
                { ...founded, name: 'web', lastHeardAgoMs: 20_000, isUnused: false },
                { ...founded, name: 'cart', lastHeardAgoMs: null, isUnused: false },
                { ...founded, name: 'crat', lastHeardAgoMs: null, isUnused: true },
              ],
            }
          : {
              items: [webSidecar],
              gone: [
                { sidecar: 'w-2', service: 'web', namespace: 'default', address: '10.0.0.9:1', lastHeardAgoMs: 20_000 },
              ],
            },
    }));
    const { out } = await weft(['status', '--server', url]);
    expect(out).toContain('; 1 gone (not heard of any more)\n');
    expect(out).toMatch(/web\.default +w-2 +gone +20s +- +ended +10\.0\.0\.9:1/);
    const notes = out.split('\n').filter((line) => line.startsWith('note:'));
    expect(notes[0]).toMatch(/web\.default .*; its last sidecar was last heard of 20s ago$/);
    expect(notes[1]).toMatch(/cart\.default .*; no sidecar is registered under it now$/);
    expect(notes[2]).toMatch(/weft delete service crat/);
  });

  it('stat shows each hop with its parts', async () => {
    const series = {
      direction: 'outbound',
      source: 'web.default',
      destination: 'cart.default',
      route: 'default/cart/0',
      requests: 600,
      failures: 6,
      failed: 60,
      byStatus: { '2xx': 540, '4xx': 30, '5xx': 30 },
      p50Ms: 1.234,
      p95Ms: 23.45,
      p99Ms: 123.4,
      parts: { wait: 1.1, own: 0.1 },
    };
    const { url } = await fakeControlPlane(() => ({ status: 200, body: { windowMs: 60_000, series: [series] } }));
    const { out } = await weft(['stat', 'cart', '--server', url]);
    expect(out).toMatch(
      /outbound +web\.default +cart\.default +default\/cart\/0 +90\.00% +10\.0 +1\.23ms +23\.4ms +123ms/,
    );
    expect(out).toMatch(/WAIT +OWN +TOTAL\n.* 1\.10 +0\.10 +1\.20/);
  });

  it('stat of a service without requests says so, and which services there are when it is none of them', async () => {
    const answers = (services: readonly object[], sidecars: readonly object[]) =>
      fakeControlPlane(({ url }) => {
        if (url === '/v1/stats') return { status: 200, body: { windowMs: 60_000, series: [] } };
        return { status: 200, body: { items: url === '/v1/sidecars' ? sidecars : services, revision: 7 } };
      });
    const { url } = await answers([cart], [webSidecar]);
    const none = 'in the last 60 s';
    expect((await weft(['stat', '--server', url])).out).toBe(`no requests ${none}`);
    expect((await weft(['stat', 'cart', '--server', url])).out).toBe(`no requests to or from cart ${none}`);
    expect(await weft(['stat', 'pay', '--server', url])).toEqual({
      code: 1,
      out: '',
      err: `no requests to or from pay ${none}; the mesh has no such service, but cart.default, web.default`,
    });
    const empty = await answers([], []);
    expect((await weft(['stat', 'pay', '--server', empty.url])).err).toMatch(/; the mesh has no services yet$/);
    const many = Array.from({ length: 25 }, (_, n) => ({ ...cart, metadata: { name: `s${n}` } }));
    const crowded = await answers(many, []);
    expect((await weft(['stat', 'pay', '--server', crowded.url])).err).toMatch(/ and 5 more$/);
  });
});
