/** What `/config` says of the listeners. */
import { describe, expect, it } from 'vitest';
import { collectLimit, listenerLimitsOf } from '../../../src/cli/limit-flag.ts';
import { listenerPoliciesOf } from '../../../src/cli/listener-policies.ts';
import { limitNames } from '../../../src/model/listener-limits.ts';
import { describeListeners } from '../../../src/sidecar/listener-settings.ts';

const at = { host: '127.0.0.1', port: 0 };
const opened = { inbound: at, link: at, inboundHttp: 'node', outboundHttp: 'uws' } as const;
const ofCart = { ...opened, service: { name: 'cart', namespace: 'default' } };

describe('the settings of the listeners', () => {
  const given = ['inbound.body-bytes=1MiB', 'inbound.head-time=1500ms', 'link.connections=7'];
  const described = describeListeners(
    ['outbound', 'inbound', 'link', 'upstream:cart'].map((name) => ({ name, address: `127.0.0.1:${name.length}` })),
    {
      ...opened,
      limits: listenerLimitsOf(
        given.reduce((earlier, text) => collectLimit(text, earlier), collectLimit('outbound.head-fields=20')),
        ofCart,
      ),
      listenerPolicies: listenerPoliciesOf(
        { paths: { inbound: 'refuse' }, via: { link: 'on' }, forwarded: { outbound: 'append' } },
        opened,
      ),
    },
  );

  it('are in the words of the flags, with what is in force', () => {
    expect(described.inbound).toEqual({
      address: '127.0.0.1:7',
      core: 'node:http',
      paths: 'refuse',
      xForwarded: 'append',
      forwarded: 'off',
      via: 'off',
      limits: {
        connections: 10_000,
        'requests-per-connection': 'none',
        'head-bytes': 65_536,
        'head-fields': 200,
        'target-bytes': 16_384,
        'body-bytes': 1_048_576,
        'body-rate': 100,
        'head-time': '1500ms',
        'idle-time': '60s',
      },
    });
    expect(described.link).toMatchObject({ core: 'link', paths: 'normalise', via: 'on', xForwarded: 'off' });
    expect(described.link!.limits).toMatchObject({ connections: 7, 'body-rate': 0 });
    expect(described.outbound).toMatchObject({ core: 'uWebSockets.js', forwarded: 'append' });
  });

  it('of a port of --upstream are those of the outbound listener', () => {
    expect({ ...described['upstream:cart'], address: described.outbound!.address }).toEqual(described.outbound);
    expect(described.outbound!.limits).toMatchObject({ 'head-fields': 20 });
  });

  it('have the limits that the flag takes for that listener and its core, and no others', () => {
    for (const listener of ['outbound', 'inbound', 'link'] as const)
      for (const name of Object.keys(limitNames)) {
        const shown = described[listener]!.limits[name];
        const given = () =>
          listenerLimitsOf(collectLimit(`${listener}.${name}=${shown === 'none' ? 9 : shown}`), ofCart);
        if (shown === undefined) expect(given, `${listener}.${name}`).toThrow();
        else expect(given, `${listener}.${name}`).not.toThrow();
      }
  });
});
