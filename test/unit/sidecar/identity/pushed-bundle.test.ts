import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { SigningRoot } from '../../../../src/identity/root.ts';
import { bundlePem, type TrustBundle } from '../../../../src/model/identity.ts';
import type { AskForBootstrap } from '../../../../src/sidecar/identity/bootstrap-client.ts';
import type { ControlPlaneTrust } from '../../../../src/sidecar/identity/control-plane-contact.ts';
import { joinBundles } from '../../../../src/sidecar/identity/credentials-check.ts';
import { IdentityFile, type SavedIdentity } from '../../../../src/sidecar/identity/identity-file.ts';
import { fixedJoinToken } from '../../../../src/sidecar/identity/join-token.ts';
import { silentLogger } from '../../control/memory-store.ts';
import { bundleOf, identityOf, newRoot } from '../../identity/roots.ts';
import { until } from '../fake-control-plane.ts';
import { agentWith, hang, issue, passing, RememberingClock } from './issuing.ts';

let root: SigningRoot;
let next: SigningRoot;
let evil: SigningRoot;
beforeAll(async () => {
  [root, next, evil] = await Promise.all([newRoot(1_000_000), newRoot(1_000_000), newRoot(1_000_000)]);
});

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const proofMs = 10_000;
const normal = (pem: string) => joinBundles(pem, pem);
const rootsOf = (...roots: SigningRoot[]) => normal(bundlePem(bundleOf(...roots)));
const knowing = (...roots: SigningRoot[]): AskForBootstrap => {
  const answer = { pushUrl: 'ws://127.0.0.1:1/v1/push', bundlePem: bundlePem(bundleOf(...roots)) };
  return async () => answer;
};

/** A sidecar with a certificate, and the control planes' answer about the roots. */
async function sidecar({ hasToken = true, believes = bundleOf(root) } = {}) {
  const clock = new RememberingClock();
  const plane = { answer: knowing(root), asked: [] as { url: string; trust: ControlPlaneTrust | null }[] };
  const token = {
    ...{ text: 'join', identity: identityOf('cart') },
    ...{ rootsSha256: [root.sha256], expiresAtMs: clock.nowMs() + 3600_000 },
  };
  const { agent } = agentWith(({ csrPem }, nowMs) => issue({ root, csrPem, nowMs, bundle: believes }), {
    clock,
    joinToken: hasToken ? fixedJoinToken(token) : null,
    askForBootstrap: (url, trust, nowMs, signal) => {
      plane.asked.push({ url, trust });
      return plane.answer(url, trust, nowMs, signal);
    },
  });
  cleanups.push(() => agent.close());
  agent.start();
  clock.advance(0);
  await agent.first;
  let outcome = 'pending';
  const take = (bundle: TrustBundle) => {
    outcome = 'pending';
    return agent.takeBundle(bundle).then(
      () => {
        outcome = 'taken';
      },
      (error: Error) => {
        outcome = error.message;
      },
    );
  };
  return { agent, clock, plane, take, outcome: () => outcome };
}

describe('where control planes prove who they are, a pushed bundle', () => {
  it('with a root that they do not know is refused in time, and nothing of it is believed', async () => {
    const { agent, clock, plane, take, outcome } = await sidecar();
    const before = agent.current;
    const startedMs = clock.nowMs();
    void take(bundleOf(root, evil));
    await until(() => outcome() !== 'pending', passing(clock, 100));
    expect(outcome()).toMatch(`does not know ${evil.sha256}`);
    expect(clock.nowMs() - startedMs).toBeLessThanOrEqual(proofMs + 100);
    expect(agent.current).toBe(before);
    expect(plane.asked[0]).toEqual({ url: 'http://one', trust: agent.controlPlaneTrust });
    expect(agent.controlPlaneTrust).toMatchObject({ rootsSha256: [root.sha256], bundlePem: before!.bundlePem });
    expect(new Set(plane.asked.map(({ url }) => url))).toEqual(new Set(['http://one', 'http://two']));
    expect(plane.asked.length).toBeLessThan(30);
  });

  it.each<[string, AskForBootstrap, RegExp]>([
    ['hangs', hang, /no answer within/],
    ['is not one', () => Promise.reject(new Error('its certificate was not issued by')), /was not issued by/],
    ['says no roots', async () => ({ pushUrl: '', bundlePem: '' }), /trust bundle/],
  ])('is refused in time when who answers %s', async (_what, answer, reason) => {
    const { agent, clock, plane, take, outcome } = await sidecar();
    plane.answer = answer;
    const before = agent.current;
    void take(bundleOf(root, next));
    await until(() => outcome() !== 'pending', passing(clock, 500));
    expect(outcome()).toMatch(reason);
    expect(agent.current).toBe(before);
  });

  it('with a good new root is taken after they said so, not before', async () => {
    const { agent, plane, take, outcome } = await sidecar();
    let go = () => {};
    plane.answer = async (...question) => {
      await new Promise<void>((resolve) => {
        go = resolve;
      });
      return await knowing(root, next)(...question);
    };
    const before = agent.current;
    const taken = take(bundleOf(root, next));
    await until(() => plane.asked.length === 1);
    expect(outcome()).toBe('pending');
    expect(agent.current).toBe(before);
    go();
    await taken;
    expect(outcome()).toBe('taken');
    expect(normal(agent.current!.bundlePem)).toBe(rootsOf(root, next));
  });

  it('waits for a replica that is behind', async () => {
    const { agent, clock, plane, take, outcome } = await sidecar();
    plane.answer = (url, ...rest) => (url === 'http://one' ? knowing(root) : knowing(root, next))(url, ...rest);
    void take(bundleOf(root, next));
    await until(() => outcome() === 'taken', passing(clock, 100));
    expect(normal(agent.current!.bundlePem)).toBe(rootsOf(root, next));
  });

  it('without a root takes it away only when they do not have it either', async () => {
    const { agent, plane, take } = await sidecar({ believes: bundleOf(root, next) });
    plane.answer = knowing(root, next);
    await take(bundleOf(root));
    expect(normal(agent.current!.bundlePem)).toBe(rootsOf(root, next));
    plane.answer = knowing(root);
    await take(bundleOf(root));
    expect(normal(agent.current!.bundlePem)).toBe(rootsOf(root));
  });

  it('of the roots that are believed already asks nobody', async () => {
    const { agent, plane, take, outcome } = await sidecar({ believes: bundleOf(root, next) });
    const before = agent.current;
    await take(bundleOf(next, root));
    expect(outcome()).toBe('taken');
    expect(agent.current).toBe(before);
    expect(plane.asked).toEqual([]);
  });

  it('is given up when the sidecar ends', async () => {
    const { agent, plane, take, outcome } = await sidecar();
    plane.answer = hang;
    const taken = take(bundleOf(root, next));
    await until(() => plane.asked.length === 1);
    await agent.close();
    await taken;
    expect(outcome()).toBe('this sidecar ends');
  });

  it('is a hint without a join token, too, once the identity came over TLS', async () => {
    const clock = new RememberingClock();
    const { agent: first } = await sidecar();
    const saved: SavedIdentity = {
      ...{ service: 'cart', namespace: 'default', pushToken: 'push', obtainedAtMs: clock.nowMs(), isOverTls: true },
      ...first.current!,
    };
    const file = new IdentityFile('/nonexistent', silentLogger);
    file.load = async () => saved;
    const { agent } = agentWith(hang, { clock, file, askForBootstrap: knowing(root) });
    cleanups.push(() => agent.close());
    await agent.restore();
    let reason = '';
    void agent.takeBundle(bundleOf(root, evil)).catch((error: Error) => {
      reason = error.message;
    });
    await until(() => reason !== '', passing(clock, 100));
    expect(agent.current!.bundlePem).toBe(saved.bundlePem);
  });
});

it('in plain HTTP, whoever pushes is believed, and nobody asked', async () => {
  const { agent, plane, take } = await sidecar({ hasToken: false });
  await take(bundleOf(root, next));
  expect(normal(agent.current!.bundlePem)).toBe(rootsOf(root, next));
  expect(plane.asked).toEqual([]);
  expect(agent.controlPlaneTrust).toBeNull();
});
