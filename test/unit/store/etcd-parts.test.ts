/** What of the store on etcd needs no etcd: addresses, keys, chunks, the queue, who ends which lease. */
import { describe, expect, it } from 'vitest';
import { EtcdFailure } from '../../../src/control/store/etcd-calls.ts';
import { chunksOf } from '../../../src/control/store/etcd-chunks.ts';
import { sayingOf } from '../../../src/control/store/etcd-codec.ts';
import { EtcdKeys } from '../../../src/control/store/etcd-keys.ts';
import { EtcdLeases } from '../../../src/control/store/etcd-leases.ts';
import { parseEtcdUrl, shownEtcdUrl } from '../../../src/control/store/etcd-location.ts';
import { EtcdOutage } from '../../../src/control/store/etcd-outage.ts';
import { StoreError } from '../../../src/control/store/store-error.ts';
import { shownStoreUrl } from '../../../src/control/store/store-location.ts';
import { WriteQueue } from '../../../src/control/store/write-queue.ts';
import { limits } from '../../../src/model/limits.ts';
import { ManualClock } from './manual-clock.ts';

describe('the address of a store on etcd', () => {
  it('names members, a user with or without password, a prefix, and TLS', () => {
    expect(parseEtcdUrl('etcd://10.0.0.1:2379')).toEqual({
      members: ['10.0.0.1:2379'],
      prefix: 'weft',
      isTls: false,
      user: null,
      password: null,
    });
    expect(parseEtcdUrl('etcds://me:p%40ss%2F@a.example:2379,[::1]:2380/mesh/a/')).toEqual({
      members: ['a.example:2379', '[::1]:2380'],
      prefix: 'mesh/a',
      isTls: true,
      user: 'me',
      password: 'p@ss/',
    });
  });

  it.each([
    'etcd:',
    'etcd://',
    'etcd://host',
    'etcd://host:0',
    'etcd://host:65536',
    'etcd://a:1,,b:1',
    'etcd://a:1 b:2',
    'etcd://a:1/with space',
    'etcd://a:1/a//b',
    'etcd://u:%zz@a:1',
    `etcd://${Array.from({ length: 17 }, () => 'a:1').join(',')}`,
  ])('is refused when it is %s', (url) => {
    expect(() => parseEtcdUrl(url)).toThrow(/not understood/);
  });

  it('is shown and complained about without its password', () => {
    expect(shownStoreUrl('etcds://me:secret@a:1,b:2/x')).toBe('etcds://me@a:1,b:2/x');
    expect(shownEtcdUrl(parseEtcdUrl('etcd://a:1'))).toBe('etcd://a:1');
    expect(() => parseEtcdUrl('etcd://me:secret@a')).toThrow(expect.not.stringContaining('secret'));
  });
});

describe('keys on etcd', () => {
  const keys = new EtcdKeys('a/b');

  it('sort as their revisions do, within their ranges', () => {
    const revisions = [1, 9, 10, 99, 100, 2 ** 40, Number.MAX_SAFE_INTEGER].map((revision) => keys.revision(revision));
    expect([...revisions].sort()).toEqual(revisions);
    const own = [...revisions, keys.head, keys.lease('x'), keys.replica('y'), keys.leader, keys.base, keys.format];
    for (const key of own) expect(key >= keys.live.from && key < keys.live.to).toBe(true);
    expect(keys.revisionChunk(1, 'x', 0) >= keys.bulk.from && keys.revisionChunk(1, 'x', 0) < keys.bulk.to).toBe(true);
  });

  it('say what they are of, whatever an id holds', () => {
    expect(keys.parse(keys.revision(42))).toEqual({ tag: 'revision', revision: 42 });
    expect(keys.parse(keys.lease('a/b 漢'))).toEqual({ tag: 'lease', id: 'a/b 漢' });
    expect(keys.parse(`${keys.live.from}new/thing`)).toEqual({ tag: 'unknown' });
  });

  it('before a revision leave that one and its chunks', () => {
    const [own, chunks] = keys.revisionsBefore(10);
    expect(keys.revision(9) < own!.to && keys.revision(10) >= own!.to).toBe(true);
    expect(keys.revisionChunk(9, 'zz', 5) < chunks!.to && keys.revisionChunk(10, 'aa', 0) >= chunks!.to).toBe(true);
  });
});

describe('chunks', () => {
  it.each([1, 2, 3, 7, 64, 1_000])('of %d bytes are the text again', (bytesMax) => {
    const pieces = ['', 'a', 'ü漢😀'.repeat(20), '', 'x'.repeat(64), '\n'];
    const chunks = [...chunksOf(pieces, bytesMax)];
    for (const [index, chunk] of chunks.entries())
      expect(chunk.length).toBe(index === chunks.length - 1 ? chunk.length : bytesMax);
    expect(Math.max(...chunks.map(({ length }) => length))).toBeLessThanOrEqual(bytesMax);
    expect(Buffer.concat(chunks).toString('utf8')).toBe(pieces.join(''));
  });

  it('of nothing are none', () => {
    expect([...chunksOf([])]).toEqual([]);
  });
});

describe('a queue of writes', () => {
  it('makes one after the other, also behind one that fails, and knows when it is idle', async () => {
    const queue = new WriteQueue(new ManualClock());
    const done: string[] = [];
    const first = queue.add(async () => {
      await Promise.resolve();
      done.push('first');
      throw new Error('no');
    });
    const second = queue.add(async (untilMs) => {
      done.push('second');
      return untilMs;
    });
    const idle = queue.idle().then(() => done.push('idle'));
    await expect(first).rejects.toThrow('no');
    expect(await second).toBe(new ManualClock().nowMs() + limits.etcdWriteMs);
    await idle;
    expect(done).toEqual(['first', 'second', 'idle']);
  });

  it('does not begin what is too late when its turn comes', async () => {
    const clock = new ManualClock();
    const queue = new WriteQueue(clock);
    let begun = 0;
    const slow = queue.add(async () => clock.advance(limits.etcdWriteMs));
    const late = queue.add(async () => begun++);
    await slow;
    await expect(late).rejects.toMatchObject({
      code: 'store-unavailable',
      message: expect.stringContaining('Nothing was written'),
    });
    expect(begun).toBe(0);
    expect(await queue.add(async () => 'next')).toBe('next');
  });

  it('refuses more than its bound', async () => {
    const queue = new WriteQueue(new ManualClock());
    let release: () => void = () => {};
    const held = queue.add(() => new Promise<void>((resolve) => (release = resolve)));
    await Promise.resolve();
    await Promise.resolve();
    const waiting = Array.from({ length: limits.storeWritesPendingMax }, () => queue.add(async () => {}));
    await expect(queue.add(async () => {})).rejects.toMatchObject({ code: 'store-full' });
    release();
    await Promise.all([held, ...waiting]);
  });
});

describe('leases on etcd', () => {
  const of = (id: string, holder: string, modRevision: number) => ({
    id,
    value: 'v',
    ttlMs: 15_000,
    holder,
    modRevision,
  });
  const ended: string[] = [];
  const make = () => {
    const clock = new ManualClock();
    ended.length = 0;
    const leases = new EtcdLeases(clock, 'self', (some) => ended.push(...some.map(({ id }) => id)));
    clock.advance(limits.leaseGraceMs);
    return { clock, leases };
  };

  it('of a living other one do not end here; of one that is gone they do, a term later', () => {
    const { clock, leases } = make();
    leases.setLiving('other', true);
    leases.take(of('a', 'other', 1));
    clock.advance(100_000);
    expect(ended).toEqual([]);
    leases.setLiving('other', false);
    clock.advance(14_999);
    expect(ended).toEqual([]);
    clock.advance(1);
    expect(ended).toEqual(['a']);
  });

  it('of one that was away for a moment go on', () => {
    const { clock, leases } = make();
    leases.setLiving('other', true);
    leases.take(of('a', 'other', 1));
    leases.setLiving('other', false);
    clock.advance(10_000);
    leases.setLiving('other', true);
    clock.advance(100_000);
    expect(ended).toEqual([]);
  });

  it('that another one has put are no longer ended here, and what comes late changes nothing', () => {
    const { clock, leases } = make();
    leases.setLiving('other', true);
    expect(leases.take(of('a', 'self', 1))).toMatchObject({ tag: 'lease' });
    expect(leases.take(of('a', 'other', 3))).toBeNull();
    expect(leases.take(of('a', 'self', 2))).toBeNull();
    expect(leases.isOwn('a')).toBe(false);
    clock.advance(100_000);
    expect(ended).toEqual([]);
  });
});

describe('an outage of etcd', () => {
  it('is told after two failures in a row, since the first of them, and ends with what succeeds', () => {
    const clock = new ManualClock();
    const outage = new EtcdOutage(clock);
    const beganMs = clock.nowMs();
    const away = new EtcdFailure('unavailable', 'a:1 did not answer in time');
    outage.failed(away);
    expect(outage.current).toBeNull();
    clock.advance(1_000);
    outage.failed(new StoreError('store-unavailable', 'The store is not available: and so on.', away));
    expect(outage.current).toEqual({ sinceMs: beganMs, reason: 'a:1 did not answer in time' });
    outage.ended();
    expect(outage.current).toBeNull();
    clock.advance(1_000);
    outage.failed(away);
    outage.failed(new Error('a:1 has no leader'));
    expect(outage.current).toEqual({ sinceMs: beganMs + 2_000, reason: 'a:1 has no leader' });
  });

  const withCode = (code: number, message: string) => Object.assign(new Error(message), { code });
  it.each([
    [withCode(4, '4 DEADLINE_EXCEEDED: Deadline exceeded after 0.7s,LB pick: 0.7s'), 'a:1 did not answer in time'],
    [
      withCode(
        14,
        '14 UNAVAILABLE: No connection established. Last error: connect ECONNREFUSED 127.0.0.1:1. Resolution note: .',
      ),
      'a:1 cannot be connected to (ECONNREFUSED)',
    ],
    [
      withCode(14, '14 UNAVAILABLE: No connection established. Last error: self-signed certificate. Resolution note: '),
      'a:1: no connection: self-signed certificate',
    ],
    [withCode(14, '14 UNAVAILABLE: etcdserver: no leader'), 'a:1 has no leader'],
    [
      withCode(14, '14 UNAVAILABLE: etcdserver: request timed out'),
      'a:1 had no answer from most of the members in time',
    ],
    [new EtcdFailure('unavailable', 'b:2 has no leader'), 'b:2 has no leader'],
    [new Error('14 UNAVAILABLE: '), 'a:1: it failed and does not say why'],
  ])('is told in words and not in those of gRPC: %s', (error, said) => {
    expect(sayingOf('a:1', error)).toBe(said);
  });
});
