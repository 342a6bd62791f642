/** What a listener does with a path that is not in normal form: `--paths`. */
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { checkHead, type RawHead, RefusedHead } from '../../../src/proxy/head-check.ts';
import { headerList } from '../../../src/proxy/headers.ts';
import { normalisePath, type PathPolicy } from '../../../src/proxy/path.ts';
import { type Bench, kinds, openBench, parseAnswer, RawClient } from './listener-fakes.ts';

function check(target: string, paths?: PathPolicy) {
  const raw: RawHead = {
    method: 'GET',
    target,
    headers: headerList(['Host', 'a']),
    isHttp10: false,
    paths,
    sourceAddress: '127.0.0.1',
    readAtMs: 1,
    loopMs: 0,
  };
  const head = checkHead(raw);
  return head instanceof RefusedHead
    ? head.failure.code
    : { path: head.path, forwardedPath: head.forwardedPath, query: head.query };
}

const piece = fc.constantFrom(
  '/',
  '.',
  '..',
  '%2e',
  '%2F',
  '%41',
  '%7E',
  'a',
  ';',
  '%',
  '%00',
  '\\',
  '//',
  '%5c',
  '%c3',
);
const path = fc.array(piece, { maxLength: 16 }).map((pieces) => `/${pieces.join('')}`);
const query = fc.constantFrom('', '?', '?a=/../b', '?%zz');
const holds = (property: fc.IProperty<[string, string]>) => fc.assert(property, { numRuns: 2_000 });

describe('paths', () => {
  it('are normalised unless something else is said', () => {
    expect(check('/a/%2e%2e/%7eb')).toEqual({ path: '/~b', forwardedPath: '/~b', query: '' });
  });

  it('that are refused are exactly those that normalising would change or refuse', () => {
    holds(
      fc.property(path, query, (sent, asked) => {
        const normal = normalisePath(sent);
        const expected =
          normal === sent
            ? { path: sent, forwardedPath: sent, query: asked }
            : normal === null
              ? 'bad-request'
              : 'path-not-normal';
        expect(check(sent + asked, 'refuse')).toEqual(expected);
      }),
    );
  });

  it('that are raw are forwarded byte for byte, and routed as their normal form is', () => {
    holds(
      fc.property(path, query, (sent, asked) => {
        const normal = normalisePath(sent);
        const expected = normal === null ? 'bad-request' : { path: normal, forwardedPath: sent, query: asked };
        expect(check(sent + asked, 'raw')).toEqual(expected);
      }),
    );
  });

  it('that are normalised stay so at the next hop, whatever that does', () => {
    holds(
      fc.property(path, query, (sent, asked) => {
        const first = check(sent + asked, 'normalise');
        if (typeof first === 'string') return;
        for (const paths of ['refuse', 'normalise', 'raw'] as const)
          expect(check(first.forwardedPath + first.query, paths)).toEqual(first);
      }),
    );
  });

  it.each<[target: string, paths: PathPolicy, forwarded: string]>([
    ['http://b/x/../y?z', 'raw', '/x/../y'],
    ['http://b', 'raw', '/'],
    ['http://b?q', 'refuse', '/'],
    ['/a;v=1/b', 'refuse', '/a;v=1/b'],
  ])('of %s with %s are forwarded as %s', (target, paths, forwardedPath) => {
    expect(check(target, paths)).toMatchObject({ forwardedPath });
  });
});

describe.each(kinds)('the paths of %s', (kind) => {
  let bench: Bench;
  let client: RawClient;
  afterEach(async () => {
    client.close();
    await bench.listener.close();
  });

  it('are its own setting', async () => {
    bench = await openBench(kind, 0, {}, undefined, { paths: 'raw' });
    client = await RawClient.open(bench);
    const call = bench.proxy.nextCall();
    client.send('GET /a//%7eb/../c?d HTTP/1.1\r\nHost: a\r\n\r\n');
    expect((await call).head).toMatchObject({ path: '/a/c', forwardedPath: '/a//%7eb/../c', query: '?d' });
  });

  it('are refused with 400', async () => {
    bench = await openBench(kind, 0, {}, undefined, { paths: 'refuse' });
    client = await RawClient.open(bench);
    client.send('GET /a/../c HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.untilClosed();
    expect(parseAnswer(client.received)).toMatchObject({ status: 400 });
    const { headers, body } = parseAnswer(client.received);
    expect(headers.get('weft-failure')).toEqual(['path-not-normal']);
    const listener = kind === 'uws' ? 'outbound' : 'inbound';
    expect(JSON.parse(body)).toMatchObject({
      message: 'The path is not in normal form, and the listener takes no other.',
      detail: expect.stringMatching(new RegExp(`dot segment.*\\(--paths ${listener}=refuse\\)`)),
    });
    expect(bench.proxy.calls).toEqual([]);
  });
});
