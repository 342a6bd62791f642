import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { DescribedRequest } from '../../../src/model/decision.ts';
import { formatAddress, isSocketPath } from '../../../src/model/host-port.ts';
import type { RecentQuery } from '../../../src/model/recent-request.ts';
import type { DryAnswer } from '../../../src/proxy/dry-run.ts';
import { bindServer } from '../../../src/proxy/listener/bind-server.ts';
import { ListenError } from '../../../src/proxy/listener/listen-error.ts';
import { KeptPorts } from '../../../src/sidecar/kept-ports.ts';
import type { LoopChange, LoopReadings, WantedListener } from '../../../src/sidecar/loop.ts';
import { Loops, type OwnLoop } from '../../../src/sidecar/loops.ts';
import { everyRequest } from '../../../src/sidecar/request-query.ts';
import { RequestRing } from '../../../src/telemetry/request-ring.ts';
import { SeriesRecorder } from '../../../src/telemetry/series.ts';
import { endRequest } from '../../fixtures/finished-request.ts';
import { silentLogger } from '../control/memory-store.ts';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

const change: LoopChange = { revision: 2, changed: [], left: [], own: null };

/** A loop that notes what it is asked, and binds links so that the next one cannot have the same port. */
class FakeLoop implements OwnLoop {
  readonly wanted: WantedListener[] = [];
  readonly swaps: number[] = [];
  readonly recorder = new SeriesRecorder();
  left = 0;
  swapFault: Error | null = null;

  constructor(private readonly loop: number) {}

  table() {
    return this.recorder.table();
  }

  async listen(wanted: WantedListener): Promise<string> {
    this.wanted.push(wanted);
    if (isSocketPath(wanted.at)) return formatAddress(wanted.at);
    const { host, port } = wanted.at;
    if (wanted.name !== 'link') return `${host}:${port === 0 ? 7_000 : port}`;
    const server = createServer();
    cleanups.push(() => server.close());
    return bindServer(server, host, port);
  }

  async prepare(): Promise<void> {}

  async runDry({ host }: DescribedRequest): Promise<DryAnswer> {
    return { failure: null, detail: host, location: '', decision: null };
  }

  swapNow({ revision }: LoopChange): void {
    if (this.swapFault !== null) throw this.swapFault;
    this.swaps.push(revision);
  }

  async swap(next: LoopChange): Promise<void> {
    this.swapNow(next);
  }

  async readings(): Promise<LoopReadings> {
    return {
      upstreams: [{ destination: 'cart.default', connections: 2, idle: 1, pending: this.loop }],
      listeners: [{ listener: 'outbound', connections: 3 + this.loop, connectionsUsedUp: 0 }],
      failures: [{ direction: 'outbound', code: 'no-route', count: 1 }],
      retries: [],
      loop: { longestTurnMs: this.loop, utilization: 0 },
      requests: 3,
      overflowed: 1,
      accessLogLinesDropped: this.loop,
      accessLogLinesLeftOut: 1,
      spansDropped: { 'queue-full': this.loop, 'over-rate': 2 },
      revision: 7,
    };
  }

  readonly ring = new RequestRing();
  isSilent = false;

  async requests(query: RecentQuery) {
    return this.isSilent ? null : this.ring.find(query);
  }

  async hops(service: string) {
    return this.isSilent ? null : this.ring.hops(service);
  }

  drainLinks(): void {}

  async drainInbound(): Promise<number> {
    return this.left;
  }

  async settle(): Promise<void> {}
  async close(): Promise<void> {}
}

function threeLoops() {
  const all = [0, 1, 2].map((loop) => new FakeLoop(loop)) as [FakeLoop, FakeLoop, FakeLoop];
  return { all, loops: new Loops(all[0], all.slice(1)) };
}

describe('a listener of several loops', () => {
  it('is opened by the first, which says where, and then by the others at the same port', async () => {
    const { all, loops } = threeLoops();
    expect(await loops.listen('outbound', { host: '127.0.0.1', port: 0 }, true)).toBe('127.0.0.1:7000');
    expect(all.map(({ wanted }) => wanted[0])).toEqual(
      [0, 7_000, 7_000].map((port) => ({ name: 'outbound', at: { host: '127.0.0.1', port }, isShared: true })),
    );
  });

  it("is the first one's alone where its core shares no port", async () => {
    const { all, loops } = threeLoops();
    await loops.listen('inbound', { host: '127.0.0.1', port: 0 }, false);
    expect(all.map(({ wanted }) => wanted.map(({ isShared }) => isShared))).toEqual([[false], [], []]);
  });

  it("is the first one's alone at a unix socket, whatever its core", async () => {
    const { all, loops } = threeLoops();
    expect(await loops.listen('outbound', { path: '/run/out.sock' }, true)).toBe('unix:/run/out.sock');
    expect(all.map(({ wanted }) => wanted)).toEqual([
      [{ name: 'outbound', at: { path: '/run/out.sock' }, isShared: false }],
      [],
      [],
    ]);
    expect(loops.bound).toEqual([{ name: 'outbound', address: 'unix:/run/out.sock' }]);
  });

  it('is not opened at a port that somebody else has, who might share it', async () => {
    const { all, loops } = threeLoops();
    const server = createServer();
    cleanups.push(() => server.close());
    const [host, port] = (await bindServer(server, '127.0.0.1', 0)).split(':') as [string, string];
    const refused = loops.listen('upstream:cart', { host, port: Number(port) }, true);
    await expect(refused).rejects.toThrow(ListenError);
    await expect(refused).rejects.toThrow(/^--upstream: cannot listen on/);
    expect(all[0].wanted).toEqual([]);
  });
});

describe('the last requests of several loops', () => {
  it('are one list, newest first, and say how many loops are missing', async () => {
    const { all, loops } = threeLoops();
    all.forEach(({ ring }, loop) => {
      for (const second of [0, 3])
        endRequest(ring, { atMs: 1_000 * (loop + second), spanId: String(loop + second).repeat(16) });
    });
    const answer = await loops.requests({ ...everyRequest, limit: 4 });
    expect(answer.requests.map(({ spanId }) => spanId[0])).toEqual(['5', '4', '3', '2']);
    expect([answer.recorded, answer.loopsMissing]).toEqual([6, 0]);
    expect((await loops.latency('cart')).hops.map(({ requests }) => requests)).toEqual([6]);
    all[1].isSilent = true;
    expect(await loops.requests(everyRequest)).toMatchObject({ recorded: 4, loopsMissing: 1 });
    expect(await loops.latency('cart')).toMatchObject({ hops: [{ requests: 4 }], loopsMissing: 1 });
  });
});

describe('the link listeners of several loops', () => {
  it('are one a loop, at the same ports after a restart', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'weft-loops-'));
    cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
    const open = async () => {
      const options = { directory, service: 'cart', namespace: 'default', logger: silentLogger };
      const ports = await KeptPorts.load(options);
      const { loops } = threeLoops();
      await loops.listenForLinks({ host: '127.0.0.1', port: 0 }, ports);
      await ports.save();
      expect(loops.bound).toEqual([{ name: 'link', address: loops.links[0] }]);
      return loops.links;
    };
    const before = await open();
    expect(new Set(before).size).toBe(3);
    for (const close of cleanups.splice(1)) close();
    expect(await open()).toEqual(before);
  });
});

describe('a change on several loops', () => {
  it('reaches none when the first cannot open it', () => {
    const { all, loops } = threeLoops();
    all[0].swapFault = new Error('no');
    expect(() => loops.swap(change)).toThrow('no');
    expect(all.map(({ swaps }) => swaps)).toEqual([[], [], []]);
  });

  it('is refused when one of the others does not take it, and is in force at once on the first', async () => {
    const { all, loops } = threeLoops();
    all[2].swapFault = new Error('late');
    const swapped = loops.swap(change);
    expect(all[0].swaps).toEqual([2]);
    await expect(swapped).rejects.toThrow('late');
    expect(all.map(({ swaps }) => swaps)).toEqual([[2], [2], []]);
  });
});

describe('what several loops say', () => {
  it('is one list of all, with sums where there is one number', async () => {
    const { all, loops } = threeLoops();
    const input = await loops.metricsInput({
      config: { revision: 7, isConnected: true, nacks: 0 },
      certificateExpiresAtMs: null,
      exporter: {
        exported: 9,
        dropped: { 'queue-full': 0, 'over-rate': 0, unreachable: 4, refused: 5, ended: 0 },
      },
    });
    expect(input.spans).toEqual({
      exported: 9,
      dropped: { 'queue-full': 3, 'over-rate': 6, unreachable: 4, refused: 5, ended: 0 },
    });
    expect(input.accessLogLinesLeftOut).toBe(3);
    expect(input.tables).toEqual(all.map((loop) => loop.table()));
    expect(input.loops.map(({ connections, longestTurnMs }) => [connections, longestTurnMs])).toEqual([
      [3, 0],
      [4, 1],
      [5, 2],
    ]);
    expect([input.upstreams.length, input.failures.length, input.overflowed, input.accessLogLinesDropped]).toEqual([
      3, 3, 3, 3,
    ]);
    expect(await loops.describe()).toEqual(
      [0, 1, 2].map((loop) => ({ loop, connections: { outbound: 3 + loop }, revision: 7 })),
    );
  });

  it('sums up the requests that a drain leaves', async () => {
    const { all, loops } = threeLoops();
    all[0].left = 1;
    all[2].left = 2;
    expect(await loops.drainInbound(0)).toBe(3);
  });
});
