/**
 * Control planes that end or stand still while all of them write: nothing that was acknowledged is lost, what only one of them may do moves on to
 * another one, and who comes back believing that it still may is refused by etcd.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/model/limits.ts';
import { Bench, type Running, until } from '../e2e/harness.ts';
import { TcpProxy } from '../e2e/tcp-proxy.ts';
import { EtcdCluster, whyNoEtcd } from '../fixtures/etcd-cluster.ts';
import { longestGap } from './store-clients.ts';
import { countsOf, planesSeenBy, StoreLoad, startPlane, timedCall } from './store-mesh.ts';

const reason = whyNoEtcd();
if (reason !== null) console.warn(`No control plane on etcd is killed: ${reason}`);

const seed = Number(process.env.WEFT_STORE_SEED ?? Date.now() % 1_000_000);
/** Its lease on etcd, which this looks at twice a second, and the time to be elected. */
const takenOverWithinMs = limits.replicaLeaseMs + 6_000;
/** Little, and the objects large, so that a few writes are more than is kept. */
const historyCount = 2;
const fillChars = 300_000;

describe.skipIf(reason !== null)('control planes on etcd', () => {
  let bench: Bench;
  let cluster: EtcdCluster;
  beforeEach(async () => {
    bench = new Bench();
    cluster = await EtcdCluster.start();
    bench.onClose(() => cluster.close());
  });
  afterEach(() => bench.close());

  const direct = (): string => `etcd://${cluster.addresses}`;
  const leads = async (plane: Running, seenBy: Running): Promise<boolean> =>
    (await planesSeenBy(seenBy)).some(({ api, isLeader }) => isLeader && api.endsWith(plane.ready.api));

  it('are killed in the middle of writes, the leading one first: the others go on, one of them leads', async () => {
    const [first, second, third] = [
      await startPlane(bench, { name: 'first', store: direct() }),
      await startPlane(bench, { name: 'second', store: direct() }),
      await startPlane(bench, { name: 'third', store: direct() }),
    ];
    expect(await leads(first, second)).toBe(true);
    // Of one that is killed nobody asks what it tells in the end: its clients come to the others.
    const load = new StoreLoad(bench, [second, third], { seed, alsoAsks: [first.ready.api] });
    await load.more(60);
    const killedAtMs = performance.now();
    await first.kill('SIGKILL');
    await load.more(60);
    const outageMs = Math.round(longestGap(load.clients.acknowledgedAtMs, killedAtMs, performance.now()));
    await until(
      'another one leads',
      async () => (await leads(second, third)) || (await leads(third, second)),
      takenOverWithinMs + 10_000,
    );
    const movedMs = Math.round(performance.now() - killedAtMs);
    const back = await startPlane(bench, {
      name: 'first',
      store: direct(),
      api: first.ready.api,
      push: first.ready.push,
    });
    await load.more(60);
    expect(await leads(back, second)).toBe(false);
    await load.check();
    console.log(JSON.stringify({ killed: 'a control plane', seed, outageMs, movedMs, ...countsOf(load.clients) }));
    expect(outageMs).toBeLessThanOrEqual(3_000);
    expect(movedMs).toBeLessThanOrEqual(takenOverWithinMs);
  });

  it('stand still in the middle of what only the leading one does: it comes too late, and changes nothing', async () => {
    const proxies: TcpProxy[] = [];
    for (let index = 0; index < cluster.size; index++) {
      const proxy = await TcpProxy.before(cluster.addressOf(index));
      bench.onClose(() => proxy.close());
      proxies.push(proxy);
    }
    const stopped = await startPlane(bench, {
      ...{ name: 'stopped', store: `etcd://${proxies.map(({ address }) => address)}`, historyCount },
    });
    const other = await startPlane(bench, { name: 'other', store: direct(), historyCount });
    expect(await leads(stopped, other)).toBe(true);

    // The first write of its shortening of the log is held on its way, and with it the process.
    let isTrapped = false;
    for (const proxy of proxies)
      proxy.onBytes = (bytes, way) => {
        if (isTrapped || way === 'back' || !bytes.includes('/bulk/snapshot/')) return;
        isTrapped = true;
        for (const one of proxies) one.blackHole();
        stopped.process.kill('SIGSTOP');
      };
    let written = 0;
    const grow = async () => {
      const fill = `${written++} `.padEnd(fillChars, 'x');
      expect((await writeAt(other, 'large', { fill })).status).toBeLessThan(300);
    };
    await until('it begins to shorten the log', async () => grow().then(() => isTrapped), 60_000);
    await until('the other one leads', async () => (await isAlone(other)) && leads(other, other), takenOverWithinMs);
    await until('and has shortened the log', async () => (await baseOf(cluster)) !== null, 60_000);
    const base = await baseOf(cluster);
    const chunks = await keysBelow(cluster, 'weft/bulk/snapshot/');
    expect(chunks).toHaveLength(1);

    // What was held arrives: etcd answers, and the process still stands.
    let answered = 0;
    for (const proxy of proxies)
      proxy.onBytes = (bytes, way) => {
        if (way === 'back') answered += bytes.length;
      };
    for (const proxy of proxies) proxy.heal();
    await until('etcd has answered', () => answered > 0);
    expect(await keysBelow(cluster, 'weft/bulk/snapshot/')).toEqual(chunks);
    stopped.process.kill('SIGCONT');

    // It is one of them, and not the leading one; what it writes as any of them counts.
    await until('it is back', async () => (await planesSeenBy(other)).length === 2, 20_000);
    await until('it writes', async () => (await writeAt(stopped, 'late')).status < 300, 20_000);
    expect(await leads(other, stopped)).toBe(true);
    expect(await baseOf(cluster)).toEqual(base);
    expect(await keysBelow(cluster, 'weft/bulk/snapshot/')).toEqual(chunks);
    const [own, others] = await Promise.all(
      [stopped, other].map(async (plane) => JSON.parse((await timedCall(plane, '/v1/services?consistent=1')).body)),
    );
    expect(own).toEqual(others);
  });
});

const isAlone = async (plane: Running): Promise<boolean> => (await planesSeenBy(plane)).length === 1;

const writeAt = (plane: Running, name: string, annotations = {}) =>
  timedCall(plane, `/v1/services/default/${name}`, {
    method: 'PUT',
    body: { apiVersion: 'weft.mesh/v1', kind: 'Service', metadata: { name, annotations }, spec: {} },
  });

/** What readers of the store begin with, and how often that was written; null: the first revision. */
async function baseOf(cluster: EtcdCluster): Promise<{ readonly value: string; readonly version: string } | null> {
  const [found] = await entriesFrom(cluster, 'weft/live/base');
  return found === undefined ? null : { value: textOf(found.value), version: found.version };
}

const keysBelow = async (cluster: EtcdCluster, prefix: string): Promise<string[]> =>
  (await entriesFrom(cluster, prefix, `${prefix.slice(0, -1)}0`)).map(({ key }) => textOf(key));

interface Entry {
  readonly key: string;
  readonly value: string;
  readonly version: string;
}

async function entriesFrom(cluster: EtcdCluster, from: string, to?: string): Promise<readonly Entry[]> {
  const range = { key: base64(from), ...(to === undefined ? {} : { range_end: base64(to) }) };
  return ((await cluster.post('/v3/kv/range', range)).kvs as readonly Entry[] | undefined) ?? [];
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const textOf = (encoded: string): string => Buffer.from(encoded, 'base64').toString();
