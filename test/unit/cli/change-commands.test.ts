/** What apply and delete are told and say: names in one word, objects that are elsewhere, totals of many. */
import { describe, expect, it } from 'vitest';
import { weft } from './captured-terminal.ts';
import { type Answer, fakeControlPlane } from './fake-control-plane.ts';

const cart = {
  apiVersion: 'weft.mesh/v1',
  kind: 'Service',
  metadata: { name: 'cart', namespace: 'default', resourceVersion: '7', creationTimestamp: '2025-01-01T23:59:00Z' },
  spec: { endpoints: ['127.0.0.1:9001', '127.0.0.1:9002'] },
};
const cartYaml = 'apiVersion: weft.mesh/v1\nkind: Service\nmetadata: { name: cart }\nspec: {}\n';

describe('changes by the command line', () => {
  const one = (action: string, revision: number) => ({
    status: 200,
    body: { revision, results: [{ kind: 'Service', namespace: 'default', name: 'cart', action, revision }] },
  });

  it.each([
    [['service/cart', '-n', 'shop'], 'shop'],
    [['service/shop/cart', '-n', 'shop'], 'shop'],
    [['svc/cart'], 'default'],
  ])('delete takes a name in one word: %j', async (words, namespace) => {
    const { url, asked } = await fakeControlPlane(() => one('deleted', 8));
    expect((await weft(['delete', ...words, '--server', url])).code).toBe(0);
    expect(asked[0]?.body).toMatchObject({ delete: [{ kind: 'Service', namespace, name: 'cart' }] });
  });

  it.each([
    [['service/a/b/c'], /"service\/a\/b\/c" names no object: say KIND\/NAME/],
    [['service/shop/cart', '-n', 'web'], /is in namespace shop, and --namespace says web/],
    [['pod/cart'], /no kind "pod"/],
  ])('delete refuses %j', async (words, reason) => {
    const { code, err } = await weft(['delete', ...words]);
    expect([code, err]).toEqual([2, expect.stringMatching(reason)]);
  });

  it('get, describe, edit and delete say in which namespace there is one of the name, if they may look', async () => {
    const notFound = {
      status: 404,
      body: { status: 404, title: 'Not found', code: 'not-found', detail: 'It is not.' },
    };
    const inShop = { ...cart, metadata: { ...cart.metadata, namespace: 'shop' } };
    let list: Answer = { status: 200, body: { items: [inShop], revision: 7 } };
    const { url } = await fakeControlPlane((asked) => (asked.url === '/v1/services' ? list : notFound));
    for (const words of [['get'], ['describe'], ['edit'], ['delete']]) {
      const { code, err } = await weft([...words, 'service', 'cart', '--server', url]);
      expect([code, err]).toEqual([1, expect.stringMatching(/ There is one in namespace shop \(-n shop\)\.$/)]);
    }
    list = { status: 403, body: { status: 403, title: 'The token does not allow this', code: 'forbidden' } };
    const { err } = await weft(['get', 'service', 'cart', '--server', url]);
    expect(err).toMatch(/There is no Service "cart" in namespace default.* lists those there are\.$/);
  });

  it('apply of many ends with a total, and does not list many that are unchanged', async () => {
    const results = [
      { kind: 'Service', namespace: 'default', name: 'cart', action: 'replaced', revision: 8 },
      ...Array.from({ length: 11 }, (_, i) => ({
        ...{ kind: 'Service', namespace: 'default', name: `s${i}`, action: 'unchanged', revision: 7 },
      })),
    ];
    const { url } = await fakeControlPlane(() => ({ status: 200, body: { revision: 8, results } }));
    const apply = ['apply', '-f', '-', '--server', url];
    expect((await weft(apply, cartYaml)).out).toBe(
      'Service/default/cart replaced\n(11 that are unchanged are not listed)\nrevision 8\n1 replaced, 11 unchanged',
    );
    expect((await weft([...apply, '--dry-run'], cartYaml)).out).toMatch(
      /\n1 replaced, 11 unchanged; a dry run: nothing was written$/,
    );
    results.pop();
    const few = (await weft(apply, cartYaml)).out;
    expect(few).toContain('Service/default/s9 unchanged\nrevision 8\n1 replaced, 10 unchanged');
  });

  it.each(['token', 'ca', 'store'])('%s --help has examples', async (command) => {
    expect((await weft([command, '--help'])).out).toMatch(new RegExp(`\nExamples:\n {2}weft ${command} `));
  });
});
