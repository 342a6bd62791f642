/** The endpoints of a Service out of the leases of its sidecars. */
import { describe, expect, it } from 'vitest';
import { endpointSetKey, RegisteredEndpoints } from '../../../src/control/registered-endpoints.ts';
import { limits } from '../../../src/model/limits.ts';
import type { EndpointSet, SidecarLease } from '../../../src/model/registration.ts';
import { decodeChange } from '../../../src/wire/resource-codec.ts';

const key = endpointSetKey('default', 'cart');
const lease = (sidecar: string, address: string, link: readonly string[]): SidecarLease => ({
  sidecar,
  service: 'cart',
  namespace: 'default',
  subscriptions: [],
  registration: { address, zone: '', labels: {}, weight: 1, link },
  isLinkInsecure: false,
});

function endpointsOf(leases: readonly SidecarLease[]): EndpointSet['endpoints'] {
  const endpoints = new RegisteredEndpoints();
  for (const each of leases) endpoints.put(each.sidecar, each);
  const { object } = decodeChange(endpoints.get(key)!.encode());
  return (object as EndpointSet).endpoints;
}

describe('two leases of one address, of which one is a dead process', () => {
  it.each([
    ['a', 'b'],
    ['b', 'a'],
  ])('count once, with the links of both (%s died, %s lives)', (dead, alive) => {
    const endpoints = endpointsOf([
      lease(dead, '10.0.0.1:80', ['10.0.0.1:4001']),
      lease(alive, '10.0.0.1:80', ['10.0.0.1:4002']),
    ]);
    expect(endpoints.map(({ address }) => address)).toEqual(['10.0.0.1:80']);
    expect([...endpoints[0]!.link].sort()).toEqual(['10.0.0.1:4001', '10.0.0.1:4002']);
  });

  it('name a link once, and never more links than an endpoint may have', () => {
    const many = Array.from({ length: limits.linkAddressesMax }, (_, i) => `10.0.0.1:${5000 + i}`);
    const [endpoint] = endpointsOf([
      lease('a', '10.0.0.1:80', ['10.0.0.1:5000', '10.0.0.1:4000']),
      lease('b', '10.0.0.1:80', many),
    ]);
    expect(endpoint!.link).toEqual(many);
  });
});

describe('leases of different addresses', () => {
  it('keep their own links, sorted by address', () => {
    const endpoints = endpointsOf([
      lease('a', '10.0.0.2:80', ['10.0.0.2:4001']),
      lease('b', '10.0.0.1:80', ['10.0.0.1:4001']),
    ]);
    expect(endpoints.map(({ address, link }) => [address, link])).toEqual([
      ['10.0.0.1:80', ['10.0.0.1:4001']],
      ['10.0.0.2:80', ['10.0.0.2:4001']],
    ]);
  });
});
