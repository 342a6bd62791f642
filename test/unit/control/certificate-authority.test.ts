import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { addingRoot } from '../../../src/control/ca/bundle-edits.ts';
import { CertificateAuthority } from '../../../src/control/ca/certificate-authority.ts';
import { StoredBundle } from '../../../src/control/ca/stored-bundle.ts';
import { makeCertificateRequest } from '../../../src/identity/certificate-request.ts';
import { RootDirectory } from '../../../src/identity/root-directory.ts';
import { type TrustBundle, trustBundleKey } from '../../../src/model/identity.ts';
import { limits } from '../../../src/model/limits.ts';
import { identityOf, newRoot, trustDomain } from '../identity/roots.ts';
import { until } from '../sidecar/fake-control-plane.ts';
import { type FakeSidecar, Plane } from './fake-sidecar.ts';
import { silentLogger } from './memory-store.ts';

const ttlMs = 20_000;
/** How long a root stays after it was replaced. */
const leavingMs = ttlMs + limits.certificateBackdateMs + 30_000;
const { csrPem } = await makeCertificateRequest();
const cart = identityOf('cart');
const app = (sidecar: string) => ({ sidecar, service: 'app', namespace: 'default' });

async function newPath(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'weft-ca-'));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}

interface Wish {
  readonly path?: string;
  readonly isOnlyReplica?: boolean;
}

async function authorityOf(plane: Plane, { path, isOnlyReplica = true }: Wish = {}): Promise<CertificateAuthority> {
  const { clock, store, fleet } = plane;
  const authority = await CertificateAuthority.open({
    bundle: new StoredBundle(store, clock, trustDomain),
    directory: new RootDirectory({ path: path ?? (await newPath()), trustDomain, nowMs: () => clock.nowMs() }),
    clock,
    logger: silentLogger,
    certificateTtlMs: ttlMs,
    isOnlyReplica,
  });
  authority.begin(fleet);
  onTestFinished(async () => {
    fleet.close();
    await authority.close();
  });
  return authority;
}

/** A sidecar that is connected and has acknowledged all there was. */
async function synced(plane: Plane, id: string): Promise<FakeSidecar> {
  const sidecar = await plane.sidecar(id).hello();
  sidecar.ack();
  return sidecar;
}

/** Takes what the control plane pushes, until the sidecar has this many roots. */
async function ackRoots(plane: Plane, sidecar: FakeSidecar, count: number): Promise<void> {
  const rootsOf = () => sidecar.last.objects.get(trustBundleKey)?.object as TrustBundle | undefined;
  await until(
    () => rootsOf()?.roots.length === count,
    () => plane.clock.advance(limits.debounceMs),
  );
  sidecar.ack();
}

const stored = (plane: Plane): TrustBundle => JSON.parse(plane.store.get(trustBundleKey)!.value) as TrustBundle;
const names = ({ roots }: TrustBundle) => roots.map(({ sha256 }) => sha256);
const issuerOf = async (authority: CertificateAuthority) =>
  new X509Certificate((await authority.certify({ csrPem, identity: cart })).certificatePem).issuer;
const subjectOf = (authority: CertificateAuthority) => new X509Certificate(authority.root.certificatePem).subject;

describe('an authority that is not to sign', () => {
  it('waits for every connected sidecar, and names those it waits for', async () => {
    const plane = new Plane();
    const [quick, slow] = [await synced(plane, 'quick'), await synced(plane, 'slow')];
    const authority = await authorityOf(plane);
    await ackRoots(plane, quick, 1);
    await expect(authority.certify({ csrPem, identity: cart })).rejects.toMatchObject({
      code: 'not-signing',
      message: expect.stringMatching(/one sidecar has not acknowledged its root/),
      missing: [app('slow')],
    });
    await expect(authority.rotate(0)).rejects.toMatchObject({ code: 'not-signing' });
    expect(authority.signing).toBeNull();
    await ackRoots(plane, slow, 1);
    await until(() => authority.signing !== null);
    expect(await authority.waitingFor()).toBeNull();
    expect(await issuerOf(authority)).toBe(subjectOf(authority));
  });

  it('goes on waiting for one that refuses, until it does not', async () => {
    const plane = new Plane();
    const sidecar = await synced(plane, 'a');
    const authority = await authorityOf(plane);
    await until(
      () => sidecar.received.length > 1,
      () => plane.clock.advance(1),
    );
    sidecar.nack('no room');
    expect(await authority.waitingFor()).toMatchObject({ missing: [], refused: [{ ...app('a'), reason: 'no room' }] });
    await expect(authority.certify({ csrPem, identity: cart })).rejects.toMatchObject({ refused: [app('a')] });
    sidecar.drop();
    const again = await plane.sidecar('a').hello();
    again.ack();
    await until(
      () => authority.signing !== null,
      () => plane.clock.advance(100),
    );
  });

  it('does not count one whose lease has ended', async () => {
    const plane = new Plane();
    const sidecar = await synced(plane, 'a');
    const authority = await authorityOf(plane);
    sidecar.drop();
    plane.clock.advance(limits.leaseMs - 1);
    expect(authority.signing).toBeNull();
    plane.clock.advance(1);
    await until(() => authority.signing !== null);
  });

  it('asks again after a restart in the middle', async () => {
    const [plane, path] = [new Plane(), await newPath()];
    await synced(plane, 'a');
    const first = await authorityOf(plane, { path });
    const next = plane.restart();
    await first.close();
    const authority = await authorityOf(next, { path });
    expect(names(stored(next))).toEqual([first.root.sha256]);
    expect(authority.signing).toBeNull();
    expect(await authority.waitingFor()).toMatchObject({ missing: [app('a')] });
  });

  it('does not open a mesh of another trust domain', () => {
    const plane = new Plane();
    const open = (name: string) => new StoredBundle(plane.store, plane.clock, name);
    return open('one.example')
      .change(addingRoot({ sha256: 'a', certificatePem: '' }, 0), '')
      .then(() => {
        expect(() => open('two.example')).toThrow(/trust domain one\.example, not two\.example: .*--trust-domain/);
        expect(open('one.example').has('a')).toBe(true);
      });
  });

  it('refuses a root of the past', async () => {
    const [plane, path] = [new Plane(), await newPath()];
    await authorityOf(plane, { path });
    plane.clock.advance(limits.rootTtlMs);
    await expect(authorityOf(plane, { path })).rejects.toMatchObject({ code: 'ca-unusable' });
  });
});

describe('an authority', () => {
  it('signs at once where nobody is connected, and after a restart though nobody has come back', async () => {
    const [plane, path] = [new Plane(), await newPath()];
    const first = await authorityOf(plane, { path });
    await until(() => first.signing !== null);
    const sidecar = await plane.sidecar('a').hello();
    sidecar.ack();
    const next = plane.restart();
    await first.close();
    const { revision } = plane.store;
    const again = await authorityOf(next, { path });
    expect(again.signing).toBe(first.root.sha256);
    expect(plane.store.revision).toBe(revision);
  });

  it('joins again when the store is another one', async () => {
    const path = await newPath();
    const first = await authorityOf(new Plane(), { path });
    await until(() => first.signing !== null);
    const plane = new Plane();
    await synced(plane, 'a');
    expect((await authorityOf(plane, { path })).signing).toBeNull();
    expect(names(stored(plane))).toEqual([first.root.sha256]);
  });

  it('gives a certificate, all roots, and a token that lives as long', async () => {
    const plane = new Plane();
    const authority = await authorityOf(plane);
    await until(() => authority.signing !== null);
    const made = await authority.certify({ csrPem, identity: cart });
    expect(made.expiresAtMs).toBe(plane.clock.nowMs() + ttlMs);
    expect(made.bundlePem).toBe(authority.root.certificatePem.trim());
    expect(await authority.identify(made.pushToken, ['push'])).toEqual(cart);
    plane.clock.advance(ttlMs);
    await expect(authority.identify(made.pushToken, ['push'])).rejects.toMatchObject({ code: 'token-expired' });
  });

  it('asks for tokens from the first one on', async () => {
    const plane = new Plane();
    const authority = await authorityOf(plane);
    expect(authority.bundle.requiresJoinToken).toBe(false);
    const { token, expiresAtMs } = await authority.makeJoinToken(cart, 60_000);
    expect(authority.bundle.requiresJoinToken).toBe(true);
    expect(expiresAtMs).toBe(plane.clock.nowMs() + 60_000);
    expect(await authority.identify(token, ['join'])).toEqual(cart);
    const { revision } = plane.store;
    await authority.makeJoinToken(cart, 60_000);
    expect(plane.store.revision).toBe(revision);
  });

  it('lets the roots of former directories leave, once it signs', async () => {
    const plane = new Plane();
    const former = await authorityOf(plane);
    await until(() => former.signing !== null);
    await former.close();
    const sidecar = await synced(plane, 'a');
    const authority = await authorityOf(plane);
    expect(stored(plane).roots.map(({ retiresAt }) => retiresAt)).toEqual([null, null]);
    await ackRoots(plane, sidecar, 2);
    await until(() => stored(plane).roots[0]?.retiresAt !== null);
    const leavesAtMs = Date.parse(stored(plane).roots[0]!.retiresAt!);
    expect(leavesAtMs).toBe(plane.clock.nowMs() + leavingMs);
    plane.clock.advance(leavingMs - 1);
    expect(names(stored(plane))).toEqual([former.root.sha256, authority.root.sha256]);
    plane.clock.advance(1);
    await until(() => stored(plane).roots.length === 1);
    expect(names(stored(plane))).toEqual([authority.root.sha256]);
  });

  it('lets what is overdue leave after a restart', async () => {
    const [plane, path] = [new Plane(), await newPath()];
    const first = await authorityOf(plane, { path });
    await until(() => first.signing !== null);
    await first.rotate(0);
    await first.close();
    plane.clock.advance(leavingMs);
    expect(stored(plane).roots).toHaveLength(2);
    const again = await authorityOf(plane, { path });
    await until(
      () => stored(plane).roots.length === 1,
      () => plane.clock.advance(1),
    );
    expect([names(stored(plane)), again.signing]).toEqual([[first.root.sha256], first.root.sha256]);
  });

  it('signs nothing that outlives its root, when somebody else has it leave', async () => {
    const plane = new Plane();
    const authority = await authorityOf(plane, { isOnlyReplica: false });
    await until(() => authority.signing !== null);
    const bundle = new StoredBundle(plane.store, plane.clock, trustDomain);
    const retiresAt = new Date(plane.clock.nowMs() + 5_000).toISOString();
    await bundle.change((old) => ({ ...old, roots: old.roots.map((root) => ({ ...root, retiresAt })) }), '');
    expect((await authority.certify({ csrPem, identity: cart })).expiresAtMs).toBe(plane.clock.nowMs() + 5_000);
    plane.clock.advance(5_000);
    await until(() => stored(plane).roots.length === 0);
    await expect(authority.certify({ csrPem, identity: cart })).rejects.toMatchObject({
      code: 'not-signing',
      message: expect.stringMatching(/not in the trust bundle/),
    });
  });
});

describe('a rotation', () => {
  it('signs with the next root only when the last sidecar has acknowledged it, and goes on when it is asked again', async () => {
    const plane = new Plane();
    const authority = await authorityOf(plane);
    await until(() => authority.signing !== null);
    const [quick, slow] = [await plane.sidecar('quick').hello(), await plane.sidecar('slow').hello()];
    quick.ack();
    slow.ack();
    const old = authority.root;

    const first = authority.rotate(1_000).catch((error: unknown) => error);
    await ackRoots(plane, quick, 2);
    await until(() => stored(plane).roots.length === 2);
    plane.clock.advance(1_000);
    expect(await first).toMatchObject({ code: 'not-acknowledged', missing: [app('slow')] });
    expect(authority.signing).toBe(old.sha256);
    expect(stored(plane).roots.map(({ retiresAt }) => retiresAt)).toEqual([null, null]);
    expect(await authority.waitingFor()).toMatchObject({ missing: [app('slow')] });
    expect(await issuerOf(authority)).toBe(new X509Certificate(old.certificatePem).subject);

    const again = [authority.rotate(1_000), authority.rotate(1_000)];
    await ackRoots(plane, slow, 2);
    await Promise.all(again);
    expect(names(stored(plane))).toEqual([old.sha256, authority.root.sha256]);
    expect(authority.signing).toBe(authority.root.sha256);
    expect(authority.root.sha256).not.toBe(old.sha256);
    expect(stored(plane).roots.map(({ retiresAt }) => retiresAt)).toEqual([
      new Date(plane.clock.nowMs() + leavingMs).toISOString(),
      null,
    ]);
    expect(await issuerOf(authority)).toBe(subjectOf(authority));
    expect(await authority.waitingFor()).toBeNull();
  });

  it('that a restart has interrupted is not taken for left over, and goes on', async () => {
    const [plane, path] = [new Plane(), await newPath()];
    const first = await authorityOf(plane, { path });
    await until(() => first.signing !== null);
    await synced(plane, 'a');
    const broken = first.rotate(60_000).catch((error: unknown) => error);
    await until(() => stored(plane).roots.length === 2);
    const next = plane.restart();
    await first.close();
    expect(await broken).toMatchObject({ code: 'not-acknowledged' });

    const authority = await authorityOf(next, { path });
    expect(authority.signing).toBe(first.root.sha256);
    await expect(authority.rotate(0)).rejects.toMatchObject({ code: 'not-acknowledged', missing: [app('a')] });
    expect(await authority.waitingFor()).toMatchObject({ missing: [app('a')] });
    expect(stored(next).roots.map(({ retiresAt }) => retiresAt)).toEqual([null, null]);
    const sidecar = await next.sidecar('a').hello();
    sidecar.ack();
    const [, second] = names(stored(next));
    await authority.rotate(60_000);
    expect(authority.signing).toBe(second);
  });

  it('says when there are roots enough', async () => {
    const plane = new Plane();
    const authority = await authorityOf(plane, { isOnlyReplica: false });
    await until(() => authority.signing !== null);
    const bundle = new StoredBundle(plane.store, plane.clock, trustDomain);
    for (let i = 1; i < limits.trustRootsMax; i++)
      await bundle.change(addingRoot({ sha256: `${i}`, certificatePem: '' }, 0), '');
    await expect(authority.rotate(0)).rejects.toMatchObject({
      code: 'too-many-roots',
      message: expect.stringMatching(/16 roots already, 16 at most; none of them is leaving/),
    });
    expect(authority.signing).toBe(authority.root.sha256);
  });
});

describe('two control planes on one store', () => {
  it('have a root each in one bundle, take the tokens of each other, and leave the root of the other alone', async () => {
    const plane = new Plane();
    // Both add their root to the same revision of the bundle: one of them has to look again.
    const [a, b] = await Promise.all([
      authorityOf(plane, { isOnlyReplica: false }),
      authorityOf(plane, { isOnlyReplica: false }),
    ]);
    await until(() => a.signing !== null && b.signing !== null);
    expect(names(stored(plane)).sort()).toEqual([a.root.sha256, b.root.sha256].sort());
    const { token } = await a.makeJoinToken(cart, 60_000);
    expect(await b.identify(token, ['join'])).toEqual(cart);
    expect(b.bundle.requiresJoinToken).toBe(true);
    const { pushToken } = await b.certify({ csrPem, identity: cart });
    expect(await a.identify(pushToken, ['push'])).toEqual(cart);

    const old = a.root.sha256;
    await a.rotate(0);
    const leaving = stored(plane).roots.filter(({ retiresAt }) => retiresAt !== null);
    expect(leaving.map(({ sha256 }) => sha256)).toEqual([old]);
    expect([a.signing, b.signing]).toEqual([a.root.sha256, b.root.sha256]);
  });

  it('give up when others write all the time', async () => {
    const plane = new Plane();
    const [mine, other] = [0, 1].map(() => new StoredBundle(plane.store, plane.clock, trustDomain));
    const root = await newRoot();
    let writes = 0;
    const interfere = async () => {
      plane.store.beforeCommit = null;
      await other!.change(addingRoot({ sha256: `${writes++}`, certificatePem: '' }, 0), '');
      plane.store.beforeCommit = interfere;
    };
    plane.store.beforeCommit = interfere;
    await expect(mine!.change(addingRoot(root, 0), '')).rejects.toMatchObject({ code: 'unavailable' });
    expect(writes).toBe(5);
  });
});
