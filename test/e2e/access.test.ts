/** Who may ask what of a control plane, and over what: real processes, and the command line as people use it. */
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { rootIn } from './credentials.ts';
import { Bench, type CommandResult, type Running, until } from './harness.ts';
import { beside, linesOf, whenServed } from './identity-mesh.ts';

const manifest = (namespace: string, name = 'cart') =>
  `apiVersion: weft.mesh/v1\nkind: Service\nmetadata: { name: ${name}, namespace: ${namespace} }\nspec: {}\n`;

describe('a control plane for other machines', () => {
  const bench = new Bench();
  let plane: Running;
  let pin: string;
  let api: string;
  const files: Record<string, string> = {};

  /** A client command over TLS with the pinned root. */
  const weft = (args: readonly string[], token?: string, input = ''): Promise<CommandResult> =>
    bench.run(
      [
        ...args,
        '--server',
        `https://${api}`,
        '--ca',
        pin,
        ...(token === undefined ? [] : ['--token-file', files[token]!]),
      ],
      input,
    );
  const make = async (name: string, ...args: readonly string[]) => {
    const made = await weft(['token', 'create', '--name', name, ...args], 'admin');
    expect(made).toMatchObject({ code: 0 });
    files[name] = bench.file(`${name}.token`, made.stdout);
  };

  beforeAll(async () => {
    const store = `embedded:${bench.path('store')}`;
    const made = await bench.run(['token', 'create', '--role', 'admin', '--name', 'admin', '--store', store]);
    expect(made).toMatchObject({ code: 0, stdout: expect.stringMatching(/^weft_\S+\n$/) });
    files.admin = bench.file('admin.token', made.stdout);
    const ports = ['--listen', '127.0.0.1:0', '--push', '127.0.0.1:0', '--push-tls'];
    plane = await bench.weft(['control-plane', ...ports, '--store', store]);
    api = plane.ready.api;
    pin = `sha256:${(await rootIn(bench.path('ca'))).sha256}`;
    await make('reader', '--role', 'reader');
    await make('editor', '--role', 'editor', '--namespace', 'shop');
    await make('short', '--role', 'reader', '--ttl', '1s');
    await make('gone', '--role', 'reader');
    expect(await weft(['token', 'revoke', 'gone'], 'admin')).toMatchObject({ code: 0, stdout: 'token gone revoked\n' });
    files.wrong = bench.file('wrong.token', `weft_0123456789ab_${'A'.repeat(43)}`);
  });
  afterAll(() => bench.close());

  it('refuses who has no token, a wrong one, one that has expired or was revoked, and says so', async () => {
    await until('the short one has expired', async () => (await weft(['get', 'services'], 'short')).code !== 0);
    const cases = [
      [undefined, /asks for a token: say --token-file FILE or WEFT_TOKEN.*needs a reader/],
      ['wrong', /not known here: it was revoked, or another mesh has made it/],
      ['short', /The token short expired at 20/],
      ['gone', /not known here: it was revoked/],
    ] as const;
    for (const [token, message] of cases) {
      const said = await weft(['get', 'services'], token);
      expect([said.code, said.stdout], token).toEqual([1, '']);
      expect(said.stderr).toMatch(message);
      expect(said.stderr).not.toMatch(/\n\s+at /);
    }
    expect(linesOf(plane, 'a request to the API was refused: token-').length).toBeGreaterThan(0);
    for (const file of Object.values(files))
      expect(plane.logs()).not.toContain(readFileSync(file, 'utf8').trim().slice(-43));
  });

  it('lets a reader read and an editor write where he may', async () => {
    expect(await weft(['get', 'services'], 'reader')).toMatchObject({ code: 0 });
    const apply = (namespace: string, token: string) => weft(['apply', '-f', '-'], token, manifest(namespace));
    expect(await apply('shop', 'reader')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/The token reader is a reader; this needs an editor or an admin/),
    });
    expect(await apply('shop', 'editor')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/shop\/cart created/),
    });
    expect(await apply('default', 'editor')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /Nothing was changed: this needs a token of an editor of default.*Service default\/cart/,
      ),
    });
    expect(await weft(['token', 'list'], 'editor')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/needs an admin/),
    });
    const listed = await weft(['token', 'list'], 'admin');
    expect(listed.stdout).toMatch(/^editor +[0-9a-f]{12} +editor of shop +20\S+ +\d+s ago/m);
  });

  it('sends nothing to a server of another root, nor a token in plain', async () => {
    const foreign = await rootIn(bench.path('foreign'));
    const root = bench.file('foreign.crt', foreign.certificatePem);
    for (const ca of [root, `sha256:${foreign.sha256}`]) {
      const said = await bench.run(['status', '--server', `https://${api}`, '--ca', ca, '--token-file', files.admin!]);
      expect([said.code, said.stdout]).toEqual([1, '']);
      expect(said.stderr).toMatch(/is not believed .* and was sent nothing/);
    }
    const believed = await bench.run(['status', '--server', `https://${api}`, '--token-file', files.admin!], '', {
      WEFT_CA: bench.path('ca/root.crt'),
    });
    expect(believed).toMatchObject({ code: 0 });
  });

  it('joins sidecars over TLS from the first byte, and pushes to them', async () => {
    const join = async (service: string) => {
      const made = await weft(['token', 'create', '--join', '--service', service], 'admin');
      return ['--join-token-file', bench.file(`${service}.join`, made.stdout)];
    };
    const own = ['--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--control-plane', `https://${api}`];
    const app = await bench.app((_request, response) => response.end('pay'));
    await bench.weft(['sidecar', '--service', 'pay', ...own, ...beside(app), ...(await join('pay'))]);
    const web = await bench.weft(['sidecar', '--service', 'web', ...own, ...(await join('web'))]);
    await whenServed(web.ready.outbound, 'pay');
    // A change comes over the same way, and is acknowledged.
    const applied = await weft(['apply', '-f', '-', '--wait', 'applied'], 'admin', manifest('default', 'pay'));
    expect(applied).toMatchObject({ code: 0, stdout: expect.stringMatching(/in force on 2 sidecars/) });
    expect((await weft(['status'], 'reader')).stdout).toMatch(/2 sidecars, all synced/);
    const without = bench.begin([
      'sidecar',
      '--service',
      'eve',
      ...own.slice(0, 4),
      '--control-plane',
      `http://${api}`,
    ]);
    without.whenReady.catch(() => {});
    await until('it was told why', () => without.logs().includes('join token'));
    expect((await weft(['status'], 'reader')).stdout).not.toContain('eve');
  });

  it('keeps its sidecars over a rotation of the root and a restart', async () => {
    const before = pin;
    expect(await weft(['ca', 'rotate'], 'admin')).toMatchObject({ code: 0 });
    // The clients' pin is of the root that has left its place; sidecars have learnt of the next one.
    expect((await weft(['status'], 'reader')).stderr).toMatch(/is not believed/);
    pin = `sha256:${(await rootIn(bench.path('ca'))).sha256}`;
    expect(pin).not.toBe(before);
    await plane.kill('SIGTERM');
    const { push } = plane.ready;
    const ports = ['--listen', api, '--push', push, '--push-tls'];
    plane = await bench.weft(['control-plane', ...ports, '--store', `embedded:${bench.path('store')}`]);
    await until('they have come back', async () =>
      /2 sidecars, all synced/.test((await weft(['status'], 'reader')).stdout),
    );
  });
});

describe('the start of a control plane', () => {
  let bench: Bench;
  afterEach(() => bench.close());

  it.each([
    ['--listen', '0.0.0.0:0'],
    ['--push', '192.0.2.1:7071'],
  ])('with %s %s needs a first token', async (flag, address) => {
    bench = new Bench();
    const store = ['--store', `embedded:${bench.path('store')}`];
    const flags = { '--listen': '127.0.0.1:0', '--push': '127.0.0.1:0', [flag]: address };
    const said = await bench.run(['control-plane', ...store, ...Object.entries(flags).flat()]);
    expect([said.code, said.stdout]).toEqual([1, '']);
    expect(said.stderr).toContain(`weft token create --role admin --store embedded:${bench.path('store')}`);
    expect(said.stderr).not.toMatch(/\n\s+at /);
  });

  it('leaves the store alone that another process has', async () => {
    bench = new Bench();
    const store = ['--store', `embedded:${bench.path('store')}`];
    await bench.weft(['control-plane', ...store, '--listen', '127.0.0.1:0', '--push', '127.0.0.1:0']);
    expect(await bench.run(['token', 'create', '--role', 'admin', ...store])).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/is in use by process \d+/),
    });
  });
});
