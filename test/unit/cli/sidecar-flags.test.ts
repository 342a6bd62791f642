import { resolve } from 'node:path';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { parseTargetAddress } from '../../../src/cli/flag-values.ts';
import { addSidecarFlags, type SidecarFlags, sidecarOptionsOf } from '../../../src/cli/sidecar-flags.ts';
import { limits } from '../../../src/model/limits.ts';
import type { HostPort, SidecarOptions } from '../../../src/sidecar/options.ts';

function optionsOf(...args: string[]): SidecarOptions {
  const command = addSidecarFlags(new Command().option('--app <address>', '', parseTargetAddress))
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  const flags = command
    .parse(['--service', 'cart', ...args], { from: 'user' })
    .opts<SidecarFlags & { app?: HostPort }>();
  return sidecarOptionsOf(flags, flags.app ?? null);
}

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
      outboundHttp: 'uws',
      inbound: null,
      inboundHttp: 'node',
      admin: { host: '127.0.0.1', port: 15000 },
      source: { tag: 'control-plane', urls: ['http://127.0.0.1:7070'] },
      stateDir: null,
      advertise: null,
      upstreams: [],
      zone: '',
      labels: {},
      accessLog: false,
      drainMs: 30_000,
    });
  });

  it('say everything that can be said', () => {
    const args =
      '--service cart.shop --app 127.0.0.1:8080 --outbound [::1]:0 --outbound-http node --inbound 0.0.0.0:15006 --inbound-http uws ' +
      '--admin localhost:0 --control-plane http://10.0.0.1:7070,10.0.0.2:7070 --state-dir state --advertise ::2 --loops 1 ' +
      '--upstream cart=127.0.0.1:9101 --upstream Pay.shop=127.0.0.1:0 --zone b --label version=v2 --label tier= --access-log --drain-timeout 1m30s';
    expect(optionsOf(...args.split(' '))).toEqual({
      service: 'cart',
      namespace: 'shop',
      app: { host: '127.0.0.1', port: 8080 },
      outbound: { host: '::1', port: 0 },
      outboundHttp: 'node',
      inbound: { host: '0.0.0.0', port: 15006 },
      inboundHttp: 'uws',
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
      accessLog: true,
      drainMs: 90_000,
    });
  });

  it('take a file instead of a control plane', () => {
    expect(optionsOf('--config', 'mesh.yaml').source).toEqual({ tag: 'file', path: resolve('mesh.yaml') });
  });

  it('let every listener take a free port', () => {
    const { outbound, admin } = optionsOf('--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0');
    expect([outbound.port, admin.port]).toEqual([0, 0]);
  });
});
