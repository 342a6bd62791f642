/** Two control planes on one etcd, as sidecars and people with tokens meet them: identities, rotations, and one that etcd does not reach. */
import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { makeCertificateRequest } from '../../src/identity/certificate-request.ts';
import { limits } from '../../src/model/limits.ts';
import { systemClock } from '../../src/sidecar/clock.ts';
import { askForCertificate, type CertificateAnswer } from '../../src/sidecar/identity/certificate-client.ts';
import type { ControlPlaneTrust } from '../../src/sidecar/identity/control-plane-contact.ts';
import { certificatesIn, isIssuedBy } from '../../src/sidecar/identity/credentials-check.ts';
import { decodeJoinToken } from '../../src/sidecar/identity/join-token.ts';
import { openPushLink } from '../../src/sidecar/push-link.ts';
import { decodeControlFrame } from '../../src/wire/control-frame.ts';
import { encodeSidecarFrame } from '../../src/wire/sidecar-frame.ts';
import { EtcdCluster, whyNoEtcd } from '../fixtures/etcd-cluster.ts';
import { type ApiUnderTest, expectProblem, service } from './api-harness.ts';
import { apiRoom } from './api-room.ts';

const reason = whyNoEtcd();
if (reason !== null) console.warn(`Control planes on etcd are not tested: ${reason}`);

/** Of both planes: a test puts it forward. */
const clock = { ...systemClock, aheadMs: 0, nowMs: () => Date.now() + clock.aheadMs };

describe.skipIf(reason !== null)('two control planes on etcd', () => {
  let cluster: EtcdCluster;
  let one: ApiUnderTest;
  let other: ApiUnderTest;
  let rounds = 0;
  const { cleanups, start } = apiRoom();

  beforeAll(async () => {
    cluster = await EtcdCluster.start({ size: 1 });
  });
  afterAll(() => cluster?.close());
  beforeEach(async () => {
    clock.aheadMs = 0;
    const storeUrl = `etcd://${cluster.addresses}/round-${rounds++}`;
    one = await start({ storeUrl, clock, isPushTls: true });
    other = await start({ storeUrl, clock, isPushTls: true });
    // Its root signs at once: there are no sidecars yet. Each knows of both.
    for (const api of [one, other])
      await until(async () => {
        const { signing, roots } = (await api.get('/v1/ca')).body;
        return signing !== null && roots.length === 2;
      });
  });
  const joinToken = async (api: ApiUnderTest, name = 'cart'): Promise<string> => {
    const { status, body } = await api.call('POST', '/v1/join-tokens', {
      body: { service: name, namespace: 'default' },
    });
    expect(status).toBe(200);
    return body.token;
  };
  const trustOf = (token: string, bundlePem: string | null = null): ControlPlaneTrust => {
    const { rootsSha256 } = decodeJoinToken(token, 'cart', 'default');
    return { trustDomain: 'weft.local', rootsSha256, bundlePem };
  };
  /** As a sidecar does that has this token, and trusts so. */
  const certify = async (api: ApiUnderTest, token: string, trust: ControlPlaneTrust): Promise<CertificateAnswer> => {
    const { csrPem } = await makeCertificateRequest();
    const question = { url: api.url(''), csrPem, service: 'cart', namespace: 'default', token, trust };
    return askForCertificate(question, Date.now(), AbortSignal.timeout(5_000));
  };
  /** Connects to the push port as the sidecar `cart-1`, and acknowledges what comes while `mayAck`. */
  const connect = async (api: ApiUnderTest, pushToken: string, trust: ControlPlaneTrust) => {
    const room = { mayAck: true, first: Promise.resolve() as Promise<unknown> };
    let told: () => void = () => {};
    room.first = new Promise<void>((resolve) => {
      told = resolve;
    });
    const unanswered: number[] = [];
    const answer = () => {
      for (const sequence of room.mayAck ? unanswered.splice(0) : [])
        link.send(encodeSidecarFrame({ tag: 'ack', sequence }));
    };
    const onFrame = (bytes: Uint8Array) => {
      const frame = decodeControlFrame(Buffer.from(bytes));
      if (frame.tag !== 'push') return;
      unanswered.push(frame.sequence);
      answer();
      told();
    };
    const abort = new AbortController();
    const link = await openPushLink(api.url(''), { token: pushToken, trust }, systemClock, abort.signal, {
      onFrame,
      onClosed() {},
    });
    cleanups.push(() => link.close());
    link.send(
      encodeSidecarFrame({
        tag: 'hello',
        ...{ sidecar: 'cart-1', service: 'cart', namespace: 'default', softwareVersion: '0.1.0', more: false },
        ...{ hosts: [], held: new Map(), registration: null, insecureLink: false },
      }),
    );
    await room.first;
    return {
      link,
      mute: (isMute: boolean) => {
        room.mayAck = !isMute;
        answer();
      },
    };
  };
  /** Everyone who believes the bundle believes this certificate. */
  const expectBelieved = ({ certificatePem }: CertificateAnswer, bundlePem: string) => {
    const roots = certificatesIn(bundlePem, 'the bundle', limits.trustRootsMax);
    expect(roots.some((root) => isIssuedBy(new X509Certificate(certificatePem), root))).toBe(true);
  };
  const bundleAt = async (api: ApiUnderTest): Promise<string> => (await api.get('/v1/bootstrap')).body.bundle;

  it('take the join tokens of each other at a first contact, and their sidecars, and issue what all believe', async () => {
    for (const [maker, first, second] of [
      [one, other, one],
      [other, one, other],
    ] as const) {
      const token = await joinToken(maker);
      expect(decodeJoinToken(token, 'cart', 'default').rootsSha256).toHaveLength(2);
      // It knows nothing but its token, and meets the one that has not made it.
      const issued = await certify(first, token, trustOf(token));
      for (const api of [one, other]) expectBelieved(issued, await bundleAt(api));
      // It moves, and stays who it is.
      const known = { ...trustOf(token), bundlePem: issued.bundlePem };
      for (const api of [first, second]) {
        const { link } = await connect(api, issued.pushToken, known);
        const { items } = (await api.get('/v1/sidecars')).body;
        expect(items).toMatchObject([{ sidecar: 'cart-1', service: 'cart', connected: true }]);
        const renewed = await certify(api, issued.pushToken, known);
        expectBelieved(renewed, await bundleAt(first));
        link.close();
      }
    }
    // A root that is of no control plane here is believed by nobody.
    const token = await joinToken(one);
    const strangers = { ...trustOf(token), rootsSha256: ['ab'.repeat(32)] };
    await expect(certify(other, token, strangers)).rejects.toThrow(/not issued by a root that the join token names/);
  });

  it('rotate at the same time, once the sidecars of both have acknowledged, and tokens of before go on', async () => {
    const token = await joinToken(one);
    const issued = await certify(one, token, trustOf(token));
    const known = { ...trustOf(token), bundlePem: issued.bundlePem };
    const sidecar = await connect(other, issued.pushToken, known);
    const before = (await one.get('/v1/ca')).body.roots.map(({ sha256 }: { sha256: string }) => sha256);

    // One that says nothing holds up the rotation of the control plane that it is not connected to.
    sidecar.mute(true);
    const late = await one.call('POST', '/v1/ca/rotate?timeoutMs=300');
    expectProblem(late, 504, 'not-applied', /not acknowledged it/);
    expect(late.body.missing).toMatchObject([{ sidecar: 'cart-1' }]);
    expect((await one.get('/v1/ca')).body.signing).toBe(before[0]);

    sidecar.mute(false);
    const rotated = await Promise.all([one, other].map((api) => api.call('POST', '/v1/ca/rotate?timeoutMs=10000')));
    expect(rotated.map(({ status }) => status)).toEqual([200, 200]);
    const signing = rotated.map(({ body }) => body.signing as string);
    expect(new Set([...before, ...signing]).size).toBe(4);
    /** As the bundle has them: who signs is told by each of itself. */
    const rootsAt = async (api: ApiUnderTest) =>
      ((await api.get('/v1/ca')).body.roots as { sha256: string; retiresAt: string | null }[]).map(
        ({ sha256, retiresAt }) => ({ sha256, retiresAt }),
      );
    await until(async () => {
      const [mine, theirs] = await Promise.all([one, other].map(rootsAt));
      return JSON.stringify(mine) === JSON.stringify(theirs) && mine!.length === 4;
    });
    const roots = await rootsAt(one);
    const leaving = roots.filter(({ retiresAt }) => retiresAt !== null).map(({ sha256 }) => sha256);
    expect(leaving.sort()).toEqual(before.sort());

    // What the old roots have signed opens both, and is renewed by both with the new ones.
    const bundle = await bundleAt(other);
    for (const api of [one, other]) {
      const renewed = await certify(api, issued.pushToken, { ...known, bundlePem: bundle });
      expectBelieved(renewed, bundle);
      const { link } = await connect(api, renewed.pushToken, { ...known, bundlePem: bundle });
      link.close();
    }
    // A token that is made now names the roots that stay, and is good for a first contact with either.
    const next = await joinToken(other);
    expect([...decodeJoinToken(next, 'cart', 'default').rootsSha256].sort()).toEqual([...signing].sort());
    for (const api of [one, other]) expectBelieved(await certify(api, next, trustOf(next)), bundle);
  });

  it('take no token while the store was not heard of for 15 s, but say so in their metrics', async () => {
    const made = await one.call('POST', '/v1/tokens', { body: { role: 'admin', name: 'alice' } });
    const mine = { authorization: `Bearer ${made.body.token}` };
    await until(async () => (await other.get('/v1/status', mine)).status === 200);
    cluster.freeze();
    try {
      clock.aheadMs = limits.accessBlindMs + 10_000;
      const refused = await other.get('/v1/status', mine);
      expectProblem(refused, 503, 'unavailable', /not heard of its store for more than 15 s.*Ask another one/);
      expect(refused.headers.get('retry-after')).toBe('1');
      expectProblem(await other.get('/v1/status', { authorization: 'Bearer weft_x' }), 503, 'unavailable');
      expectProblem(await other.get('/v1/status'), 401, 'token-required');
      // Sidecars go on, and whoever watches the control planes sees why people do not.
      expect((await other.get('/v1/bootstrap')).status).toBe(200);
      const age = await storeAgeOf(other, mine);
      expect(age).toBeGreaterThan(limits.accessBlindMs / 1000);
    } finally {
      await cluster.thaw();
    }
    for (const api of [one, other]) await until(async () => (await api.get('/v1/status', mine)).status === 200);
    // What was revoked at one is unknown at the other, without a wait for anything but the store.
    const second = await one.call('POST', '/v1/tokens', { body: { role: 'admin', name: 'bob' }, headers: mine });
    const his = { authorization: `Bearer ${second.body.token}` };
    expect((await one.delete('/v1/tokens/alice', his)).status).toBe(200);
    await until(async () => (await other.get('/v1/status', mine)).status === 401);
  });

  it('say since when the store takes no writes, refuse those in words, and are alive all the same', async () => {
    expect((await one.get('/v1/status')).body.storeOutage).toBeNull();
    const frozenAtMs = Date.now();
    cluster.freeze();
    try {
      await until(async () => (await one.get('/v1/status')).body.storeOutage !== null);
      const { since, reason: why } = (await one.get('/v1/status')).body.storeOutage;
      expect(Date.parse(since)).toBeGreaterThanOrEqual(frozenAtMs);
      expect(why).toBe(`${cluster.addresses} did not answer in time`);
      const refused = await one.transact({ apply: [service('lost')] });
      expectProblem(
        refused,
        503,
        'unavailable',
        /is not available: \S+ did not answer in time\. Check .* try again\. Nothing was written\.$/,
      );
      expect((await one.get('/healthz')).status).toBe(200);
    } finally {
      await cluster.thaw();
    }
    await until(async () => (await one.get('/v1/status')).body.storeOutage === null);
    expect((await one.transact({ apply: [service('found')] })).status).toBe(200);
  });
});

async function storeAgeOf(api: ApiUnderTest, headers: Readonly<Record<string, string>>): Promise<number> {
  const text = await (await fetch(api.url('/metrics'), { headers })).text();
  return Number(/^weft_control_plane_store_age_seconds (\S+)$/m.exec(text)?.[1]);
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + 15_000;
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error('still not so');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
