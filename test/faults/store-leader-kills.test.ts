/**
 * Three members of etcd, two control planes, clients that write and read through both, and etcd's leading member killed again and again: what was
 * acknowledged is there once, what was told is true at some moment of each question, and writes go on within 3 s.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, type Running, until } from '../e2e/harness.ts';
import { EtcdCluster, whyNoEtcd } from '../fixtures/etcd-cluster.ts';
import { longestGap } from './store-clients.ts';
import { countsOf, StoreLoad, startPlane } from './store-mesh.ts';

const reason = whyNoEtcd();
if (reason !== null) console.warn(`The leader of etcd is not killed: ${reason}`);

const kills = Number(process.env.WEFT_STORE_KILLS ?? 100);
const seed = Number(process.env.WEFT_STORE_SEED ?? Date.now() % 1_000_000);
const outageMsMax = 3_000;
/** Short enough that the log is shortened while leaders are killed; long enough for the writes between two kills. */
const historyCount = 2_000;
/** Between two kills, so that a member that came back is one of three again. */
const writesBetween = 20;
/** As docs/store.md advises: by itself etcd takes 1 to 2 s for an election, and as long again when votes are split. */
const etcdFlags = ['--heartbeat-interval', '50', '--election-timeout', '500'];

describe.skipIf(reason !== null)('etcd, whose leading member is', () => {
  let bench: Bench;
  let cluster: EtcdCluster;
  let planes: Running[];
  beforeEach(async () => {
    bench = new Bench();
    cluster = await EtcdCluster.start({ flags: etcdFlags });
    bench.onClose(() => cluster.close());
    planes = [];
    for (const name of ['one', 'other'])
      planes.push(await startPlane(bench, { name, store: `etcd://${cluster.addresses}`, historyCount }));
  });
  afterEach(() => bench.close());

  it.each([
    { fault: 'killed', times: kills },
    { fault: 'stopped', times: Math.ceil(kills / 10) },
  ] as const)(
    `$times times $fault, loses no acknowledged write, tells nothing that is not so, and takes writes again within ${outageMsMax} ms`,
    { timeout: 120_000 + kills * 30_000 },
    async ({ fault, times }) => {
      const load = new StoreLoad(bench, planes, { seed });
      const { clients } = load;
      const outages: Outage[] = [];
      for (let time = 1; time <= times; time++) {
        outages.push(await outageOf(load, fault));
        await Promise.all(load.logs.map((log) => log.collect()));
        if (time % 10 === 0 || time === times) console.log(`${fault} ${time} of ${times}: ${shown(load, outages)}`);
      }
      const writing = clients.acknowledgedAtMs;
      const longestMs = Math.round(longestGap(writing, writing[0]!, performance.now()));
      const log = await load.check();
      console.log(
        JSON.stringify({
          ...{
            leader: fault,
            times,
            seed,
            ...figuresOf(outages),
            longestMs,
            ...countsOf(clients),
            revisions: log.length,
          },
          watchesBegunAnew: load.logs.map(({ reconnects }) => reconnects),
        }),
      );

      // Of each kind there was something to find out.
      const { done, refused, reads } = countsOf(clients);
      expect(done).toBeGreaterThan(times * 20);
      expect(refused).toBeGreaterThan(times);
      expect(reads).toBeGreaterThan(times * 10);
      expect(clients.counts.retried).toBeGreaterThan(times / 2);
      expect(clients.counts.repeated).toBeGreaterThan(times);
      // Neither a member that goes nor one that comes back.
      expect(Math.max(...outages.map(({ ms }) => ms), longestMs)).toBeLessThanOrEqual(outageMsMax);
    },
  );

  /** One fault of the leading member, from before it until it is back. */
  async function outageOf(load: StoreLoad, fault: 'killed' | 'stopped'): Promise<Outage> {
    const acknowledged = load.clients.acknowledgedAtMs;
    await load.more(writesBetween);
    const before = await cluster.leadership();
    const delays = monitorEventLoopDelay({ resolution: 5 });
    delays.enable();
    const faultAtMs = performance.now();
    if (fault === 'killed') await cluster.kill(before.member);
    else cluster.freeze(before.member);
    const elected = cluster.leadership().then(() => performance.now() - faultAtMs);
    const unclear = new Map(load.clients.unclear);
    // Some answers are still on their way.
    const later = () => acknowledged.length - acknowledged.findLastIndex((atMs) => atMs <= faultAtMs + 200) - 1;
    await until('it writes again', () => later() > 20, 60_000);
    const ms = longestGap(acknowledged, faultAtMs, performance.now());
    delays.disable();
    const electedMs = await elected;
    const elections = (await cluster.leadership()).term - before.term;
    const outage = { ms, electedMs, elections, stallMs: delays.max / 1e6 };
    if (ms > outageMsMax) {
      const told = [...load.clients.unclear].filter(([why, count]) => count > (unclear.get(why) ?? 0));
      console.log(
        `no write for ${Math.round(ms)} ms: ${JSON.stringify(outage)}; clients heard ${JSON.stringify(told)}`,
      );
      for (const { logs } of planes) console.log(logs().slice(-2_000));
    }
    await (fault === 'killed' ? cluster.revive(before.member) : cluster.thaw());
    return outage;
  }
});

interface Outage {
  /** Without an acknowledged write. */
  readonly ms: number;
  /** From the fault until another member led, which is etcd's part of it. */
  readonly electedMs: number;
  /** Until it writes again. More than one: votes were split, or a member was kept waiting by the machine for longer than it waits for a leader. */
  readonly elections: number;
  /** The longest that this process was kept waiting meanwhile: what the machine did beside. */
  readonly stallMs: number;
}

const figuresOf = (outages: readonly Outage[]) => ({
  outageMs: quantiles(outages.map(({ ms }) => ms)),
  electedMs: quantiles(outages.map(({ electedMs }) => electedMs)),
  afterElectionMs: quantiles(outages.map(({ ms, electedMs }) => ms - electedMs)),
  stallMs: quantiles(outages.map(({ stallMs }) => stallMs)),
  moreElections: outages.filter(({ elections }) => elections > 1).length,
});

function shown({ clients }: StoreLoad, outages: readonly Outage[]): string {
  const { done, refused, unknown, retried } = countsOf(clients);
  const counts = `${done} written, ${refused} refused, ${unknown} unknown, ${retried} sent again`;
  return `${JSON.stringify(figuresOf(outages))}; ${counts}`;
}

function quantiles(values: readonly number[]): { p50: number; p99: number; max: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0);
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
