import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { afterAll, describe, expect, it } from 'vitest';
import { parseAppAddress } from '../../../src/cli/flag-values.ts';
import { readJoinToken } from '../../../src/cli/join-token.ts';
import { listenerPoliciesOf } from '../../../src/cli/listener-policies.ts';
import { addSidecarFlags, type SidecarFlags, sidecarOptionsOf } from '../../../src/cli/sidecar-flags.ts';
import type { HostPort, LocalAddress } from '../../../src/model/host-port.ts';
import { limits } from '../../../src/model/limits.ts';
import { defaultListenerLimits } from '../../../src/model/listener-limits.ts';
import type { SidecarOptions } from '../../../src/sidecar/options.ts';

const optionsOf = (...args: string[]): SidecarOptions => optionsWith(null, ...args);

function optionsWith(joinToken: string | null, ...args: string[]): SidecarOptions {
  const command = addSidecarFlags(new Command().option('--app <address>', '', parseAppAddress))
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  const flags = command
    .parse(['--service', 'cart', ...args], { from: 'user' })
    .opts<SidecarFlags & { app?: LocalAddress }>();
  return sidecarOptionsOf(flags, flags.app ?? null, joinToken);
}

const limitsBeside = (sidecarOf: string) => ({
  outbound: defaultListenerLimits.outbound,
  inbound: { ...defaultListenerLimits.inbound, sidecarOf },
  link: { ...defaultListenerLimits.link, sidecarOf },
});

describe('flags of a sidecar that cannot be meant', () => {
  it.each([
    ...[
      'a:b',
      'a:80',
      '127.0.0.1:80',
      '1.2.3',
      '999.1.1.1',
      '[::1]:80',
      '[a]',
      '[:::]',
      'fe80::1%eth0',
      '-a',
      'a..b',
      'a b',
      '',
    ].map((host) => ['--advertise', host]),
    ...['__proto__=1', '=1', 'a', 'a b=1', '-a=1', `${'k'.repeat(129)}=1`, `a=${'v'.repeat(129)}`, 'a=b\nc'].map(
      (label) => ['--label', label],
    ),
    ['--zone', 'z'.repeat(64)],
    ['--zone', 'a\nb'],
  ])('%s %j', (flag, value) => {
    expect(() => optionsOf(flag!, value!)).toThrow(/Expected/);
  });

  it('too many labels', () => {
    const labels = Array.from({ length: limits.labelsMax + 1 }, (_, n) => ['--label', `l${n}=1`]).flat();
    expect(() => optionsOf(...labels)).toThrow(/Expected at most/);
  });
});

describe('--loops', () => {
  const app = ['--app', '127.0.0.1:8080'];

  it.each(['0', '65', '-1', '1.5', 'two', '', '1e1'])('is no %j', (loops) => {
    expect(() => optionsOf('--loops', loops)).toThrow(/Expected 1 to 64/);
  });

  it('needs something that several event loops can serve', () => {
    const node = ['--loops', '2', '--outbound-http', 'node'];
    expect(() => optionsOf(...node)).toThrow(/--loops 2 needs listeners that several event loops can serve/);
    expect(optionsOf(...node, ...app, '--inbound', '127.0.0.1:0', '--inbound-http', 'uws').loops).toBe(2);
    expect(optionsOf(...node, ...app, '--link', '127.0.0.1:0').loops).toBe(2);
    expect(optionsOf('--loops', '64').loops).toBe(64);
  });

  it("takes a link port for each, which must exist and be nobody else's", () => {
    const at = (link: string, ...more: string[]) => optionsOf('--loops', '3', ...app, '--link', link, ...more).link;
    expect(() => at('127.0.0.1:65534')).toThrow(/takes the ports up to 65536, and there are none above 65535/);
    expect(at('127.0.0.1:65533')).toEqual({ host: '127.0.0.1', port: 65_533 });
    expect(() => at('127.0.0.1:15007', '--upstream', 'cart=127.0.0.1:15009')).toThrow(
      /--link \(event loop 2\) and --upstream cart cannot both listen on 127.0.0.1:15009/,
    );
  });
});

describe('unix sockets', () => {
  const longest = `/${'x'.repeat(limits.socketPathBytesMax - 1)}`;

  it.each<[string, string[], RegExp]>([
    ['no path', ['--app', 'unix:'], /Expected unix:PATH, for instance/],
    ['a path that is too long', ['--outbound', `unix:${longest}x`], /at most 107 bytes for the path .* has 108/],
    ['one in characters of several bytes', ['--app', `unix:${longest.slice(0, -1)}é`], /has 108/],
    ['one that is long from the root on', ['--app', `unix:${'y'.repeat(107)}`], /at most 107 bytes .*y has 1\d\d/],
    ['a place for others', ['--inbound', 'unix:/run/in.sock'], /unix sockets are for --app and --outbound/],
    ['a mode that is none', ['--outbound', 'unix:a', '--outbound-mode', '888'], /Expected three octal digits/],
    ['a mode without the user', ['--outbound', 'unix:a', '--outbound-mode', '066'], /Expected three octal digits/],
    ['a mode without a file', ['--outbound-mode', '660'], /needs --outbound unix:PATH/],
    ['one for both', ['--app', 'unix:a', '--outbound', 'unix:./a'], /the sidecar would call itself/],
    ['several event loops', ['--outbound', 'unix:a', '--loops', '2'], /\(a unix socket has one event loop\)/],
  ])('are refused: %s', (_what, args, message) => {
    expect(() => optionsOf(...args)).toThrow(message);
  });

  it('may have the longest path, be relative, and stand beside listeners of other event loops', () => {
    expect(optionsOf('--app', `unix:${longest}`).app).toEqual({ path: longest });
    const { outbound, outboundMode } = optionsOf('--outbound', 'unix:out.sock', '--outbound-mode', '0660');
    expect({ outbound, outboundMode }).toEqual({ outbound: { path: resolve('out.sock') }, outboundMode: 0o660 });
    const loops = ['--outbound', 'unix:out.sock', '--loops', '2'];
    expect(optionsOf(...loops, '--upstream', 'cart=127.0.0.1:0').loops).toBe(2);
    expect(optionsOf(...loops, '--app', 'unix:app.sock', '--link', '127.0.0.1:0').loops).toBe(2);
  });
});

describe('flags of identity and link that contradict each other', () => {
  const app = ['--app', '127.0.0.1:8080'];
  it.each<[string | null, string[], RegExp]>([
    [null, ['--link', '127.0.0.1:0'], /--link delivers to an app/],
    [null, ['--insecure-link', '--identity-dir', 'x'], /--insecure-link and --identity-dir exclude each other/],
    ['a.b.c', ['--config', 'x'], /WEFT_JOIN_TOKEN is for a control plane/],
    [null, [...app, '--config', 'x', '--link', '127.0.0.1:0'], /--identity-dir DIR, or .* --insecure-link/],
    [null, [...app, '--inbound', '127.0.0.1:1', '--link', '127.0.0.1:1'], /--inbound and --link cannot both listen/],
  ])('%j %j', (joinToken, args, message) => {
    expect(() => optionsWith(joinToken, ...args)).toThrow(message);
  });
});

describe('the link', () => {
  const app = ['--app', '127.0.0.1:8080'];
  it.each<[string, string[], HostPort | null]>([
    ['without an app', ['--advertise', '10.0.0.7'], null],
    ['where nobody could call the app', app, null],
    ['with a file', [...app, '--inbound', '127.0.0.1:1', '--config', 'x'], null],
    ['beside the inbound listener', [...app, '--inbound', '0.0.0.0:1'], { host: '0.0.0.0', port: 0 }],
    ['at the advertised host', [...app, '--advertise', '10.0.0.7'], { host: '10.0.0.7', port: 0 }],
    ['where it was named', [...app, '--inbound', '0.0.0.0:1', '--link', '[::1]:2'], { host: '::1', port: 2 }],
    ['insecure too', [...app, '--inbound', '0.0.0.0:1', '--insecure-link'], { host: '0.0.0.0', port: 0 }],
    [
      'with a file and an identity',
      [...app, '--config', 'x', '--identity-dir', 'y', '--link', '10.0.0.7:2'],
      { host: '10.0.0.7', port: 2 },
    ],
  ])('%s: %j', (_where, args, link) => {
    expect(optionsOf(...args).link).toEqual(link);
  });

  it('takes a join token for the control plane when it is insecure', () => {
    expect(optionsWith('a.b.c', '--insecure-link')).toMatchObject({ isLinkInsecure: true, joinToken: 'a.b.c' });
  });

  it('is insecure only as it is said, anywhere', () => {
    const options = optionsOf(...app, '--config', 'x', '--insecure-link', '--link', '0.0.0.0:0');
    expect(options).toMatchObject({ isLinkInsecure: true, link: { host: '0.0.0.0' } });
  });
});

describe('the join token', () => {
  const directory = mkdtempSync(join(tmpdir(), 'weft-join-token-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  const fileWith = (text: string): string => {
    const file = join(directory, 'token');
    writeFileSync(file, text);
    return file;
  };

  it.each(['', 'a.b', 'a.b.c d', `a.b.${'c'.repeat(limits.tokenCharsMax)}`])(
    'is none when the file holds %j',
    async (text) => {
      await expect(readJoinToken(fileWith(text), {})).rejects.toThrow(/holds no join token: expected what/);
    },
  );

  it('is not repeated when it cannot be used', async () => {
    await expect(readJoinToken(undefined, { WEFT_JOIN_TOKEN: 'secret' })).rejects.toThrow(
      /^(?!.*secret).*WEFT_JOIN_TOKEN/,
    );
  });

  it('must be in a file that can be read', async () => {
    await expect(readJoinToken(join(directory, 'none'), {})).rejects.toThrow(
      /--join-token-file .* cannot be read: ENOENT/,
    );
  });

  it.each(['eyJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJ3ZWZ0In0.c2ln', `eyJ${'a'.repeat(400)}.b.c`, 'eyJhbGciOiJFUzI1NiJ9'])(
    'is not repeated when it stands where its file should: %s',
    async (token) => {
      const refusal = await readJoinToken(token, {}).then(String, String);
      expect(refusal).toMatch(/looks like the token itself: put it into a file, or into WEFT_JOIN_TOKEN/);
      expect(refusal).not.toContain(token);
    },
  );

  it('is that of the file, else that of the environment, else none', async () => {
    expect(await readJoinToken(fileWith('a.b.c\n'), { WEFT_JOIN_TOKEN: 'd.e.f' })).toBe('a.b.c');
    expect(await readJoinToken(undefined, { WEFT_JOIN_TOKEN: ' d.e.f\n' })).toBe('d.e.f');
    expect(await readJoinToken(undefined, { WEFT_JOIN_TOKEN: '' })).toBeNull();
    expect(await readJoinToken(undefined, {})).toBeNull();
  });
});

describe('the flags of a sidecar', () => {
  it.each([
    ['app-1.example.com', 'app-1.example.com'],
    ['10.0.0.1', '10.0.0.1'],
    ['::2', '::2'],
    ['[2001:db8::1]', '2001:db8::1'],
  ])('advertise %s', (host, advertised) => {
    expect(optionsOf('--advertise', host).advertise).toBe(advertised);
  });

  it('have the defaults of the design, and open nothing that was not named', () => {
    expect(optionsOf()).toEqual({
      service: 'cart',
      namespace: 'default',
      app: null,
      outbound: { host: '127.0.0.1', port: 15001 },
      outboundMode: 0o600,
      outboundHttp: 'uws',
      inbound: null,
      inboundHttp: 'node',
      link: null,
      // The flags of each listener: listener-policies.test.ts.
      listenerPolicies: listenerPoliciesOf({}, { inbound: null, link: null }),
      isLinkInsecure: false,
      joinToken: null,
      joinTokenFile: null,
      identityDir: null,
      admin: { host: '127.0.0.1', port: 15000 },
      source: { tag: 'control-plane', urls: ['http://127.0.0.1:7070'] },
      stateDir: null,
      advertise: null,
      upstreams: [],
      zone: '',
      labels: {},
      limits: limitsBeside('cart.default'),
      loops: 1,
      accessLog: false,
      drainMs: 30_000,
    });
  });

  it('say everything that can be said', () => {
    const args =
      '--service cart.shop --app 127.0.0.1:8080 --outbound [::1]:0 --outbound-http node --inbound 0.0.0.0:15006 --inbound-http uws ' +
      '--link 0.0.0.0:15008 --identity-dir identity ' +
      '--admin localhost:0 --control-plane http://10.0.0.1:7070,10.0.0.2:7070 --state-dir state --advertise ::2 --loops 3 ' +
      '--upstream cart=127.0.0.1:9101 --upstream Pay.shop=127.0.0.1:0 --zone b --label version=v2 --label tier= --limit outbound.body-bytes=10MiB --limit link.connections=7 --limit outbound.head-time=2s500ms --access-log --drain-timeout 1m30s';
    expect(optionsOf(...args.split(' '))).toEqual({
      service: 'cart',
      namespace: 'shop',
      app: { host: '127.0.0.1', port: 8080 },
      outbound: { host: '::1', port: 0 },
      outboundMode: 0o600,
      outboundHttp: 'node',
      inbound: { host: '0.0.0.0', port: 15006 },
      inboundHttp: 'uws',
      link: { host: '0.0.0.0', port: 15008 },
      listenerPolicies: listenerPoliciesOf({}, { inbound: null, link: null }),
      isLinkInsecure: false,
      joinToken: null,
      joinTokenFile: null,
      identityDir: resolve('identity'),
      admin: { host: 'localhost', port: 0 },
      source: { tag: 'control-plane', urls: ['http://10.0.0.1:7070', 'http://10.0.0.2:7070'] },
      stateDir: resolve('state'),
      advertise: '::2',
      upstreams: [
        { name: 'cart', address: { host: '127.0.0.1', port: 9101 } },
        { name: 'pay.shop', address: { host: '127.0.0.1', port: 0 } },
      ],
      zone: 'b',
      labels: { version: 'v2', tier: '' },
      limits: {
        ...limitsBeside('cart.shop'),
        outbound: { ...defaultListenerLimits.outbound, bodyBytesMax: 10 * 1024 * 1024, headTimeoutMs: 2_500 },
        link: { ...limitsBeside('cart.shop').link, connectionsMax: 7 },
      },
      accessLog: true,
      loops: 3,
      drainMs: 90_000,
    });
  });

  it('take a file instead of a control plane', () => {
    expect(optionsOf('--config', 'mesh.yaml').source).toEqual({ tag: 'file', path: resolve('mesh.yaml') });
  });

  it('let every listener take a free port', () => {
    const { outbound, admin } = optionsOf('--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0');
    expect([outbound, admin]).toEqual([
      { host: '127.0.0.1', port: 0 },
      { host: '127.0.0.1', port: 0 },
    ]);
  });
});
