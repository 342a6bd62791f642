/** describe, edit, explain and get -w. */
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { RefusedError } from '../../../src/cli/client.ts';
import { CliError } from '../../../src/cli/terminal.ts';
import { type WatchOptions, watchResources } from '../../../src/cli/watch-resources.ts';
import type { Resource } from '../../../src/model/resources.ts';
import { weft } from './captured-terminal.ts';
import { type Answer, fakeControlPlane } from './fake-control-plane.ts';

const cart = {
  apiVersion: 'weft.mesh/v1',
  kind: 'Service',
  metadata: { name: 'cart', namespace: 'default', resourceVersion: '7', creationTimestamp: '2025-01-01T23:59:00Z' },
  spec: { endpoints: ['127.0.0.1:9001', { address: '127.0.0.1:9002', weight: 3, labels: { version: 'v2' } }] },
};
const route = {
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name: 'shop', namespace: 'default' },
  spec: {
    parentRefs: [{ group: '', kind: 'Service', name: 'front' }],
    hostnames: ['*.shop.example'],
    rules: [{ backendRefs: [{ name: 'cart' }] }],
  },
};
const policy = {
  apiVersion: 'weft.mesh/v1',
  kind: 'TrafficPolicy',
  metadata: { name: 'patience', namespace: 'default' },
  spec: { targetRefs: [{ kind: 'HTTPRoute', name: 'shop' }], timeouts: { request: '1s' } },
};
const sidecar = (id: string, service: string, subscriptions: string[], more: object = {}) => ({
  ...{ sidecar: id, service, namespace: 'default', connected: true, state: 'synced', revision: 7, reason: null },
  ...{
    subscriptions,
    registration: null,
    isLinkInsecure: false,
    softwareVersion: '0.1.0',
    leaseEndsInMs: 9_000,
    stateAgeMs: 0,
  },
  ...more,
});
const sidecars = [
  sidecar('cart-1', 'cart', [], {
    registration: { address: '127.0.0.1:9002', zone: 'b', labels: {}, weight: 1, link: ['h:1'] },
  }),
  sidecar('web-1', 'web', ['cart']),
  sidecar('far-1', 'web', ['cart'], { namespace: 'far' }),
  sidecar('edge-1', 'edge', ['eu.shop.example'], { state: 'lost' }),
];
const revision = { revision: 7, who: 'ann', message: 'why', at: '2025-01-01T23:59:00.000Z', changes: [] };

const mesh = ({ url }: { readonly url: string }): Answer => {
  const of = (items: readonly object[]) => ({ status: 200, body: { items, revision: 7, oldest: 0 } });
  const front = { ...cart, metadata: { name: 'front', namespace: 'default' }, spec: {} };
  if (url.startsWith('/v1/revisions')) return of([revision]);
  const one = [cart, route, policy].find(({ metadata }) => url.endsWith(`/default/${metadata.name}`));
  if (one !== undefined) return { status: 200, body: one };
  const lists = { services: [cart, front], httproutes: [route], trafficpolicies: [policy], sidecars };
  return of(lists[url.split('/')[2] as keyof typeof lists]);
};

describe('weft describe', () => {
  it('shows a Service with its endpoints, who sends requests there, and who uses it', async () => {
    const { url, asked } = await fakeControlPlane(mesh);
    const { out } = await weft(['describe', 'svc', 'cart', '--server', url]);
    expect(out).toMatch(/^Service default\/cart, revision 7, created 60s ago\n\nspec:\n/);
    expect(out).toContain('Called as: cart, cart.default, cart.default.svc,');
    expect(out).toContain('HTTPRoute/default/shop (sends requests here)');
    expect(out).toMatch(/127\.0\.0\.1:9001 +written +- +1 /);
    expect(out).toMatch(/127\.0\.0\.1:9002 +both +synced +3 +b +version=v2 +h:1 +cart-1/);
    expect(out).toMatch(/cart\.default +cart-1 +serves it/);
    expect(out).toMatch(/web\.default +web-1 +calls it/);
    expect(out).toMatch(/edge\.default +edge-1 +calls it +lost/);
    // A short name is one of its own namespace.
    expect(out).not.toContain('far-1');
    expect(out).toMatch(/Last changes:\n.*\n +7 +60s +ann/);
    expect(asked.map((each) => each.url)).toContain('/v1/revisions?limit=5&kind=Service&namespace=default&name=cart');
  });

  it('shows for a route and for a policy whom they concern', async () => {
    const { url } = await fakeControlPlane(mesh);
    for (const [kind, name] of [
      ['httproute', 'shop'],
      ['policy', 'patience'],
    ] as const) {
      const { out } = await weft(['describe', kind, name, '-o', 'json', '--server', url]);
      expect(JSON.parse(out)).toMatchObject({
        object: { metadata: { name } },
        policies: kind === 'policy' ? [] : ['TrafficPolicy/default/patience'],
        sidecars: [{ sidecar: 'edge-1', uses: 'calls it' }],
        revisions: [{ revision: 7 }],
      });
    }
  });
});

describe('weft explain', () => {
  it.each([
    [['explain', 'pods'], /no kind "pods"\. Kinds are service \(services, svc\), httproute \(/],
    [['explain', 'rout.spec'], /no kind "rout"\. Did you mean route\?/],
    [
      ['explain', 'service.spec.prot'],
      /Service\.spec has no field "prot"\. Did you mean port\? Its fields are protocol,/,
    ],
    [['explain', 'service.spec.port.x'], /Service\.spec\.port has no fields/],
  ])('refuses %j', async (args, reason) => {
    const { code, err } = await weft(args);
    expect(err).toMatch(reason);
    expect(code).toBe(2);
  });

  it('says what a field means, without asking anybody', async () => {
    const { out } = await weft(['explain', 'service.spec.loadBalancer']);
    expect(out).toMatch(/^Service\.spec\.loadBalancer \(weft\.mesh\/v1\): object\n\nHow an endpoint is picked/);
    expect(out).toMatch(/\n {2}policy: text, required; one of RoundRobin, .*\n {6}.*Default: LeastRequest\.\n/);
    const tree = (await weft(['explain', 'httproute.spec.rules[0].timeouts', '--recursive'])).out;
    expect(tree.split('\n').map((line) => line.split(':')[0]!.trim())).toEqual([
      'timeouts',
      'request',
      'backendRequest',
    ]);
    expect(JSON.parse((await weft(['explain', 'svc.spec.port', '-o', 'json'])).out)).toMatchObject({
      field: 'Service.spec.port',
      default: '80',
      fields: [],
    });
  });
});

describe('weft edit', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weft-edit-test-'));
    vi.stubEnv('TMPDIR', folder);
    vi.stubEnv('VISUAL', '');
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(folder, { recursive: true });
  });

  /** A script that is given the file, and the number of the time it is called. */
  const editor = async (script: string) => {
    const path = join(folder, 'editor.sh');
    await writeFile(
      path,
      `#!/bin/sh\necho x >> "$0.times"\ntime=$(wc -l < "$0.times")\ncp "$1" "$0.seen.$time"\n${script}\n`,
    );
    await chmod(path, 0o755);
    vi.stubEnv('EDITOR', path);
  };
  const seen = async (time: number) =>
    (await import('node:fs/promises')).readFile(join(folder, `editor.sh.seen.${time}`), 'utf8');
  const left = async () => (await readdir(folder)).filter((name) => name.startsWith('weft-edit-'));
  const invalid = {
    status: 422,
    title: 'Invalid',
    detail: 'Nothing was changed: there is a problem.',
    problems: [{ object: 'Service default/cart', path: 'spec.port', message: 'is 81, but the route says 80' }],
  };
  const done = { revision: 8, results: [{ kind: 'Service', namespace: 'default', name: 'cart', action: 'replaced' }] };

  it('opens again with the reasons when it is refused, and applies what was mended', async () => {
    await editor(`case $time in
1) sed -i 's/^spec:/spec:\\n  prot: 1/' "$1" ;;
2) sed -i 's/prot: 1/port: 81/' "$1" ;;
3) sed -i 's/port: 81/port: 80/' "$1" ;;
esac`);
    const { url, asked } = await fakeControlPlane((request) => {
      if (request.method === 'GET') return mesh(request);
      const port = (request.body as { apply: { spec: { port: number } }[] }).apply[0]!.spec.port;
      return port === 81 ? { status: 422, body: invalid } : { status: 200, body: done };
    });
    expect(await weft(['edit', 'svc', 'cart', '-m', 'a port', '--server', url])).toEqual({
      code: 0,
      out: 'Service/default/cart replaced\nrevision 8',
      err: '',
    });
    const second = await seen(2);
    expect(second).toMatch(
      /^# It was refused:\n# (\d+):\d+: Service default\/cart: spec\.prot: unknown field, did you mean port/,
    );
    // The line is the one that the editor shows.
    const line = Number(/# (\d+):/.exec(second)?.[1]);
    expect(second.split('\n')[line - 1]).toBe('  prot: 1');
    const third = await seen(3);
    expect(third).toMatch(
      /^# It was refused:\n# Nothing was changed.*\n# \d+:\d+: Service default\/cart: spec\.port: is 81/,
    );
    expect(third.split('\n')[Number(/# (\d+):/.exec(third)?.[1]) - 1]).toBe('  port: 81');
    expect(asked.at(-1)?.body).toMatchObject({ message: 'a port', apply: [{ metadata: { resourceVersion: '7' } }] });
    expect(await left()).toEqual([]);
  });

  it('keeps what was written when it is given up after a refusal', async () => {
    await editor(`[ $time = 1 ] && sed -i 's/9001/9009/' "$1"; true`);
    const conflict = {
      status: 412,
      title: 'Changed',
      code: 'conflict',
      detail: 'Service default/cart is at revision 9',
    };
    const { url } = await fakeControlPlane((request) =>
      request.method === 'GET' ? mesh(request) : { status: 412, body: conflict },
    );
    const { code, err } = await weft(['edit', 'svc', 'cart', '--server', url]);
    expect(code).toBe(1);
    expect(err).toMatch(/Nothing was changed:\nService default\/cart is at revision 9\n.*weft diff/);
    expect(err).toMatch(/What you wrote is in .*cart\.yaml\.$/);
    expect(await left()).toHaveLength(1);
    expect(await seen(2)).toContain('9009');
  });

  it('changes nothing when nothing, or everything, was taken out', async () => {
    const { url, asked } = await fakeControlPlane(mesh);
    for (const script of ['true', ': > "$1"']) {
      await editor(script);
      expect((await weft(['edit', 'svc', 'cart', '--server', url])).out).toBe('Service/default/cart unchanged');
    }
    expect(asked.every(({ method }) => method === 'GET')).toBe(true);
    expect(await left()).toEqual([]);
  });

  it('does not rename, and says when the editor fails', async () => {
    await editor(`[ $time = 1 ] && sed -i 's/name: cart/name: crat/' "$1"; true`);
    const { url } = await fakeControlPlane(mesh);
    const renamed = await weft(['edit', 'svc', 'cart', '--server', url]);
    expect(renamed.err).toMatch(/must remain Service\/default\/cart and nothing else/);
    await editor('exit 3');
    const failed = await weft(['edit', 'svc', 'cart', '--server', url]);
    expect(failed.code).toBe(1);
    expect(failed.err).toMatch(/The editor .*editor\.sh failed: it ended with 3\./);
  });

  it.each([
    ['false', 'it ended with 1'],
    ['no-such-editor', 'there is no such program'],
  ])('leaves no file behind when nothing was written in it: EDITOR=%s', async (name, outcome) => {
    vi.stubEnv('EDITOR', name);
    const { url } = await fakeControlPlane(mesh);
    const { code, err } = await weft(['edit', 'svc', 'cart', '--server', url]);
    expect(code).toBe(1);
    expect(err.split('\n').at(-1)).toBe(
      `The editor ${name} failed: ${outcome}. Nothing was changed; set EDITOR to another one.`,
    );
    expect(await left()).toEqual([]);
  });

  it('keeps what was written when the editor fails after that', async () => {
    await editor(`sed -i 's/9001/9009/' "$1"; exit 3`);
    const { url } = await fakeControlPlane(mesh);
    expect((await weft(['edit', 'svc', 'cart', '--server', url])).err).toMatch(/What you wrote is in .*cart\.yaml\.$/);
    expect(await left()).toHaveLength(1);
  });
});

describe('weft get -w', () => {
  const at = (version: number, name = 'cart'): Resource => ({
    ...(cart as Resource & { kind: 'Service' }),
    metadata: { ...cart.metadata, name, resourceVersion: String(version) },
    spec: {},
  });
  const put = (version: number, name?: string) => ({ event: 'put', data: { object: at(version, name) } });
  const head = (revision: number) => ({ event: 'revision', data: { revision } });
  const removed = { event: 'delete', data: { revision: 9, kind: 'Service', namespace: 'default', name: 'cart' } };
  const refused = (status: number, code: string) => new RefusedError({ status, title: code, code });

  /** Plays one list or stream after the other; after the last one it says so with an error that ends the watch. */
  async function watched(
    lists: readonly (readonly [number, readonly Resource[]] | Error)[],
    streams: readonly (readonly (object | Error)[])[],
    more: Partial<WatchOptions> = {},
  ) {
    const out: string[] = [];
    const err: string[] = [];
    const from: number[] = [];
    const pauses: number[] = [];
    const played = { lists: 0, streams: 0 };
    const client = {
      server: 'http://mesh',
      sidecars: async () => [],
      list: async () => {
        const list = lists[played.lists++];
        if (list === undefined) throw new Error('no more lists');
        if (list instanceof Error) throw list;
        return { revision: list[0], items: list[1] };
      },
      async *watch(_kind: string, _namespace: string | undefined, after: number) {
        from.push(after);
        const stream = streams[played.streams++];
        if (stream === undefined) throw new Error('no more streams');
        for (const event of stream) {
          if (event instanceof Error) throw event;
          yield event as { event: string; data: unknown };
        }
      },
    };
    const terminal = {
      out: (line: string) => void out.push(line),
      err: (line: string) => void err.push(line),
      readStdin: async () => '',
      nowMs: () => Date.parse('2025-01-02T00:00:00Z'),
      hasColours: false,
      screen: null,
      exitCode: 0,
    };
    const options = {
      client,
      kind: 'Service',
      name: undefined,
      namespace: undefined,
      output: 'json',
      ...more,
    } as const;
    const pause = async (ms: number) => void pauses.push(ms);
    const end = await watchResources({ ...options, pause }, terminal).catch((error: unknown) => error);
    const said = out.map((line) => {
      if (!line.startsWith('{')) return line;
      const { event, object } = JSON.parse(line) as { event: string; object: Resource };
      return `${event} ${object.metadata.name} ${object.metadata.resourceVersion}`;
    });
    return { said, err, from, pauses, end };
  }

  it('fails at once when there is nothing to begin with, and when it is not allowed to go on', async () => {
    const gone = new CliError('No control plane answers.');
    expect((await watched([gone], [])).end).toBe(gone);
    const unauthorized = refused(401, 'unauthorized');
    expect((await watched([[7, []]], [[unauthorized]])).end).toBe(unauthorized);
  });

  it('shows what there is, then every change', async () => {
    const { said } = await watched([[7, [at(7)]]], [[head(7), put(8), head(8), removed, head(9), put(10), head(10)]]);
    expect(said).toEqual(['is cart 7', 'put cart 8', 'deleted cart 9', 'put cart 10']);
  });

  it('resumes after the last whole revision, and shows nothing twice', async () => {
    const lost = new CliError('It did not answer.');
    const { said, from, err } = await watched(
      [[7, [at(7)]]],
      [[put(8), head(8), put(9), lost], [head(8), put(9), head(9)], []],
    );
    expect(from).toEqual([7, 8, 9, 9]);
    expect(said).toEqual(['is cart 7', 'put cart 8', 'put cart 9']);
    expect(err).toEqual(['It did not answer. Trying again.', 'the control plane at http://mesh answers again']);
  });

  it('lists anew when what it missed is no longer kept, or when it was too slow, and shows what is different', async () => {
    const lists = [
      [7, [at(7), at(3, 'old')]],
      [20, [at(15), at(9, 'new')]],
      [21, [at(15)]],
    ] as const;
    const { said, from } = await watched(lists, [
      [refused(410, 'revision-gone')],
      [head(20), { event: 'relist', data: { code: 'too-slow' } }],
    ]);
    expect(said).toEqual(['is cart 7', 'is old 3', 'deleted old 3', 'put cart 15', 'put new 9', 'deleted new 9']);
    expect(from).toEqual([7, 20, 21]);
  });

  it('waits longer each time that nobody answers, up to a bound', async () => {
    const down = Array.from({ length: 6 }, () => [new CliError('down')]);
    const { pauses, err } = await watched([[7, []]], [...down, [head(7)], [new CliError('down')]]);
    expect(pauses).toEqual([500, 1000, 2000, 4000, 5000, 5000, 500, 1000]);
    expect(err.filter((line) => line.startsWith('down'))).toHaveLength(2);
  });

  it('is a table with columns that stay, or YAML documents', async () => {
    const lines = (await watched([[7, [at(7)]]], [[put(8), removed]], { output: 'table', name: 'cart' })).said;
    expect(lines).toEqual([
      'EVENT    NAMESPACE  NAME     PORT     ENDPOINTS  BALANCER      REVISION  AGE',
      'is       default    cart     80       0          LeastRequest  7         60s',
      'put      default    cart     80       0          LeastRequest  8         60s',
      'deleted  default    cart     80       0          LeastRequest  9         60s',
    ]);
    const yaml = (await watched([[7, [at(7), at(7, 'other')]]], [], { output: 'yaml', name: 'other' })).said;
    expect(yaml).toEqual([expect.stringMatching(/^event: is\nobject:\n {2}apiVersion: [\s\S]*\n---$/)]);
  });

  it('does not watch sidecars', async () => {
    expect(await weft(['get', 'sidecars', '-w'])).toMatchObject({ code: 2, err: expect.stringMatching(/weft status/) });
  });
});
