import { describe, expect, it } from 'vitest';
import type { TrustBundle } from '../../../src/model/identity.ts';
import { schemas } from '../../../src/model/resource-schemas.ts';
import { kinds, type Resource } from '../../../src/model/resources.ts';
import { decodeChange, encodeChange } from '../../../src/wire/resource-codec.ts';
import { WireError } from '../../../src/wire/wire-error.ts';

type Schema = Readonly<Record<string, unknown>>;

/** A value with every field that the schema allows, so that a field which the protocol lacks is found here and not in production. */
function fullValue(schema: Schema): unknown {
  if ('const' in schema) return schema.const;
  if (Array.isArray(schema.enum)) return schema.enum.at(-1);
  if (Array.isArray(schema.anyOf)) return fullValue(schema.anyOf.at(-1));
  switch (schema.type) {
    case 'object': {
      if (schema.patternProperties) return { 'a/b': 'c', d: '' };
      const properties = (schema.properties ?? {}) as Record<string, Schema>;
      return Object.fromEntries(Object.entries(properties).map(([name, of]) => [name, fullValue(of)]));
    }
    case 'array':
      return [fullValue(schema.items as Schema)];
    case 'integer':
      return typeof schema.minimum === 'number' ? schema.minimum : 7;
    case 'boolean':
      return true;
    default:
      return 'text';
  }
}

const trip = (object: Parameters<typeof encodeChange>[0]['object']) =>
  decodeChange(encodeChange({ key: 'k', version: '7.abc', object }));

describe('resource codec', () => {
  it('refuses bytes that are no change', () => {
    expect(() => decodeChange(Uint8Array.of(0xff, 0xff, 0xff))).toThrow(WireError);
    expect(() => decodeChange(new Uint8Array(0))).toThrow(/kind that this version does not know/);
  });

  for (const [kind, schema] of Object.entries(schemas)) {
    it(`carries every field of ${kind}`, () => {
      const resource = fullValue(schema as unknown as Schema) as Resource;
      expect(Object.keys(resource.spec).length).toBeGreaterThan(0);
      expect(trip(resource)).toEqual({ key: 'k', version: '7.abc', object: resource });
    });

    it(`keeps absent what ${kind} does not say`, () => {
      const spec =
        kind === 'Service' ? {} : kind === 'HTTPRoute' ? { parentRefs: [{ name: 'a' }] } : { targetRefs: [] };
      const resource = { apiVersion: kinds[kind as 'Service'].apiVersion, kind, metadata: { name: 'a' }, spec };
      const expected = kind === 'TrafficPolicy' ? { ...resource, spec: {} } : resource;
      expect(trip(resource as Resource).object).toEqual(expected);
    });
  }

  it('keeps an endpoint that is only an address a string', () => {
    const resource = {
      apiVersion: 'weft.mesh/v1',
      kind: 'Service',
      metadata: { name: 'a' },
      spec: { endpoints: ['127.0.0.1:1', { address: '127.0.0.1:2', weight: 0 }] },
    } as const;
    expect(trip(resource as unknown as Resource).object).toEqual(resource);
  });

  it.each([{}, { maxRequests: 3 }])('carries pipelining as it was said: %j', (pipelining) => {
    const object = {
      ...{ apiVersion: 'weft.mesh/v1', kind: 'Service', metadata: { name: 'a' } },
      spec: { endpoints: [], pipelining },
    } as Resource;
    const change = { key: 'Service/default/a', version: '1', object };
    expect(decodeChange(encodeChange(change)).object).toMatchObject({ spec: { pipelining } });
  });

  it('carries limits in units as numbers', () => {
    const resource = (limits: object) =>
      ({ apiVersion: 'weft.mesh/v1', kind: 'Service', metadata: { name: 'a' }, spec: { limits } }) as Resource;
    expect(trip(resource({ requestBodyBytes: '10MiB', targetBytes: 9, requestHeadFields: 5 })).object).toEqual(
      resource({ requestBodyBytes: 10 * 1024 ** 2, targetBytes: 9, requestHeadFields: 5 }),
    );
    expect(trip(resource({})).object).toEqual(resource({}));
  });

  it('carries endpoint sets with empty fields', () => {
    const object = {
      kind: 'EndpointSet' as const,
      namespace: 'default',
      service: 'cart',
      endpoints: [
        { address: '127.0.0.1:1', zone: '', labels: { version: '' }, weight: 0, link: [] },
        { address: '127.0.0.1:2', zone: 'z', labels: {}, weight: 1, link: ['127.0.0.1:15008', '[::1]:15009'] },
      ],
    };
    expect(trip(object).object).toEqual(object);
  });

  it('makes a list of a link that is one address', () => {
    const resource = (link: string | string[]) =>
      ({
        apiVersion: 'weft.mesh/v1',
        kind: 'Service',
        metadata: { name: 'a' },
        spec: { endpoints: [{ address: '127.0.0.1:1', link }] },
      }) as Resource;
    expect(trip(resource('127.0.0.1:15008')).object).toEqual(resource(['127.0.0.1:15008']));
  });

  it.each<TrustBundle>([
    { kind: 'TrustBundle', trustDomain: '', roots: [], requiresJoinToken: false },
    {
      kind: 'TrustBundle',
      trustDomain: 'weft.local',
      roots: [
        { sha256: 'ab', pem: 'first\nroot', addedAt: '2026-01-01T00:00:00Z', retiresAt: '2026-01-02T00:00:00Z' },
        { sha256: 'cd', pem: 'second', addedAt: '2026-01-01T12:00:00Z', retiresAt: null },
      ],
      requiresJoinToken: true,
    },
  ])('carries the trust bundle (%#)', (bundle) => {
    expect(trip(bundle)).toEqual({ key: 'k', version: '7.abc', object: bundle });
  });

  it('carries a removal', () => {
    expect(trip(null)).toEqual({ key: 'k', version: '', object: null });
  });
});
