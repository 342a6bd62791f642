import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { SigningRoot } from '../../../../src/identity/root.ts';
import { bundlePem, type TrustBundle } from '../../../../src/model/identity.ts';
import { CertificateRefusedError } from '../../../../src/sidecar/identity/certificate-client.ts';
import { OtherRootError } from '../../../../src/sidecar/identity/control-plane-contact.ts';
import { IdentityFile } from '../../../../src/sidecar/identity/identity-file.ts';
import type { IssuedIdentityOptions } from '../../../../src/sidecar/identity/issued-identity.ts';
import { fixedJoinToken, type JoinTokenSource } from '../../../../src/sidecar/identity/join-token.ts';
import { silentLogger } from '../../control/memory-store.ts';
import { bundleOf, identityOf, newRoot } from '../../identity/roots.ts';
import { until } from '../fake-control-plane.ts';
import { type Answer, agentWith, hang, type Issued, issue, passing, RememberingClock } from './issuing.ts';

let root: SigningRoot;
let other: SigningRoot;
beforeAll(async () => {
  root = await newRoot(1_000_000);
  other = await newRoot(1_000_000);
});

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const signing =
  (issued: Partial<Issued> = {}): Answer =>
  ({ csrPem }, nowMs) =>
    issue({ root, csrPem, nowMs, ...issued });
const refusing =
  (status: number, code: string): Answer =>
  () =>
    Promise.reject(new CertificateRefusedError(status, code, 'no'));

function agentOf(answer: Answer, options?: Partial<IssuedIdentityOptions>) {
  const made = agentWith(answer, options);
  cleanups.push(() => made.agent.close());
  return made;
}

/** Starts it, and waits for the first certificate. */
async function started(answer: Answer, options?: Partial<IssuedIdentityOptions>) {
  const made = agentOf(answer, options);
  made.agent.start();
  made.clock.advance(0);
  await made.agent.first;
  await settled();
  return made;
}

/** What an answer leads to has happened. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

const retiring = (leaving: SigningRoot, retiresAtMs: number, ...staying: SigningRoot[]): TrustBundle => {
  const bundle = bundleOf(leaving, ...staying);
  const roots = bundle.roots.map((each) =>
    each.sha256 === leaving.sha256 ? { ...each, retiresAt: new Date(retiresAtMs).toISOString() } : each,
  );
  return { ...bundle, roots };
};

const joinTokenFor = (clock: RememberingClock) =>
  fixedJoinToken({
    text: 'join',
    identity: identityOf('cart'),
    rootsSha256: [root.sha256],
    expiresAtMs: clock.nowMs() + 1_000,
  });

describe('without a certificate', () => {
  it('asks the control planes in turn, until one signs, and waits longer and longer', async () => {
    const { agent, clock, plane } = agentOf(refusing(503, 'not-signing'));
    agent.start();
    await until(() => plane.questions.length === 6, passing(clock, 100));
    expect(plane.questions.map(({ url }) => url).slice(0, 4)).toEqual([
      'http://one',
      'http://two',
      'http://one',
      'http://two',
    ]);
    expect(clock.waits.filter((ms) => ms !== 5_000 && ms !== 10_000 && ms !== 0)).toEqual([
      250, 500, 1_000, 2_000, 2_500, 2_500,
    ]);
    expect(agent.current).toBeNull();
    expect(agent.status()).toMatchObject({ spiffeId: null, lastError: 'no', renewals: 0 });
    plane.answer = signing();
    await until(() => agent.current !== null, passing(clock, 100));
    await agent.first;
    expect(agent.status()).toMatchObject({ spiffeId: 'spiffe://weft.local/ns/default/sa/cart', lastError: null });
  });

  it('uses one key until a certificate for it was issued, and then another', async () => {
    const { agent, clock, plane } = agentOf(refusing(500, ''));
    agent.start();
    await until(() => plane.questions.length === 2, passing(clock, 100));
    plane.answer = signing();
    await until(() => agent.status().renewals === 1, passing(clock, 1_000));
    const requests = plane.questions.map(({ csrPem }) => csrPem);
    expect(requests[0]).toBe(requests[1]);
    expect(requests.at(-1)).not.toBe(requests[0]);
  });

  it.each<[string, Partial<Issued>]>([
    ['another Service', { identity: identityOf('pay') }],
    ['another namespace', { identity: identityOf('cart', 'shop') }],
    ['no key of ours', {}],
    ['a root that is not in the bundle', {}],
    ['the past', { ttlMs: -1_000 }],
  ])('takes no certificate of %s', async (what, issued) => {
    const answer: Answer = async (question, nowMs) => {
      if (what === 'no key of ours') {
        const stranger = await (
          await import('../../../../src/identity/certificate-request.ts')
        ).makeCertificateRequest();
        return issue({ root, csrPem: stranger.csrPem, nowMs });
      }
      if (what.startsWith('a root')) return issue({ root, csrPem: question.csrPem, nowMs, bundle: bundleOf(other) });
      return issue({ root, csrPem: question.csrPem, nowMs, ...issued });
    };
    const { agent, clock } = agentOf(answer);
    agent.start();
    await until(() => agent.status().lastError !== null, passing(clock, 1));
    expect(agent.current).toBeNull();
    expect(agent.pushToken).toBeNull();
  });

  it('says how to get a join token when one is asked for', async () => {
    const { agent, clock } = agentOf(refusing(401, 'token-required'));
    agent.start();
    await until(() => agent.status().lastError !== null, passing(clock, 1));
    expect(agent.status().lastError).toBe(
      'this mesh asks for a join token, and this sidecar has none: weft token create --join --service cart.default makes one for --join-token-file',
    );
  });

  it('ends while it waits for an answer', async () => {
    const { agent, clock, plane } = agentOf(hang);
    agent.start();
    clock.advance(0);
    await until(() => plane.questions.length === 1);
    await agent.close();
    expect(plane.signals[0]!.aborted).toBe(true);
  });
});

describe('renewal', () => {
  it.each([
    [0, 0.45],
    [0.5, 0.5],
    [1, 0.55],
  ])('at random number %d comes after %d of the life that is left', async (random, part) => {
    const { clock } = await started(signing(), { random: () => random });
    expect(clock.waits.at(-1)).toBeCloseTo(3600_000 * part, -1);
  });

  it('makes a new object with a new key, and tells of it', async () => {
    const made = await started(signing());
    const before = made.agent.current!;
    let changes = 0;
    const unlisten = made.agent.onChange(() => changes++);
    made.clock.advance(1_800_000);
    await until(() => made.agent.current !== before);
    expect(made.agent.current!.keyPem).not.toBe(before.keyPem);
    expect(made.agent.current!.expiresAtMs).toBeGreaterThan(before.expiresAtMs);
    expect(changes).toBe(1);
    expect(made.agent.status().renewals).toBe(1);
    unlisten();
    await settled();
    made.clock.advance(1_800_000);
    await until(() => made.agent.status().renewals === 2);
    expect(changes).toBe(1);
  });

  it('shows the push token, and without any other one none when that is refused', async () => {
    const made = await started(signing());
    made.plane.answer = refusing(401, 'token-invalid');
    made.clock.advance(1_800_000);
    await until(() => made.plane.questions.length === 4, passing(made.clock, 10));
    expect(made.plane.questions.map(({ token }) => token)).toEqual([null, 'push-token', null, 'push-token']);
  });

  it('is not lost when a control plane hangs: the next one is asked in time', async () => {
    const made = await started(signing({ ttlMs: 20_000 }));
    const { agent, clock, plane } = made;
    const expiresAtMs = agent.current!.expiresAtMs;
    plane.answer = ({ csrPem, url }, nowMs) => (url === 'http://two' ? hang() : issue({ root, csrPem, nowMs }));
    const before = agent.current;
    await until(() => agent.current !== before, passing(clock, 100));
    expect(plane.questions.map(({ url }) => url)).toEqual(['http://one', 'http://two', 'http://one']);
    expect(plane.signals[1]!.aborted).toBe(true);
    expect(clock.nowMs()).toBeLessThan(expiresAtMs - 4_000);
  });

  it('drops an answer that comes after its deadline', async () => {
    const made = await started(signing());
    const { agent, clock, plane } = made;
    const late: (() => void)[] = [];
    plane.answer = async ({ csrPem }, nowMs) => {
      await new Promise<void>((resolve) => late.push(resolve));
      return issue({ root, csrPem, nowMs });
    };
    const before = agent.current;
    clock.advance(1_800_000);
    await until(() => late.length === 1);
    clock.advance(5_000);
    await until(() => agent.status().lastError !== null);
    late[0]!();
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(agent.current).toBe(before);
    expect(agent.status().lastError).toContain('no answer within');
  });

  it('goes on after the certificate has expired; what was in force stays, and says so at most once a minute', async () => {
    const errors: string[] = [];
    const logger = { ...silentLogger, error: (_fields: object, message: string) => void errors.push(message) };
    const made = await started(signing({ ttlMs: 20_000 }), { logger });
    const { agent, clock, plane } = made;
    plane.answer = refusing(500, 'internal-error');
    const before = agent.current!;
    await until(() => clock.nowMs() > before.expiresAtMs + 130_000, passing(clock, 100));
    expect(agent.current).toBe(before);
    expect(agent.pushToken).toBeNull();
    expect(Date.parse(agent.status().expiresAt!)).toBe(before.expiresAtMs);
    expect(errors.length).toBeGreaterThanOrEqual(2);
    expect(errors.length).toBeLessThanOrEqual(3);
    plane.answer = signing();
    await until(() => agent.current !== before, passing(clock, 100));
    // An expired push token is not worth showing.
    expect(plane.questions.at(-1)!.token).toBeNull();
  });

  it('does not run wild when certificates live for no time, and waits no longer than a timer can wait', async () => {
    const short = await started(signing({ ttlMs: 1_000 }));
    expect(short.clock.waits.at(-1)).toBeGreaterThanOrEqual(500);
    const long = await started(signing({ ttlMs: 400 * 24 * 3600_000 }));
    expect(long.clock.waits.at(-1)).toBe(24 * 3600_000);
  });
});

describe('a pushed bundle', () => {
  it('replaces the roots of what is in force, at once and once', async () => {
    const { agent, plane } = await started(signing());
    const before = agent.current!;
    let changes = 0;
    agent.onChange(() => changes++);
    const bundle = bundleOf(root, other);
    await agent.takeBundle(bundle);
    await agent.takeBundle(bundle);
    expect(agent.current).toEqual({ ...before, bundlePem: bundlePem(bundle) });
    expect(changes).toBe(1);
    expect(plane.questions).toHaveLength(1);
  });

  it('without any root is not one', async () => {
    const { agent } = await started(signing());
    const before = agent.current;
    await agent.takeBundle({ ...bundleOf(root), roots: [] });
    expect(agent.current).toBe(before);
  });

  it('from before the first certificate is believed with it, and an answer takes none of it away', async () => {
    const made = agentOf(signing({ bundle: bundleOf(root) }));
    const { agent, clock } = made;
    await agent.takeBundle(bundleOf(other));
    agent.start();
    clock.advance(0);
    await agent.first;
    const shown = agent.current!.bundlePem;
    expect(shown).toContain(new X509Certificate(other.certificatePem).toString().trim());
    expect(shown).toContain(new X509Certificate(root.certificatePem).toString().trim());
    expect(shown.match(/BEGIN/g)).toHaveLength(2);
  });

  it.each([
    ['a quarter of the time that is left', 40_000, 0.999, 9_990],
    ['a minute', 3_000_000, 0.999, 59_940],
    ['at once', 3_000_000, 0, 0],
  ])('in which the own root is leaving renews within %s', async (_what, leftMs, random, waitMs) => {
    const made = await started(signing(), { random: () => random });
    const { agent, clock } = made;
    await agent.takeBundle(retiring(root, clock.nowMs() + leftMs, other));
    expect(clock.waits.at(-1)).toBeCloseTo(waitMs, 0);
    const before = agent.current!;
    made.plane.answer = signing({ root: other, bundle: bundleOf(root, other) });
    clock.advance(waitMs + 1);
    await until(() => agent.current !== before && agent.status().renewals === 1);
    await settled();
    // By the new root, which stays: the next renewal is an ordinary one.
    expect(clock.waits.at(-1)).toBeGreaterThan(1_500_000);
  });

  it('in which another root is leaving changes no renewal', async () => {
    const { agent, clock } = await started(signing());
    const waits = clock.waits.length;
    await agent.takeBundle(retiring(other, clock.nowMs() + 1_000, root));
    expect(clock.waits).toHaveLength(waits);
  });

  it('without the own root renews soon', async () => {
    const { agent, clock } = await started(signing());
    await agent.takeBundle(bundleOf(other));
    expect(clock.waits.at(-1)).toBe(2_500);
  });

  it('that comes during a renewal counts for its certificate', async () => {
    const made = await started(signing());
    const { agent, clock, plane } = made;
    let go = () => {};
    plane.answer = async ({ csrPem }, nowMs) => {
      await new Promise<void>((resolve) => {
        go = resolve;
      });
      return issue({ root, csrPem, nowMs });
    };
    clock.advance(1_800_000);
    await until(() => plane.questions.length === 2);
    await agent.takeBundle(retiring(root, clock.nowMs() + 40_000, other));
    go();
    await until(() => agent.status().renewals === 1);
    await settled();
    expect(clock.waits.at(-1)).toBe(5_000);
    expect(agent.current!.bundlePem.match(/BEGIN/g)).toHaveLength(2);
  });
});

describe('with a state directory', () => {
  async function directory(): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), 'weft-identity-'));
    cleanups.push(() => rm(path, { recursive: true, force: true }));
    return path;
  }
  const fileIn = (path: string) => new IdentityFile(path, silentLogger);

  /** A sidecar that has obtained an identity and ended. */
  async function ended(path: string, clock: RememberingClock, answer = signing()) {
    const made = await started(answer, { file: fileIn(path), clock });
    const { current } = made.agent;
    await made.agent.close();
    return current!;
  }

  it('restarts with its identity while no control plane answers, and renews when it would have', async () => {
    const path = await directory();
    const clock = new RememberingClock();
    const before = await ended(path, clock);
    clock.advance(600_000);
    const { agent, plane } = agentOf(refusing(500, ''), { file: fileIn(path), clock });
    await agent.restore();
    await agent.first;
    expect(agent.current).toEqual(before);
    expect(agent.pushToken).toBe('push-token');
    agent.start();
    expect(clock.waits.at(-1)).toBeCloseTo(1_200_000, -1);
    expect(plane.questions).toHaveLength(0);
    clock.advance(1_200_000);
    await until(() => plane.questions.length === 1);
    expect(plane.questions[0]!.token).toBe('push-token');
  });

  it('asks at once when the renewal is overdue', async () => {
    const path = await directory();
    const clock = new RememberingClock();
    await ended(path, clock);
    clock.advance(3_000_000);
    const { agent } = agentOf(hang, { file: fileIn(path), clock });
    await agent.restore();
    agent.start();
    expect(clock.waits.at(-1)).toBe(0);
  });

  it('renews before the end although its clock was set back', async () => {
    const path = await directory();
    const clock = new RememberingClock();
    clock.advance(30_000);
    const before = await ended(path, clock);
    const { agent, clock: back } = agentOf(hang, { file: fileIn(path), clock: new RememberingClock() });
    await agent.restore();
    agent.start();
    expect(back.nowMs() + back.waits.at(-1)!).toBeLessThan(before.expiresAtMs - 1_700_000);
  });

  it('keeps the key from others, and the bundle that was pushed last', async () => {
    const path = await directory();
    const clock = new RememberingClock();
    const made = await started(signing(), { file: fileIn(path), clock });
    await made.agent.takeBundle(bundleOf(root, other));
    await made.agent.close();
    expect((await stat(join(path, 'identity.json'))).mode & 0o777).toBe(0o600);
    const { agent } = agentOf(hang, { file: fileIn(path), clock });
    await agent.restore();
    expect(agent.current).toEqual(made.agent.current);
  });

  it.each<[string, Partial<IssuedIdentityOptions>, number]>([
    ['another Service', { service: 'pay' }, 0],
    ['another namespace', { namespace: 'shop' }, 0],
    ['the past', {}, 3600_001],
  ])('does not use an identity of %s', async (_what, options, laterMs) => {
    const path = await directory();
    const clock = new RememberingClock();
    await ended(path, clock);
    clock.advance(laterMs);
    const { agent } = agentOf(hang, { file: fileIn(path), clock, ...options });
    await agent.restore();
    expect(agent.current).toBeNull();
    expect(agent.pushToken).toBeNull();
    agent.start();
    expect(clock.waits.at(-1)).toBe(0);
  });

  it.each([
    ['nothing', () => ''],
    ['half of it', (text: string) => text.slice(0, text.length / 2)],
    ['another version', (text: string) => text.replace('"version":1', '"version":2')],
    ['no key', (text: string) => text.replace(/"keyPem":"[^"]*"/, '"keyPem":7')],
    ['another key', (text: string) => text.replace(/"keyPem":"[^"]*"/, '"keyPem":"x"')],
    ['null', () => 'null'],
  ])('starts as if it were new when the file holds %s', async (_what, spoil) => {
    const path = await directory();
    const clock = new RememberingClock();
    await ended(path, clock);
    const file = join(path, 'identity.json');
    await writeFile(file, spoil(await readFile(file, 'utf8')));
    const { agent } = agentOf(signing(), { file: fileIn(path), clock });
    await agent.restore();
    expect(agent.current).toBeNull();
    agent.start();
    clock.advance(0);
    await agent.first;
  });

  it.each([0o644, 0o640, 0o666])('takes mode %o back from others, warns, and goes on', async (mode) => {
    const path = await directory();
    const clock = new RememberingClock();
    const before = await ended(path, clock);
    await chmod(join(path, 'identity.json'), mode);
    const warnings: unknown[] = [];
    const logger = { ...silentLogger, warn: (fields: object, _message: string) => void warnings.push(fields) };
    const { agent } = agentOf(hang, { file: new IdentityFile(path, logger), clock });
    await agent.restore();
    expect(agent.current).toEqual(before);
    expect((await stat(join(path, 'identity.json'))).mode & 0o777).toBe(0o600);
    expect(warnings).toEqual([{ path: join(path, 'identity.json'), mode: mode.toString(8) }]);
  });

  it('does not wait for a pipe', async () => {
    const path = await directory();
    execFileSync('mkfifo', [join(path, 'identity.json')]);
    const { agent } = agentOf(hang, { file: fileIn(path) });
    await agent.restore();
    expect(agent.current).toBeNull();
  });

  it('from plain HTTP is not used once there is a join token: nobody vouched for its roots', async () => {
    const path = await directory();
    const clock = new RememberingClock();
    await ended(path, clock);
    const { agent } = agentOf(hang, { file: fileIn(path), clock, joinToken: joinTokenFor(clock) });
    await agent.restore();
    expect(agent.current).toBeNull();
    expect(agent.controlPlaneTrust).toEqual({ trustDomain: 'weft.local', rootsSha256: [root.sha256], bundlePem: null });
  });

  it('does not go back to plain HTTP when what came over TLS has expired', async () => {
    const path = await directory();
    const clock = new RememberingClock();
    const made = await started(signing(), { file: fileIn(path), clock, joinToken: joinTokenFor(clock) });
    await made.agent.close();
    clock.advance(3600_001);
    const { agent } = agentOf(hang, { file: fileIn(path), clock });
    await agent.restore();
    expect(agent.current).toBeNull();
    const { bundlePem } = made.agent.current!;
    expect(agent.controlPlaneTrust).toEqual({ trustDomain: 'weft.local', rootsSha256: [], bundlePem });
  });

  it('never goes back from TLS to plain HTTP', async () => {
    const path = await directory();
    const clock = new RememberingClock();
    const joinToken = joinTokenFor(clock);
    const made = await started(signing(), { file: fileIn(path), clock, joinToken });
    expect(made.plane.questions[0]).toMatchObject({
      token: 'join',
      trust: { trustDomain: 'weft.local', rootsSha256: [root.sha256], bundlePem: null },
    });
    await made.agent.close();
    const { agent, plane } = agentOf(hang, { file: fileIn(path), clock });
    await agent.restore();
    agent.start();
    clock.advance(1_800_000);
    await until(() => plane.questions.length === 1);
    expect(plane.questions[0]).toMatchObject({
      token: 'push-token',
      trust: { trustDomain: 'weft.local', rootsSha256: [], bundlePem: agent.current!.bundlePem },
    });
  });
});

describe('with a join token', () => {
  it('shows it again when the push token is refused, and says when it has expired', async () => {
    const clock = new RememberingClock();
    const expiresAtMs = clock.nowMs() + 1_000;
    const first = { text: 'join', identity: identityOf('cart'), rootsSha256: [root.sha256], expiresAtMs };
    const joinToken = fixedJoinToken(first);
    const made = await started(signing(), { clock, joinToken });
    made.plane.answer = refusing(401, 'token-invalid');
    clock.advance(1_800_000);
    await until(() => made.plane.questions.length === 4, passing(clock, 10));
    expect(made.plane.questions.map(({ token }) => token)).toEqual(['join', 'push-token', 'join', 'push-token']);
    expect(made.agent.status().lastError).toContain('the join token has expired');
  });

  /** A file whose content is `next`, and which cannot be used while `fault` says why. */
  function replaceable(clock: RememberingClock) {
    const tokenOf = (text: string) => ({
      ...{ text, identity: identityOf('cart'), rootsSha256: [root.sha256] },
      expiresAtMs: clock.nowMs() + (text === 'expired' ? -1_000 : 3600_000),
    });
    let current = tokenOf('expired');
    const file = { next: 'expired', fault: null as string | null };
    const joinToken: JoinTokenSource = {
      get current() {
        return current;
      },
      get fault() {
        return file.fault;
      },
      refresh: async () => {
        if (file.fault === null) current = tokenOf(file.next);
      },
    };
    return { file, joinToken };
  }
  const takingOnly: (text: string) => Answer = (text) => (question, nowMs) =>
    question.token === text ? signing()(question, nowMs) : refusing(401, 'token-invalid')(question, nowMs);

  it('shows the one that took the place of one that expired', async () => {
    const clock = new RememberingClock();
    const { file, joinToken } = replaceable(clock);
    const { agent, plane } = agentOf(takingOnly('next'), { clock, joinToken });
    agent.start();
    await until(() => plane.questions.length === 2, passing(clock, 100));
    expect(agent.status().lastError).toContain('the join token has expired');
    file.next = 'next';
    await until(() => agent.current !== null, passing(clock, 100));
    expect(plane.questions.at(-1)?.token).toBe('next');
  });

  it('says why the one that was put there is not used', async () => {
    const clock = new RememberingClock();
    const { file, joinToken } = replaceable(clock);
    const { agent } = agentOf(takingOnly('next'), { clock, joinToken });
    file.fault = 'the new one is for pay';
    agent.start();
    await until(() => agent.status().lastError !== null, passing(clock, 100));
    expect(agent.status().lastError).toMatch(/the join token has expired.*the new one is for pay/);
  });

  it.each<[string, Answer]>([
    ['the control plane shows another root', () => Promise.reject(new OtherRootError('another root'))],
    ['the control plane refuses it', refusing(401, 'token-invalid')],
  ])('names a rotation and the way out when %s', async (_what, answer) => {
    const clock = new RememberingClock();
    const { file, joinToken } = replaceable(clock);
    file.next = 'of the old root';
    const { agent } = agentOf(answer, { clock, joinToken });
    agent.start();
    await until(() => agent.status().lastError !== null, passing(clock, 100));
    expect(agent.status().lastError).toMatch(
      /the root was rotated .*: weft token create --join --service cart\.default makes one for --join-token-file\)$/,
    );
  });

  it('does not blame it when the push token is refused', async () => {
    const clock = new RememberingClock();
    const { file, joinToken } = replaceable(clock);
    file.next = 'next';
    const made = await started(takingOnly('next'), { clock, joinToken });
    made.plane.answer = refusing(401, 'token-invalid');
    clock.advance(1_800_000);
    await until(() => made.agent.status().lastError !== null);
    expect(made.agent.status().lastError).toBe('no');
  });

  it('does not wait for a disk that hangs', async () => {
    const clock = new RememberingClock();
    const { joinToken } = replaceable(clock);
    const hanging: JoinTokenSource = { current: joinToken.current, fault: null, refresh: hang };
    const { agent } = agentOf(takingOnly('expired'), { clock, joinToken: hanging });
    agent.start();
    await until(() => agent.current !== null, passing(clock, 100));
  });
});
