import { describe, expect, it } from 'vitest';
import type { EtcdEntry } from '../../../src/control/store/etcd-calls.ts';
import { EtcdKeys } from '../../../src/control/store/etcd-keys.ts';
import { readState } from '../../../src/control/store/etcd-state.ts';
import { UnreadableKeys } from '../../../src/control/store/etcd-unreadable.ts';

const keys = new EtcdKeys('weft');

function stateOf(values: Readonly<Record<string, string>>, onUnreadable?: (key: string) => void) {
  const entries = Object.entries(values).map(
    ([key, value]): EtcdEntry => ({ key, bytes: Buffer.from(value), modRevision: 1, createRevision: 1 }),
  );
  const calls = { read: async () => ({ entries, hasMore: false, etcdRevision: 1 }) };
  return readState(calls, keys, onUnreadable);
}

describe('a store on etcd with values that Weft has not written', () => {
  it('has the leases that can be read, and names the others', async () => {
    const good = JSON.stringify({ value: 'x', ttlMs: 1_000, holder: 'h' });
    const bad = ['not json', 'null', '7', '{}', '{"value":"x","ttlMs":"1","holder":"h"}', '{"value":"x","ttlMs":1}'];
    const named: string[] = [];
    const spoilt = Object.fromEntries(bad.map((value, i) => [keys.lease(`bad${i}`), value]));
    const state = await stateOf({ ...spoilt, [keys.lease('good')]: good }, (key) => named.push(key));
    expect(state.leases.map(({ id }) => id)).toEqual(['good']);
    expect(named).toEqual(Object.keys(spoilt));
  });

  it.each([
    [keys.head, 'garbage'],
    [keys.head, ''],
    [keys.head, '-1'],
    [keys.base, 'garbage'],
    [keys.base, '{"revision":"x"}'],
  ])('is damaged when %s is %j, and says so', async (key, value) => {
    await expect(stateOf({ [key]: value })).rejects.toMatchObject({
      code: 'store-unusable',
      message: expect.stringContaining(`its key ${key} has the value ${JSON.stringify(value)}`),
    });
  });

  it('is damaged when one of its revisions cannot be read, and says which', async () => {
    const spoilt = stateOf({ [keys.head]: '1', [keys.revision(1)]: 'garbage' });
    await expect(spoilt).rejects.toThrow(`its key ${keys.revision(1)} has the value "garbage"`);
  });
});

describe('keys that are passed over', () => {
  it('make one line a second', () => {
    let nowMs = 0;
    const lines: string[] = [];
    const unreadable = new UnreadableKeys({ nowMs: () => nowMs }, (line) => lines.push(line));
    for (let i = 0; i < 100; i++) unreadable.skip(`weft/live/lease/${i}`);
    nowMs = 1_000;
    unreadable.skip('weft/live/lease/last');
    expect(lines).toEqual([
      expect.stringMatching(/^The key weft\/live\/lease\/0 on etcd has a value/),
      expect.stringMatching(/^The key weft\/live\/lease\/last on etcd \(and 99 before it\) has a value/),
    ]);
  });
});
