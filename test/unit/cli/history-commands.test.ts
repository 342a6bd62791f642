/** diff, history, rollback, apply with deletions, against a control plane that answers as it is told. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { weft } from './captured-terminal.ts';
import { type Asked, fakeControlPlane } from './fake-control-plane.ts';

const service = (name: string, port: number, labels?: object) => ({
  apiVersion: 'weft.mesh/v1',
  kind: 'Service',
  metadata: { name, namespace: 'default', ...(labels && { labels }), creationTimestamp: '2025-01-01T00:00:00.000Z' },
  spec: { port },
});
const cartYaml = 'apiVersion: weft.mesh/v1\nkind: Service\nmetadata: { name: cart }\nspec: { port: 81 }\n';
const replaced = {
  object: 'Service/default/cart',
  action: 'replaced',
  before: service('cart', 80),
  after: service('cart', 81),
};
const dryRun = (...results: object[]) => ({ status: 200, body: { revision: 7, results } });
const { object: _, ...states } = replaced;
const wouldReplace = { kind: 'Service', namespace: 'default', name: 'cart', revision: 7, ...states };
const diffLines = [
  '@@ -1,7 +1,7 @@'.replace('1,7', '4,4').replace('1,7', '4,4'),
  '   name: cart',
  '   namespace: default',
  ' spec:',
  '-  port: 80',
  '+  port: 81',
];

describe('weft diff', () => {
  it('says with code 2 what went wrong, and never with that of a difference', async () => {
    const gone = { status: 410, title: 'Gone', detail: 'Revision 3 is no longer kept.', code: 'revision-gone' };
    const { url } = await fakeControlPlane(() => ({ status: 410, body: gone }));
    expect(await weft(['diff', '3', '--server', url])).toEqual({ code: 2, out: '', err: gone.detail });
    expect((await weft(['diff', '3', '--server', 'http://127.0.0.1:1'])).code).toBe(2);
    expect((await weft(['diff', '-f', '/nowhere'])).code).toBe(2);
  });

  it.each([
    [['diff'], /REVISION \[LATER\], or -f FILE/],
    [['diff', 'x'], /number of a revision/],
    [['diff', '1', '-f', 'x'], /leave the revisions out/],
    [['diff', '1', '--delete', 'service/x'], /go with -f FILE/],
  ])('refuses %j', async (args, reason) => {
    const { code, err } = await weft(args);
    expect(err).toMatch(reason);
    expect(code).toBe(2);
  });

  it('shows what changed between revisions, with code 1, and nothing with code 0', async () => {
    const { url, asked } = await fakeControlPlane(({ url: path }) => ({
      status: 200,
      body: path.includes('from=9') ? { from: 9, to: 12, changes: [] } : { from: 11, to: 12, changes: [replaced] },
    }));
    expect(await weft(['diff', '11', '12', '--server', url])).toEqual({
      code: 1,
      out: ['--- Service/default/cart (revision 11)', '+++ Service/default/cart (revision 12)', ...diffLines].join(
        '\n',
      ),
      err: '',
    });
    expect(await weft(['diff', '9', '--server', url])).toEqual({ code: 0, out: '', err: '' });
    expect(asked.map((each) => each.url)).toEqual(['/v1/diff?from=11&to=12', '/v1/diff?from=9']);
    const json = await weft(['diff', '11', '12', '-o', 'json', '--server', url]);
    expect([json.code, JSON.parse(json.out)]).toEqual([1, [replaced]]);
  });

  it('is coloured on a terminal only', async () => {
    const { url } = await fakeControlPlane(() => ({ status: 200, body: { from: 1, to: 2, changes: [replaced] } }));
    const { out } = await weft(['diff', '1', '--server', url], '', true);
    expect(out).toContain('\u001b[31m-  port: 80\u001b[0m\n\u001b[32m+  port: 81\u001b[0m');
  });

  it('shows what applying would change, whole objects too', async () => {
    const created = { ...wouldReplace, name: 'new', action: 'created', before: null, after: service('new', 1) };
    const { url, asked } = await fakeControlPlane(() =>
      dryRun(wouldReplace, created, { ...created, name: 'same', action: 'unchanged', before: undefined }),
    );
    const { code, out } = await weft(['diff', '-f', '-', '--delete', 'svc/shop/old', '--server', url], cartYaml);
    expect(code).toBe(1);
    expect(out).toContain('--- Service/default/cart (now)\n+++ Service/default/cart (after this)\n');
    expect(out).toContain('--- /dev/null\n+++ Service/default/new (after this)\n@@ -0,0 +1,');
    expect(asked[0]).toMatchObject({
      url: '/v1/transactions?dryRun=1',
      body: { apply: [{ metadata: { name: 'cart' } }], delete: [{ kind: 'Service', namespace: 'shop', name: 'old' }] },
    });
  });

  it('does not take another order of fields for a difference', async () => {
    const { port: __, ...spec } = { port: 80, endpoints: ['h:1'] };
    const change = {
      ...replaced,
      before: { ...replaced.before, spec: { port: 80, ...spec } },
      after: { ...replaced.before, spec: { ...spec, port: 80 } },
    };
    const { url } = await fakeControlPlane(() => ({ status: 200, body: { from: 1, to: 2, changes: [change] } }));
    expect(await weft(['diff', '1', '--server', url])).toEqual({ code: 0, out: '', err: '' });
  });
});

describe('weft history', () => {
  const entry = {
    revision: 12,
    who: 'ann',
    message: 'more\nroom',
    at: '2025-01-01T23:59:00.000Z',
    changes: ['a', 'b', 'c'].map((name) => ({ object: `Service/default/${name}`, action: 'created' })),
  };

  it('is a table of who, when, what and why', async () => {
    const { url, asked } = await fakeControlPlane(() => ({ status: 200, body: { items: [entry], oldest: 0 } }));
    expect((await weft(['history', '--server', url])).out.split('\n')).toEqual([
      'REVISION  AGE  WHO  CHANGES                                                       MESSAGE',
      '      12  60s  ann  Service/default/a created, Service/default/b created, 1 more  more room',
    ]);
    await weft(['history', 'route', 'cart', '-n', 'shop', '--limit', '3', '--before', '9', '--server', url]);
    expect(asked.map((each) => each.url)).toEqual([
      '/v1/revisions?limit=20',
      '/v1/revisions?limit=3&kind=HTTPRoute&namespace=shop&name=cart&before=9',
    ]);
    expect(JSON.parse((await weft(['history', '-o', 'json', '--server', url])).out)).toEqual([entry]);
  });

  it('says how far it goes back when there is nothing', async () => {
    const { url } = await fakeControlPlane(() => ({ status: 200, body: { items: [], oldest: 6 } }));
    expect((await weft(['history', 'svc', 'cart', '--server', url])).out).toBe(
      'nothing has changed Service default/cart; history begins with revision 7',
    );
  });

  it('shows one revision with its diff, and only names what is no resource', async () => {
    const changes = [{ object: 'TrustBundle/mesh', action: 'replaced' }, replaced];
    const { url, asked } = await fakeControlPlane(() => ({ status: 200, body: { ...entry, changes } }));
    const { out } = await weft(['history', '--revision', '12', '--server', url]);
    expect(out.split('\n')).toEqual([
      'revision 12 by ann, 2025-01-01T23:59:00.000Z, 60s ago',
      'more',
      'room',
      '',
      '# TrustBundle/mesh replaced: it is no resource, and not shown',
      '--- Service/default/cart (revision 11)',
      '+++ Service/default/cart (revision 12)',
      ...diffLines,
    ]);
    expect(asked[0]?.url).toBe('/v1/revisions/12');
  });

  it.each([
    [['history', 'service'], /KIND NAME/],
    [['history', '-n', 'shop'], /goes with KIND NAME/],
    [['history', '--limit', '0'], /1 to 9999/],
  ])('refuses %j', async (args, reason) => {
    const { code, err } = await weft(args);
    expect(err).toMatch(reason);
    expect(code).toBe(2);
  });
});

describe('weft rollback', () => {
  it('says what it has changed, and waits if it is told to', async () => {
    const results = [{ kind: 'Service', namespace: 'default', name: 'cart', action: 'replaced', revision: 14 }];
    const applied = { revision: 14, applied: [{}, {}], missing: [], refused: [] };
    const { url, asked } = await fakeControlPlane(() => ({ status: 200, body: { revision: 14, results, applied } }));
    const { out } = await weft(['rollback', '12', '--wait', 'applied', '-m', 'too slow', '--server', url]);
    expect(out).toBe('Service/default/cart replaced\nrevision 14, in force on 2 sidecars');
    expect(asked).toMatchObject([
      { url: '/v1/rollback?wait=applied&timeoutMs=30000', body: { revision: 12, message: 'too slow' } },
    ]);
    const json = await weft(['rollback', '12', '-o', 'json', '--server', url]);
    expect(JSON.parse(json.out)).toMatchObject({ revision: 14, results });
  });

  it('shows in a dry run what would differ', async () => {
    const { url } = await fakeControlPlane(() => dryRun(wouldReplace));
    const { out } = await weft(['rollback', '12', '--dry-run', '--server', url]);
    expect(out.split('\n')).toEqual([
      'Service/default/cart replaced (dry run)',
      '',
      '--- Service/default/cart (now)',
      '+++ Service/default/cart (after this)',
      ...diffLines,
    ]);
  });

  it('says when there is nothing to go back to, or nothing to change', async () => {
    const gone = { status: 410, title: 'Gone', code: 'revision-gone', detail: 'the oldest one that is known is 7' };
    const { url } = await fakeControlPlane(({ body }) =>
      (body as { revision: number }).revision === 3 ? { status: 410, body: gone } : dryRun(),
    );
    expect(await weft(['rollback', '3', '--server', url])).toEqual({ code: 1, out: '', err: gone.detail });
    expect((await weft(['rollback', '7', '--server', url])).out).toBe(
      'nothing to change: the resources are as they were after revision 7\nrevision 7',
    );
    expect((await weft(['rollback', 'x'])).code).toBe(2);
  });
});

describe('weft apply', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weft-apply-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const answers = ({ url }: Asked) => {
    const there = (...items: object[]) => ({ status: 200, body: { items, revision: 9 } });
    const stored = (name: string, labels: object) => {
      const { metadata, ...rest } = service(name, 80, labels);
      return { ...rest, metadata: { ...metadata, resourceVersion: '5' } };
    };
    if (url === '/v1/services')
      return there(stored('cart', { app: 'shop' }), stored('old', { app: 'shop' }), stored('pay', { app: 'pay' }));
    return url.startsWith('/v1/transactions') ? dryRun() : there();
  };

  it('takes several files and standard input, and deletes with them', async () => {
    const { url, asked } = await fakeControlPlane(answers);
    const file = join(folder, 'next.yaml');
    await writeFile(file, cartYaml.replace('cart', 'next'));
    await weft(
      ['apply', '-f', file, '-f', '-', '--delete', 'httproute/a', '--delete', 'svc/shop/b', '--server', url],
      cartYaml,
    );
    expect(asked).toMatchObject([
      {
        body: {
          apply: [{ metadata: { name: 'next' } }, { metadata: { name: 'cart' } }],
          delete: [
            { kind: 'HTTPRoute', namespace: 'default', name: 'a' },
            { kind: 'Service', namespace: 'shop', name: 'b' },
          ],
        },
      },
    ]);
  });

  it('prunes what has the label and is in no file, at the revision that was seen', async () => {
    const { url, asked } = await fakeControlPlane(answers);
    const labelled = cartYaml.replace('name: cart', 'name: cart, labels: { app: shop }');
    await weft(['apply', '-f', '-', '--prune', '-l', 'app=shop', '--server', url], labelled);
    expect(asked.at(-1)?.body).toMatchObject({
      apply: [{ metadata: { name: 'cart' } }],
      delete: [{ kind: 'Service', namespace: 'default', name: 'old', resourceVersion: '5' }],
    });
    expect((asked.at(-1)!.body as { delete: object[] }).delete).toHaveLength(1);
  });

  it('prunes nothing when a file has an object without the label', async () => {
    const { url, asked } = await fakeControlPlane(answers);
    const { code, err } = await weft(['apply', '-f', '-', '--prune', '-l', 'app=shop', '--server', url], cartYaml);
    expect(code).toBe(1);
    expect(err).toMatch(/^standard input:3:11: Service default\/cart: metadata\.labels: lacks a label of --selector/);
    expect(asked).toEqual([]);
  });

  it.each([
    [['--prune'], /--selector KEY=VALUE/],
    [['-l', 'app=shop'], /is for --prune/],
    [['--prune', '-l', 'app'], /Expected KEY=VALUE/],
    [['--delete', 'service'], /KIND\/NAME or KIND\/NAMESPACE\/NAME/],
    [['--delete', 'pod/x'], /no kind "pod"/],
  ])('refuses %j', async (args, reason) => {
    const { code, err } = await weft(['apply', '-f', '-', ...args], cartYaml);
    expect(err).toMatch(reason);
    expect(code).toBe(2);
  });
});
