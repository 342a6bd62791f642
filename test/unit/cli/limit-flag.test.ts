import { describe, expect, it } from 'vitest';
import { collectLimit, limitFlagHelp, listenerLimitsOf } from '../../../src/cli/limit-flag.ts';
import { defaultListenerLimits, limitNames } from '../../../src/model/listener-limits.ts';

const here = { host: '127.0.0.1', port: 1 };
const cores = {
  service: { name: 'notes', namespace: 'shop' },
  inbound: here,
  link: here,
  inboundHttp: 'node',
  outboundHttp: 'node',
} as const;
const valueIn = (text: string): number => collectLimit(text)[0]!.value;

describe('--limit', () => {
  const everywhere = Object.entries(limitNames).flatMap(([name, limit]) =>
    limit.listeners.map((listener) => [`${listener}.${name}`, limit] as const),
  );

  it.each(everywhere)('%s takes its smallest and its largest value and none beyond', (place, { unit, min, max }) => {
    const suffix = unit === 'duration' ? 'ms' : '';
    expect(valueIn(`${place}=${min}${suffix}`)).toBe(min);
    const largest = unit === 'duration' ? `${max / 3600_000}h` : `${max}`;
    expect(valueIn(`${place}=${largest}`)).toBe(max);
    const beyond = unit === 'duration' ? `${max / 3600_000}h1ms` : `${max + 1}`;
    for (const value of [`${min - 1}${suffix}`, beyond, '', 'x', '1e3', '-1', '1.5'])
      expect(() => collectLimit(`${place}=${value}`), value).toThrow(/^Expected /);
  });

  it.each([
    ['outbound.body-bytes=3KiB', 3 * 1024],
    ['inbound.body-bytes=3MiB', 3 * 1024 ** 2],
    ['link.body-bytes=3GiB', 3 * 1024 ** 3],
    ['inbound.body-rate=0', 0],
    ['inbound.idle-time=1m30s', 90_000],
  ])('%s', (text, value) => {
    expect(valueIn(text)).toBe(value);
  });

  it.each([
    ['connections=1', /LISTENER is one of outbound, inbound, link/],
    ['admin.connections=1', /LISTENER is one of outbound, inbound, link/],
    ['inbound', /LISTENER\.NAME=VALUE/],
    ['inbound.connection=1', /The limits of inbound are connections, requests-per-connection, head-bytes/],
    ['inbound.toString=1', /The limits of inbound are/],
    ['link.head-time=1s', /The limits of link are connections, head-bytes, head-fields, target-bytes, body-bytes/],
    ['inbound.connections=1KiB', /as a whole number of 1 to 1000000/],
    ['inbound.head-time=10', /as a duration of 100ms to 1h/],
  ])('%s is refused with what would do', (text, message) => {
    expect(() => collectLimit(text)).toThrow(message);
  });

  it('says one thing once', () => {
    const given = collectLimit('inbound.connections=1');
    expect(() => collectLimit('inbound.connections=2', given)).toThrow('inbound.connections is given twice.');
    expect(collectLimit('outbound.connections=2', given)).toHaveLength(2);
  });

  it('has one example in its help, and says where the names and ranges are', () => {
    expect(limitFlagHelp).toMatch(/inbound\.body-bytes=10MiB.*docs\/limits\.md/);
    expect(limitFlagHelp.length).toBeLessThan(130);
  });

  it.each([
    [
      'inbound.body-rate=2MiB',
      'Expected inbound.body-rate as bytes a second, 0 to 1048576; KiB, MiB or GiB may follow',
    ],
    ['link.head-fields=3', 'Expected link.head-fields as a whole number of 4 to 200.'],
    ['outbound.idle-time=25h', 'Expected outbound.idle-time as a duration of 100ms to 24h such as 500ms or 10s.'],
  ])('%s is answered with the range', (text, message) => {
    expect(() => collectLimit(text)).toThrow(message);
  });
});

describe('the limits of a sidecar', () => {
  it('are the defaults but for what was said', () => {
    const given = collectLimit('link.connections=3', collectLimit('inbound.requests-per-connection=2'));
    expect(listenerLimitsOf(given, cores)).toEqual({
      outbound: defaultListenerLimits.outbound,
      inbound: { ...defaultListenerLimits.inbound, sidecarOf: 'notes.shop', requestsPerConnectionMax: 2 },
      link: { ...defaultListenerLimits.link, sidecarOf: 'notes.shop', connectionsMax: 3 },
    });
  });

  it('need their listener', () => {
    expect(() => listenerLimitsOf(collectLimit('inbound.connections=1'), { ...cores, inbound: null })).toThrow(
      '--limit inbound.connections: there is no inbound listener (--inbound).',
    );
    expect(() => listenerLimitsOf(collectLimit('link.connections=1'), { ...cores, link: null })).toThrow(/--link/);
  });

  it.each(['requests-per-connection=5', 'head-time=5s'])('%s need a core that can keep them', (limit) => {
    const given = collectLimit(`outbound.${limit}`);
    expect(() => listenerLimitsOf(given, { ...cores, outboundHttp: 'uws' })).toThrow(/needs --outbound-http node/);
    expect(listenerLimitsOf(given, cores).outbound).not.toEqual(defaultListenerLimits.outbound);
  });
});
