/**
 * A sidecar, put together: its cold half (identity, configuration, decisions, admin port, registration, drain), and the event loops that
 * serve requests (serving-loop.ts), of which the first is the one that this runs on. Start at `startSidecar`; what it starts, `drain` and
 * `close` end, in this file.
 */

import { performance } from 'node:perf_hooks';
import { compileUnit } from '../decisions/compile/compile-unit.ts';
import { DecisionPool } from '../decisions/pool.ts';
import { formatAddress, isSocketPath } from '../model/host-port.ts';
import type { JudgedManifest } from '../model/judged-manifest.ts';
import { limits } from '../model/limits.ts';
import type { RecentAnswer, RecentQuery } from '../model/recent-request.ts';
import { monotonicMs, SharedLiveState } from '../proxy/live-state.ts';
import { SlotTable } from '../proxy/slot-table.ts';
import type { Logger } from '../telemetry/logger.ts';
import { StatWindow } from '../telemetry/stats.ts';
import { type Admin, createAdmin } from './admin.ts';
import { whenAppAccepts } from './app-probe.ts';
import { type ConfigSource, openConfigSource } from './config-source.ts';
import { describeHttpCores, logHttpCores } from './http-cores.ts';
import type { IdentityAgent } from './identity/identity-agent.ts';
import { openIdentityAgent } from './identity/open-identity.ts';
import { InForce } from './in-force.ts';
import { OwnUnit } from './inbound-service.ts';
import { KeptPorts } from './kept-ports.ts';
import { describeListeners } from './listener-settings.ts';
import type { Loops } from './loops.ts';
import { openLoops } from './open-loops.ts';
import { type OpenSpanExporter, openSpanExporter } from './open-span-exporter.ts';
import type { SidecarOptions } from './options.ts';
import { startReporter } from './reporter.ts';

export interface RunningSidecar {
  /** As it was named: `cart`, or `cart.shop` outside the default namespace. */
  readonly service: string;
  /** As bound: `HOST:PORT`, or `unix:/PATH`. */
  readonly outbound: string;
  /** `HOST:PORT` as bound, here and below. */
  readonly inbound?: string;
  readonly link?: string;
  /** Of each event loop, where there are several. */
  readonly links?: readonly string[];
  readonly admin: string;
  /** Resolves once a first configuration is in force. */
  readonly ready: Promise<void>;
  /** What its identity, or else its configuration, last failed for; null: neither does. */
  lastError(): string | null;
  /** Readiness fails, the registration is withdrawn, requests to the app finish (at most `drainMs`); outbound stays up. */
  drain(): Promise<void>;
  /** Lets calls that are under way finish, within what is left of the drain's time, and frees everything. */
  close(): Promise<void>;
}

/** Rejects with an error made for people (ListenError, AdminError, ConfigFileError), and leaves nothing behind. */
export async function startSidecar(options: SidecarOptions, logger: Logger): Promise<RunningSidecar> {
  const sidecar = new Sidecar(options, logger);
  try {
    return await sidecar.start();
  } catch (error) {
    await sidecar.close();
    throw error;
  }
}

/** Some 0.2 s of YAML. */
const judgedOnLoopCharsMax = 64 * 1024;

class Sidecar {
  private readonly decisions: DecisionPool;
  private readonly live: SharedLiveState;
  /** Of the inbound side: the numbers of the outbound side's slots mean other endpoints. */
  private readonly ownLive: SharedLiveState;
  private readonly ownUnit: OwnUnit | null;
  private readonly inForce: InForce;
  private readonly stops: (() => void)[] = [];
  private identity: IdentityAgent | null = null;
  private loops: Loops | null = null;
  private readonly spans: OpenSpanExporter | null;
  private source: ConfigSource | null = null;
  private admin: Admin | null = null;
  private draining: Promise<void> | null = null;
  /** On the clock of `performance.now`; 0 before there is a drain. */
  private drainEndsAtMs = 0;
  /** At start nobody waits for the loop, and the first worker thread would cost more than what it compiles (docs/adr/0003). */
  private isServing = false;

  constructor(
    private readonly options: SidecarOptions,
    private readonly logger: Logger,
  ) {
    const { app, service, namespace } = options;
    this.live = new SharedLiveState(monotonicMs, options.loops > 1);
    this.ownLive = new SharedLiveState(monotonicMs, options.loops > 1);
    this.spans = openSpanExporter(options, logger);
    this.decisions = new DecisionPool({
      onError: (error) => logger.error({ error: String(error) }, 'a worker failed'),
    });
    const slotsOf = (live: SharedLiveState) => new SlotTable({ live, random: Math.random, nowMs: monotonicMs });
    this.ownUnit = app === null ? null : new OwnUnit({ ...options, app }, slotsOf(this.ownLive));
    this.inForce = new InForce({
      namespace,
      compile: (units) => (this.isServing ? this.decisions.compile(units) : Promise.resolve(units.map(compileUnit))),
      slots: slotsOf(this.live),
      prepare: (change) => this.loops!.prepare(change),
      swap: (change, snapshot) => {
        this.ownUnit?.setPolicy(snapshot.units.get(`${service}.${namespace}`) ?? null);
        return this.loops!.swap({ ...change, own: this.ownUnit?.current ?? null });
      },
    });
  }

  async start(): Promise<RunningSidecar> {
    const { options } = this;
    const identity = await openIdentityAgent(options, this.logger);
    this.identity = identity;
    const loops = this.openLoops(identity);
    this.loops = loops;
    const source = await openConfigSource(
      options,
      this.inForce,
      identity,
      (text, file) => this.judge(text, file),
      this.logger,
    );
    this.source = source;
    const outbound = await loops.listen('outbound', options.outbound, options.outboundHttp === 'uws');
    for (const { name, address } of options.upstreams) {
      const bound = await loops.listen(`upstream:${name}`, address, options.outboundHttp === 'uws');
      this.logger.info({ service: name, address: bound }, 'a port of its own');
    }
    const inbound = await this.listenForCallers(loops);
    const stats = new StatWindow(
      () => loops.tables(),
      () => performance.now(),
    );
    this.admin = await createAdmin({
      ...options.admin,
      readiness: () => this.readiness(),
      renderMetrics: () => this.renderMetrics(loops, source, identity),
      config: () => this.describe(loops, source, identity),
      stats: async () => {
        await loops.catchUp();
        return stats.read();
      },
      requests: (query) => this.requests(query, loops, source),
      describe: async (asked) => ({ ...(await loops.runDry(asked)), stale: source.staleAt(Date.now()) }),
      latency: (service) => loops.latency(service),
      drain: () => void this.drain(),
      onError: (error) => this.logger.error({ error: String(error) }, 'the admin port could not answer'),
    });
    this.every(limits.statWindowMs / 2, () => stats.roll());

    const ready = source.first.then(() => {
      this.isServing = true;
      void identity.first.then(() => this.registerOnceAppAccepts(inbound, loops.links));
    });
    const reporter = startReporter({
      tables: () => loops.tables(),
      send: (deltas) => source.report(deltas),
      nowMs: () => performance.now(),
      every: (ms, run) => this.every(ms, run),
    });
    this.stops.push(() => reporter.stop());
    // Only now can nothing of the start fail any more: who reads why it did is not to search for it.
    logHttpCores(options, this.logger);
    if (loops.count > 1) this.logger.info({ loops: loops.count }, 'several event loops serve requests');
    identity.start();
    source.start();
    return {
      service: options.namespace === 'default' ? options.service : `${options.service}.${options.namespace}`,
      outbound,
      ...(inbound === null ? {} : { inbound }),
      ...(loops.links.length === 0 ? {} : { link: loops.links[0]! }),
      ...(loops.links.length < 2 ? {} : { links: loops.links }),
      admin: this.admin.address,
      ready,
      lastError: () => identity.status().lastError ?? source.status().lastError,
      drain: () => this.drain(),
      close: () => this.close(),
    };
  }

  /** As the first units are compiled, a first file is judged on the loop, unless that would keep it from hearing a signal. */
  private async judge(text: string, file: string): Promise<JudgedManifest> {
    if (this.isServing || text.length > judgedOnLoopCharsMax) return this.decisions.judgeManifest(text, file);
    return (await import('../model/judged-manifest.ts')).judgeManifest(text, file);
  }

  /** Runs until the answer is called, or the sidecar closes. */
  private every(ms: number, run: () => void): () => void {
    const timer = setInterval(run, ms).unref();
    const stop = () => clearInterval(timer);
    this.stops.push(stop);
    return stop;
  }

  // --- Loops and listeners -------------------------------------------------------------------------------------------------------

  private openLoops(identity: IdentityAgent): Loops {
    const { options, logger, decisions, live, ownLive, ownUnit } = this;
    return openLoops({
      options,
      logger,
      identity,
      discovery: { discover: (host, done) => this.source!.discovery.discover(host, done) },
      decisions,
      live,
      own: ownUnit === null ? null : { unit: ownUnit, live: ownLive },
      onHostsUsed: (hosts) => {
        for (const host of hosts) this.source?.markUsed(host);
      },
      takeSpans: this.spans?.exporter.take ?? null,
      // What nobody handles in a thread is nobody's here either: the process ends as for an error of its own.
      onFault: (error) =>
        queueMicrotask(() => {
          throw error;
        }),
    });
  }

  /** The ways to the app. Resolves with the address of the one in plain HTTP; null: there is none. */
  private async listenForCallers(loops: Loops): Promise<string | null> {
    const { app, inbound, inboundHttp, link, stateDir } = this.options;
    if (app === null || (inbound === null && link === null)) return null;
    const ports = await KeptPorts.load({ ...this.options, directory: stateDir, logger: this.logger });
    const bound =
      inbound === null
        ? null
        : await ports.listen('inbound', inbound, async (at) => ({
            address: await loops.listen('inbound', at, inboundHttp === 'uws'),
          }));
    if (link !== null) await loops.listenForLinks(link, ports);
    await ports.save();
    return bound?.address ?? null;
  }

  private registerOnceAppAccepts(inbound: string | null, link: readonly string[]): void {
    const { app, zone, labels, advertise } = this.options;
    if (app === null || this.draining !== null || (inbound === null && link.length === 0)) return;
    const register = () => this.source!.register({ inbound, link, advertise, zone, labels });
    const address = formatAddress(app);
    const onLate = (reason: string) => {
      this.source!.setTrouble(`app ${address} accepts no connections`);
      this.logger.warn(
        { app: address, reason },
        `the app accepts no connections yet, so nobody is sent to it; is this its ${isSocketPath(app) ? 'socket' : 'port'}?`,
      );
    };
    this.stops.push(whenAppAccepts(app, register, onLate));
  }

  // --- What it says of itself ----------------------------------------------------------------------------------------------------

  private readiness(): { isReady: boolean; reason: string } {
    if (this.draining !== null) return { isReady: false, reason: 'draining' };
    if (this.inForce.snapshot === null) return { isReady: false, reason: 'no configuration yet' };
    return { isReady: true, reason: '' };
  }

  /** One that is asked for by its id is told whether its configuration may have been out of date. */
  private async requests(query: RecentQuery, loops: Loops, source: ConfigSource): Promise<RecentAnswer> {
    const answer = await loops.requests(query);
    if (query.id === '') return answer;
    const requests = answer.requests.map((request) => {
      const stale = request.direction === 'outbound' ? source.staleAt(Date.parse(request.time)) : null;
      return stale === null ? request : { ...request, stale };
    });
    return { ...answer, requests };
  }

  private async renderMetrics(loops: Loops, source: ConfigSource, identity: IdentityAgent): Promise<string> {
    const { isConnected, nacks } = source.status();
    const config = { revision: this.inForce.snapshot?.revision ?? 0, isConnected, nacks };
    const certificateExpiresAtMs = identity.current?.expiresAtMs ?? null;
    return this.decisions.renderMetrics(
      await loops.metricsInput({ config, certificateExpiresAtMs, exporter: this.spans?.exporter ?? null }),
    );
  }

  private async describe(loops: Loops, source: ConfigSource, identity: IdentityAgent): Promise<unknown> {
    const { service, namespace } = this.options;
    return {
      service,
      namespace,
      http: describeHttpCores(this.options),
      listeners: describeListeners(loops.bound, this.options),
      loops: await loops.describe(),
      source: source.status(),
      identity: identity.status(),
      revision: this.inForce.snapshot?.revision ?? null,
      units: this.inForce.snapshot?.units ?? {},
    };
  }

  // --- End -----------------------------------------------------------------------------------------------------------------------

  private drain(): Promise<void> {
    this.draining ??= this.drainOnce();
    return this.draining;
  }

  private async drainOnce(): Promise<void> {
    this.drainEndsAtMs = performance.now() + this.options.drainMs;
    this.logger.info({ service: this.options.service }, 'draining');
    // In band and first: callers move away before the control plane has heard, and close their links when nothing is open on them.
    this.loops?.drainLinks();
    await this.source?.withdraw();
    const left = (await this.loops?.drainInbound(this.drainLeftMs())) ?? 0;
    if (left > 0)
      this.logger.warn({ requests: left, drainMs: this.options.drainMs }, 'the drain ended before its requests did');
  }

  private drainLeftMs(): number {
    return Math.max(0, this.drainEndsAtMs - performance.now());
  }

  async close(): Promise<void> {
    await this.loops?.settle(this.drainLeftMs());
    for (const stop of this.stops.splice(0)) stop();
    await this.loops?.close();
    await this.spans?.close();
    await this.admin?.close();
    await this.source?.close();
    await this.identity?.close();
    await this.decisions.close();
  }
}
