/**
 * All event loops of a sidecar, as its cold half sees them: its own, which it serves requests on too, and those in threads. What happens on
 * each of them happens on all, and what they count is one count.
 */

import type { DescribedRequest } from '../model/decision.ts';
import { type HostPort, isSocketPath, type LocalAddress, splitAddress } from '../model/host-port.ts';
import type { LatencyAnswer, RecentAnswer, RecentQuery } from '../model/recent-request.ts';
import type { DryAnswer } from '../proxy/dry-run.ts';
import { probePort } from '../proxy/listener/free-port.ts';
import { latencyOf } from '../telemetry/breakdown.ts';
import type { MetricsInput } from '../telemetry/render.ts';
import type { SeriesTable } from '../telemetry/series.ts';
import type { KeptPorts } from './kept-ports.ts';
import type { CompiledChange, Loop, LoopChange, LoopListenerName, LoopReadings } from './loop.ts';
import { metricsInputOf, type OwnMetrics } from './metrics-input.ts';
import { nameFlag } from './serving-loop.ts';

/** The loop that the cold half runs on itself. */
export interface OwnLoop extends Loop {
  /** Opens what the next `swapNow` is to bring, without holding the loop. Rejects when it cannot be opened. */
  prepare(change: CompiledChange): Promise<void>;
  /** Within the call. Throws what is wrong with the change, which has changed nothing then. */
  swapNow(change: LoopChange): void;
  /** What would become of a request of the own app. */
  runDry(asked: DescribedRequest): Promise<DryAnswer>;
}

export interface BoundListener {
  readonly name: LoopListenerName;
  /** `HOST:PORT` or `unix:/PATH`. */
  readonly address: string;
}

export class Loops {
  /** Those that several loops share count once; of links there is the first loop's. */
  readonly bound: BoundListener[] = [];
  /** `HOST:PORT` by loop; empty: there are none. */
  links: readonly string[] = [];
  private readonly all: readonly Loop[];

  constructor(
    private readonly own: OwnLoop,
    private readonly others: readonly Loop[],
  ) {
    this.all = [own, ...others];
  }

  get count(): number {
    return this.all.length;
  }

  /** In the order of the loops, which never changes. */
  tables(): readonly SeriesTable[] {
    return this.all.map((loop) => loop.table());
  }

  /** Resolves when `tables` has every row that requests have made which are over now: those of threads come behind them. */
  async catchUp(): Promise<void> {
    await Promise.all(this.others.map((loop) => loop.readings()));
  }

  // --- Listeners -----------------------------------------------------------------------------------------------------------------

  /**
   * Opens a listener on all loops at one port where its core can share ports, or else on the first loop alone: a unix socket has one listener.
   * Port 0 is any free one. Resolves with `HOST:PORT` or `unix:/PATH`; rejects with ListenError, which names the flag.
   */
  async listen(name: LoopListenerName, at: LocalAddress, canShare: boolean): Promise<string> {
    const address =
      isSocketPath(at) || !canShare || this.others.length === 0
        ? await this.own.listen({ name, at, isShared: false })
        : await this.listenOnAll(name, at);
    this.bound.push({ name, address });
    return address;
  }

  private async listenOnAll(name: LoopListenerName, at: HostPort): Promise<string> {
    // Sharing is silent, also with a process that nobody meant.
    if (at.port !== 0) await probePort(at.host, at.port).catch(nameFlag(name.split(':')[0]!));
    const address = await this.own.listen({ name, at, isShared: true });
    const sameAt = { host: at.host, port: splitAddress(address).port };
    await Promise.all(this.others.map((loop) => loop.listen({ name, at: sameAt, isShared: true })));
    return address;
  }

  /** A link listener on each loop, for Node's servers share no port: at `at` and the ports behind it, or at any free ones for port 0. */
  async listenForLinks(at: HostPort, ports: KeptPorts): Promise<void> {
    const links: string[] = [];
    for (const [index, loop] of this.all.entries()) {
      const wanted = at.port === 0 ? at : { host: at.host, port: at.port + index };
      const { address } = await ports.listen(index === 0 ? 'link' : `link-${index}`, wanted, async (where) => ({
        address: await loop.listen({ name: 'link', at: where, isShared: false }),
      }));
      links.push(address);
    }
    this.links = links;
    this.bound.push({ name: 'link', address: links[0]! });
  }

  // --- Configuration and readings ------------------------------------------------------------------------------------------------

  /** Ahead of `swap`, on the loop that the cold half shares. Rejects when it cannot be opened. */
  prepare(change: CompiledChange): Promise<void> {
    return this.own.prepare(change);
  }

  /**
   * Resolves once every loop has it in force. Throws when it cannot be opened, and nothing has changed then; rejects when a loop does not
   * say in time that it has it, which it will yet.
   */
  swap(change: LoopChange): Promise<void> {
    this.own.swapNow(change);
    return Promise.all(this.others.map((loop) => loop.swap(change))).then(() => {});
  }

  /** In the order of the loops. */
  readings(): Promise<readonly LoopReadings[]> {
    return Promise.all(this.all.map((loop) => loop.readings()));
  }

  /** Of all loops, newest first. */
  async requests(query: RecentQuery): Promise<RecentAnswer> {
    const answers = await Promise.all(this.all.map((loop) => loop.requests(query)));
    const given = answers.filter((answer) => answer !== null);
    const requests = given
      .flatMap((answer) => answer.requests)
      .sort((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0))
      .slice(0, query.limit);
    const recorded = given.reduce((sum, answer) => sum + answer.recorded, 0);
    const refusals = given.flatMap((answer) => answer.refusals ?? []);
    const keptOneIn = Math.max(1, ...given.map((answer) => answer.keptOneIn));
    const answer = { recorded, keptOneIn, requests, loopsMissing: answers.length - given.length };
    return query.id === '' ? answer : { ...answer, refusals };
  }

  /** By the configuration that every loop has. */
  runDry(asked: DescribedRequest): Promise<DryAnswer> {
    return this.own.runDry(asked);
  }

  /** Where the time of the last requests went, around their percentiles. */
  async latency(service: string): Promise<LatencyAnswer> {
    const answers = await Promise.all(this.all.map((loop) => loop.hops(service)));
    const given = answers.filter((answer) => answer !== null);
    return { hops: latencyOf(given), loopsMissing: answers.length - given.length };
  }

  async metricsInput(own: OwnMetrics): Promise<MetricsInput> {
    const readings = await this.readings();
    return metricsInputOf(this.tables(), readings, own);
  }

  /** For people: what each loop has to do. */
  async describe(): Promise<readonly object[]> {
    const readings = await this.readings();
    return readings.map(({ listeners, revision }, loop) => ({
      loop,
      ...(this.links[loop] === undefined ? {} : { link: this.links[loop] }),
      connections: Object.fromEntries(listeners.map(({ listener, connections }) => [listener, connections])),
      revision,
    }));
  }

  // --- End -----------------------------------------------------------------------------------------------------------------------

  drainLinks(): void {
    for (const loop of this.all) loop.drainLinks();
  }

  /** Resolves with how many requests to the app still run: none, unless `waitMs` have passed. */
  async drainInbound(waitMs: number): Promise<number> {
    const left = await Promise.all(this.all.map((loop) => loop.drainInbound(waitMs)));
    return left.reduce((sum, requests) => sum + requests, 0);
  }

  async settle(waitMs: number): Promise<void> {
    await Promise.all(this.all.map((loop) => loop.settle(waitMs)));
  }

  /** Never rejects; resolves when the threads have ended, or do not in time. */
  async close(): Promise<void> {
    await Promise.all(this.all.map((loop) => loop.close()));
  }
}
