import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { makeCertificateRequest } from '../../../../src/identity/certificate-request.ts';
import type { SigningRoot } from '../../../../src/identity/root.ts';
import { issueSvid } from '../../../../src/identity/svid.ts';
import { DirectoryIdentity } from '../../../../src/sidecar/identity/directory-identity.ts';
import { ManualClock, silentLogger } from '../../control/memory-store.ts';
import { bundleOf, identityOf, newRoot } from '../../identity/roots.ts';
import { until } from '../fake-control-plane.ts';

let root: SigningRoot;
let other: SigningRoot;
beforeAll(async () => {
  root = await newRoot(1_000_000);
  other = await newRoot(1_000_000);
});

let path = '';
const cleanups: (() => Promise<unknown>)[] = [];
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'weft-identity-dir-'));
  cleanups.push(() => rm(path, { recursive: true, force: true }));
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** As careful writers do: whole, by renaming. */
async function put(name: string, text: string): Promise<void> {
  await writeFile(join(path, `${name}.new`), text);
  await rename(join(path, `${name}.new`), join(path, name));
}

async function certified(by: SigningRoot, ttlMs = 3600_000, identity = identityOf('cart')) {
  const { csrPem, keyPem } = await makeCertificateRequest();
  const { certificatePem } = await issueSvid(by, { csrPem, identity, nowMs: 1_000_000, ttlMs });
  return { certificatePem, keyPem };
}

async function putAll(by: SigningRoot, ttlMs?: number, identity = identityOf('cart')): Promise<void> {
  const { certificatePem, keyPem } = await certified(by, ttlMs, identity);
  await put('svid.pem', certificatePem);
  await put('key.pem', keyPem);
  await put('bundle.pem', by.certificatePem);
}

async function opened() {
  const clock = new ManualClock();
  const errors: string[] = [];
  const logger = { ...silentLogger, error: (_fields: object, message: string) => void errors.push(message) };
  const identity = new DirectoryIdentity({ path, service: 'cart', namespace: 'default', clock, logger });
  cleanups.push(() => identity.close());
  await identity.load();
  identity.start();
  return { identity, clock, errors, look: () => clock.advance(500) };
}

describe('a directory without a whole identity', () => {
  it.each(['svid.pem', 'key.pem', 'bundle.pem'])('for want of %s is looked into until it has one', async (missing) => {
    await putAll(root);
    await rename(join(path, missing), join(path, 'kept'));
    const { identity, errors, look } = await opened();
    expect(identity.current).toBeNull();
    expect(identity.status().lastError).toContain(missing);
    await rename(join(path, 'kept'), join(path, missing));
    await until(() => identity.current !== null, look);
    await identity.first;
    expect(errors).toHaveLength(1);
    expect(identity.status()).toEqual({
      source: 'directory',
      spiffeId: 'spiffe://weft.local/ns/default/sa/cart',
      expiresAt: '1970-01-01T01:16:40.000Z',
      lastError: null,
      renewals: 0,
    });
  });

  it('that is not there at all is looked for', async () => {
    await rm(path, { recursive: true });
    const { identity } = await opened();
    expect(identity.status().lastError).not.toBeNull();
  });

  it('because a file is far too long', async () => {
    await putAll(root);
    await put('bundle.pem', 'x'.repeat(300 * 1024));
    expect((await opened()).identity.status().lastError).toContain('bundle.pem is longer than');
  });
});

describe("a directory with another Service's identity", () => {
  it.each([
    ['another name', identityOf('pay'), /is the one of pay.default .*, not of cart.default/],
    ['another namespace', identityOf('cart', 'shop'), /is the one of cart.shop .*, not of cart.default/],
  ])('of %s is refused at start', async (_what, identity, message) => {
    await putAll(root, undefined, identity);
    await expect(opened()).rejects.toThrow(message);
  });

  it('later leaves the last good one in force', async () => {
    await putAll(root);
    const { identity, errors, look } = await opened();
    const before = identity.current;
    await putAll(root, undefined, identityOf('pay'));
    await until(() => identity.status().lastError?.includes('is the one of pay') === true, look);
    expect(identity.current).toBe(before);
    expect(errors.at(-1)).toContain('the identity before it stays in force');
    await putAll(root);
    await until(() => identity.status().renewals === 1, look);
  });
});

describe('a directory with an identity', () => {
  it('is read again when it changed', async () => {
    await putAll(root);
    const { identity, look } = await opened();
    const before = identity.current!;
    expect(before).not.toBeNull();
    let changes = 0;
    identity.onChange(() => changes++);
    await putAll(root);
    await until(() => identity.current !== before, look);
    expect(identity.current!.keyPem).not.toBe(before.keyPem);
    expect([changes, identity.status().renewals]).toEqual([1, 1]);
  });

  it('keeps the last good one while the files do not belong together', async () => {
    await putAll(root);
    const { identity, errors, look } = await opened();
    const before = identity.current;
    const { certificatePem, keyPem } = await certified(root);
    await put('svid.pem', certificatePem);
    await until(() => identity.status().lastError !== null, look);
    expect(identity.current).toBe(before);
    expect(errors).toEqual(['the files of the identity cannot be used, the identity before it stays in force']);
    await put('key.pem', keyPem);
    await until(() => identity.current !== before, look);
    expect(identity.status().lastError).toBeNull();
  });

  it('believes what bundle.pem says, not what is pushed', async () => {
    await putAll(root);
    const { identity, look } = await opened();
    const before = identity.current;
    identity.takeBundle();
    expect(identity.current).toBe(before);
    const both = bundleOf(root, other).roots.map(({ pem }) => pem);
    await put('bundle.pem', both.join('\n'));
    await until(() => identity.current !== before, look);
    expect(identity.current!.bundlePem).toBe(both.join('\n'));
    expect(identity.pushToken).toBeNull();
  });

  it('says once a minute that it has expired', async () => {
    await putAll(root, 10_000);
    const { identity, clock, errors, look } = await opened();
    const before = identity.current;
    await until(() => errors.length === 1, look);
    const firstAtMs = clock.nowMs();
    await until(() => errors.length === 2, look);
    expect(firstAtMs).toBeGreaterThanOrEqual(before!.expiresAtMs);
    expect(clock.nowMs()).toBeGreaterThanOrEqual(firstAtMs + 60_000 - 500);
    expect(errors[0]).toContain('has expired');
    expect(identity.current).toBe(before);
  });
});
