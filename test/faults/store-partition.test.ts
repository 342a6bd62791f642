/**
 * One member of three is cut off from the others, and with it the only control plane that can reach no other: it refuses what it cannot know, and
 * says why; the rest goes on; once they see each other again nothing is missing and nothing is there twice.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, type Running, until } from '../e2e/harness.ts';
import { TcpProxy } from '../e2e/tcp-proxy.ts';
import { EtcdCluster, whyNoEtcd } from '../fixtures/etcd-cluster.ts';
import { PeerNetwork } from '../fixtures/peer-network.ts';
import { countsOf, planesSeenBy, StoreLoad, startPlane, timedCall } from './store-mesh.ts';

const reason = whyNoEtcd();
if (reason !== null) console.warn(`No member of etcd is cut off: ${reason}`);

const seed = Number(process.env.WEFT_STORE_SEED ?? Date.now() % 1_000_000);
/** What a control plane has for one question to etcd, and a little for a busy machine. */
const refusedWithinMs = 7_000;
const unavailable =
  /store on etcd \(etcd:.*\) is not available: .*Check that most of its members run and can be reached from here, then try again/;
const fence = (backend: string) => ({
  method: 'PUT',
  body: { apiVersion: 'weft.mesh/v1', kind: 'Service', metadata: { name: 'fence' }, spec: { endpoints: [backend] } },
});

describe.skipIf(reason !== null)('a control plane that reaches only a member that is cut off from the others', () => {
  let bench: Bench;
  let network: PeerNetwork;
  let cluster: EtcdCluster;
  let proxies: TcpProxy[];
  let lonely: Running;
  let other: Running;
  beforeEach(async () => {
    bench = new Bench();
    network = new PeerNetwork();
    bench.onClose(() => network.close());
    cluster = await EtcdCluster.start({ peersThrough: (address) => network.before(address) });
    bench.onClose(() => cluster.close());
    proxies = [];
    for (let index = 0; index < cluster.size; index++) {
      const proxy = await TcpProxy.before(cluster.addressOf(index));
      bench.onClose(() => proxy.close());
      proxies.push(proxy);
    }
    lonely = await startPlane(bench, { name: 'lonely', store: `etcd://${proxies.map(({ address }) => address)}` });
    other = await startPlane(bench, { name: 'other', store: `etcd://${cluster.addresses}` });
  });
  afterEach(() => bench.close());

  it.each(['the leading one', 'another one'])(
    'refuses writes and consistent reads until they are back: %s',
    async (which) => {
      // Whoever asks the lonely one waits for its refusal: most ask the other one.
      const load = new StoreLoad(bench, [lonely, other], {
        seed,
        clients: 12,
        alsoAsks: Array(4).fill(other.ready.api),
      });
      await load.more(50);
      const leader = await cluster.leader();
      const index = which === 'the leading one' ? leader : (leader + 1) % cluster.size;
      network.cutOff({ address: cluster.peerAddressOf(index), id: await cluster.idOf(index) });
      for (const [at, proxy] of proxies.entries()) if (at !== index) proxy.blackHole();

      // What the others write now, the lonely one cannot know.
      const written = await timedCall(other, '/v1/services/default/fence', fence('127.0.0.1:1'));
      expect([written.status, written.body]).toEqual([201, expect.any(String)]);
      const refusals = await Promise.all([
        timedCall(lonely, '/v1/services/default/fence', fence('127.0.0.1:2')),
        timedCall(lonely, '/v1/services/default/fence', { method: 'DELETE' }),
        timedCall(lonely, '/v1/services/default/fence?consistent=1'),
        timedCall(lonely, '/v1/services?consistent=1'),
      ]);
      for (const { status, body, tookMs } of refusals) {
        expect([status, JSON.parse(body).detail]).toEqual([503, expect.stringMatching(unavailable)]);
        expect(tookMs).toBeLessThan(refusedWithinMs);
      }
      // From memory it answers as ever: what it had.
      expect((await timedCall(lonely, '/v1/services')).status).toBe(200);
      expect((await timedCall(lonely, '/v1/services/default/fence')).status).toBe(404);
      await until(
        'the other one has seen that it is gone, and leads',
        async () => (await planesSeenBy(other)).map(({ isSelf, isLeader }) => isSelf && isLeader).join() === 'true',
        40_000,
      );

      const healedAtMs = performance.now();
      network.heal();
      for (const proxy of proxies) proxy.heal();
      await until(
        'it writes again',
        async () => (await timedCall(lonely, '/v1/services/default/fence', fence('127.0.0.1:3'))).status === 200,
        30_000,
      );
      const backMs = Math.round(performance.now() - healedAtMs);
      expect((await timedCall(other, '/v1/services/default/fence?consistent=1')).body).toContain('127.0.0.1:3');
      await load.more(50);
      const log = await load.check();
      // A refused write is not done later, by whoever kept it.
      const fences = log.flatMap(({ changes }) => (changes.has('fence') ? [changes.get('fence')] : []));
      expect(fences).toHaveLength(2);
      console.log(
        JSON.stringify({
          cutOff: which,
          seed,
          writtenInMs: Math.round(written.tookMs),
          backMs,
          ...countsOf(load.clients),
        }),
      );
      expect(backMs).toBeLessThanOrEqual(10_000);
    },
  );
});
