import { describe, expect, it } from 'vitest';
import { openIdentityAgent } from '../../../../src/sidecar/identity/open-identity.ts';
import type { SidecarOptions } from '../../../../src/sidecar/options.ts';
import { silentLogger } from '../../control/memory-store.ts';

const claims = { aud: 'weft-join', sub: 'spiffe://weft.local/ns/default/sa/cart', root: 'ab'.repeat(32), exp: 1_000 };
const joinToken = `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.sig`;
const options = {
  ...{ service: 'cart', namespace: 'default', identityDir: null, stateDir: null, isLinkInsecure: false },
  ...{ joinToken: null, joinTokenFile: null, source: { tag: 'control-plane', urls: ['http://127.0.0.1:1'] } },
} as unknown as SidecarOptions;

const sourceWith = async (changes: Partial<SidecarOptions>): Promise<string> => {
  const agent = await openIdentityAgent({ ...options, ...changes }, silentLogger);
  await agent.close();
  return agent.status().source;
};

describe('where an identity comes from', () => {
  it('a join token of another Service is refused', async () => {
    await expect(sourceWith({ joinToken, service: 'pay' })).rejects.toThrow(/for cart.default, not for pay.default/);
  });

  it.each<[string, Partial<SidecarOptions>]>([
    ['none', { source: { tag: 'file', path: '/mesh.yaml' } }],
    ['none', { isLinkInsecure: true }],
    // For the push token: without it a mesh that asks for tokens would take no sidecar with insecure links.
    ['control-plane', { isLinkInsecure: true, joinToken }],
    ['control-plane', { joinToken }],
    ['control-plane', {}],
    ['directory', { identityDir: '/none' }],
    // For the push channel of a mesh that asks for tokens: what links show is the directory's.
    ['directory', { identityDir: '/none', joinToken }],
  ])('%s: %j', async (source, changes) => {
    expect(await sourceWith(changes)).toBe(source);
  });
});
