import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { HeldObjects } from '../../../src/sidecar/held-objects.ts';
import { HostDiscovery } from '../../../src/sidecar/host-discovery.ts';
import { ManualClock } from '../control/memory-store.ts';

function open(pinned: readonly string[] = []) {
  const clock = new ManualClock();
  const said: { add: readonly string[]; remove: readonly string[] }[] = [];
  const forgotten: string[] = [];
  const hosts = new HostDiscovery({
    clock,
    pinned,
    held: () => HeldObjects.none,
    say: (add, remove) => said.push({ add, remove }),
    onChange: (removed) => forgotten.push(...removed),
  });
  return { clock, said, forgotten, hosts };
}

describe('subscriptions', () => {
  it('end when they were not used for a day, except those that are pinned', async () => {
    const { clock, hosts, said, forgotten } = open(['pinned']);
    hosts.discover('used', () => {});
    hosts.discover('unused', () => {});
    clock.advance(limits.subscriptionUnusedMs - 1);
    hosts.markUsed('used');
    hosts.markUsed('never subscribed');
    hosts.expire();
    expect(hosts.allForHello()).toEqual(['pinned', 'unused', 'used']);
    clock.advance(1);
    hosts.expire();
    await Promise.resolve();
    expect(said).toEqual([{ add: [], remove: ['unused'] }]);
    expect(forgotten).toEqual(['unused']);
    expect(hosts.allForHello()).toEqual(['pinned', 'used']);
  });

  it('that a Hello has said are not said again', async () => {
    const { hosts, said } = open();
    hosts.discover('a', () => {});
    expect(hosts.allForHello()).toEqual(['a']);
    await Promise.resolve();
    expect(said).toEqual([]);
  });

  it('that end and come back in one turn are said once, as wanted', async () => {
    const { clock, hosts, said } = open();
    hosts.restore(new Map([['a', clock.nowMs() - limits.subscriptionUnusedMs]]));
    hosts.expire();
    hosts.discover('a', () => {});
    await Promise.resolve();
    expect(said).toEqual([{ add: ['a'], remove: [] }]);
  });

  it('are not restored beyond their limit', () => {
    const { hosts } = open();
    hosts.restore(new Map(Array.from({ length: limits.subscriptionsMax + 5 }, (_, n) => [`h${n}`, n])));
    expect(hosts.allForHello()).toHaveLength(limits.subscriptionsMax);
  });
});

describe('answers', () => {
  it('come to who waits, once, and those for nobody are named', async () => {
    const { clock, hosts } = open();
    const answers: string[] = [];
    hosts.discover('a', (answer) => answers.push(answer));
    hosts.discover('b', (answer) => answers.push(answer));
    const unwanted = hosts.answered(
      new Map([
        ['a', 'a.default'],
        ['c', ''],
      ]),
    );
    expect(unwanted).toEqual(['c']);
    clock.advance(limits.discoveryWaitMs);
    expect(answers).toEqual(['ready', 'discovery-timeout']);
    hosts.answered(new Map([['b', '']]));
    expect(answers).toHaveLength(2);
  });
});
