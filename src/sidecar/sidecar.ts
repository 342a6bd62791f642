/**
 * A sidecar, put together: instruments, decisions, the outbound and the inbound proxy with their listeners, the admin port, and the
 * source of its configuration. Start at `startSidecar`; what it starts, `drain` and `close` end, in this file.
 */

import { compileUnit } from '../decisions/compile/compile-unit.ts';
import { DecisionPool } from '../decisions/pool.ts';
import { limits } from '../model/limits.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { CoarseTimer } from '../proxy/coarse-timer.ts';
import { Deadlines } from '../proxy/deadlines.ts';
import { forwardingAcceptor } from '../proxy/forwarding.ts';
import { createEdgeListener } from '../proxy/listener/edge.ts';
import { formatAddress } from '../proxy/listener/listen-error.ts';
import { createUwsListener } from '../proxy/listener/uws.ts';
import { monotonicMs, SharedLiveState } from '../proxy/live-state.ts';
import { HttpProxy, type HttpProxyParts } from '../proxy/proxy.ts';
import type { Listener, ListenerOptions, RequestAcceptor } from '../proxy/request.ts';
import { SlotTable } from '../proxy/slot-table.ts';
import type { LoopEndpoint } from '../proxy/tables.ts';
import { Http1Pool } from '../proxy/upstream/http1-pool.ts';
import type { Upstream } from '../proxy/upstream/upstream.ts';
import { LimitedLog } from '../telemetry/limited-log.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Direction } from '../telemetry/recorder.ts';
import type { ListenerReading, UpstreamReading } from '../telemetry/render.ts';
import { type Admin, createAdmin } from './admin.ts';
import { whenAppAccepts } from './app-probe.ts';
import { systemClock } from './clock.ts';
import { type ConfigSource, openConfigSource } from './config-source.ts';
import { describeHttpCores, logHttpCores } from './http-cores.ts';
import type { IdentityAgent } from './identity/identity-agent.ts';
import { openIdentityAgent } from './identity/open-identity.ts';
import { InForce } from './in-force.ts';
import { InboundService } from './inbound-service.ts';
import { Instruments } from './instruments.ts';
import { KeptPorts } from './kept-ports.ts';
import { Links } from './links.ts';
import type { ListenerEvents } from './listener-events.ts';
import { describeListeners } from './listener-settings.ts';
import type { HostPort, HttpCore, SidecarOptions, UpstreamListener } from './options.ts';
import { startReporter } from './reporter.ts';

export interface RunningSidecar {
  /** As it was named: `cart`, or `cart.shop` outside the default namespace. */
  readonly service: string;
  /** `HOST:PORT` as bound. */
  readonly outbound: string;
  readonly inbound?: string;
  readonly link?: string;
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

/** How often subscriptions are told which hosts are in use. */
const markUsedMs = 60_000;
/** How often a drain looks whether the last request has ended. */
const drainLookMs = 10;
/** By then every sidecar has closed the connections to us that it does not use, so that no request is on its way on one. */
const idleConnectionsMs = limits.poolIdleMs + 2 * limits.poolSweepMs;

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

class Sidecar {
  private readonly instruments: Instruments;
  private readonly decisions: DecisionPool;
  private readonly live = new SharedLiveState(monotonicMs);
  private readonly inForce: InForce;
  private readonly inboundService: InboundService | null;
  private readonly upstreams = new Map<LoopEndpoint, Upstream>();
  private readonly poolTimer = new CoarseTimer(() => performance.now(), limits.poolSweepMs);
  private readonly deadlineTimer = new CoarseTimer(() => performance.now(), limits.deadlineSweepMs);
  private readonly listeners: {
    readonly name: string;
    readonly listener: Listener;
    readonly events: ListenerEvents;
  }[] = [];
  private readonly proxies: { readonly direction: Direction; readonly proxy: HttpProxy }[] = [];
  private readonly stops: (() => void)[] = [];
  /** Hosts called since the subscriptions were last told. */
  private readonly usedHosts = new Set<string>();
  private readonly limitedLog: LimitedLog;
  private identity: IdentityAgent | null = null;
  private links: Links | null = null;
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
    this.instruments = new Instruments(options.accessLog);
    this.limitedLog = new LimitedLog(systemClock, logger);
    this.decisions = new DecisionPool({
      onError: (error) => logger.error({ error: String(error) }, 'a worker failed'),
    });
    this.inForce = new InForce({
      namespace: options.namespace,
      compile: (units) => (this.isServing ? this.decisions.compile(units) : Promise.resolve(units.map(compileUnit))),
      live: this.live,
      slots: new SlotTable({ live: this.live, random: Math.random, nowMs: monotonicMs }),
      random: Math.random,
      onSwap: (snapshot) => this.swapped(snapshot),
    });
    this.inboundService =
      options.app === null ? null : new InboundService({ ...options, app: options.app }, Math.random);
  }

  async start(): Promise<RunningSidecar> {
    const { options } = this;
    const identity = await openIdentityAgent(options, this.logger);
    this.identity = identity;
    this.links = new Links({
      isInsecure: options.isLinkInsecure,
      identity,
      timer: this.poolTimer,
      instruments: this.instruments,
      log: this.limitedLog,
    });
    const source = await openConfigSource(options, this.inForce, identity, this.logger);
    this.source = source;
    const outboundProxy = this.openProxy('outbound');
    const outbound = await this.listen('outbound', options.outboundHttp, options.outbound, {
      accept: (head, downstream) => {
        if (this.usedHosts.size < limits.subscriptionsMax) this.usedHosts.add(head.host);
        return outboundProxy.accept(head, downstream, options.limits.outbound);
      },
    });
    for (const upstream of options.upstreams) await this.listenForUpstream(upstream, outboundProxy);
    const { inbound, link } = await this.listenForCallers();
    this.admin = await createAdmin({
      ...options.admin,
      readiness: () => this.readiness(),
      renderMetrics: () => this.decisions.renderMetrics(this.instruments.metricsInput(this.readings())),
      config: () => this.describe(),
      stats: () => this.instruments.stats.read(),
      drain: () => void this.drain(),
      onError: (error) => this.logger.error({ error: String(error) }, 'the admin port could not answer'),
    });
    this.every(limits.statWindowMs / 2, () => this.instruments.stats.roll());
    this.every(markUsedMs, () => {
      for (const host of this.usedHosts) source.markUsed(host);
      this.usedHosts.clear();
    });

    const ready = source.first.then(() => {
      this.isServing = true;
      void identity.first.then(() => this.registerOnceAppAccepts(inbound, link));
    });
    const reporter = startReporter({
      tables: () => [this.instruments.recorder.table()],
      send: (deltas) => source.report(deltas),
      nowMs: () => performance.now(),
      every: (ms, run) => this.every(ms, run),
    });
    this.stops.push(() => reporter.stop());
    // Only now can nothing of the start fail any more: who reads why it did is not to search for it.
    logHttpCores(options, this.logger);
    identity.start();
    source.start();
    return {
      service: options.namespace === 'default' ? options.service : `${options.service}.${options.namespace}`,
      outbound: outbound.address,
      ...(inbound === null ? {} : { inbound: inbound.address }),
      ...(link === null ? {} : { link: link.address }),
      admin: this.admin.address,
      ready,
      lastError: () => identity.status().lastError ?? source.status().lastError,
      drain: () => this.drain(),
      close: () => this.close(),
    };
  }

  /** Runs until the answer is called, or the sidecar closes. */
  private every(ms: number, run: () => void): () => void {
    const timer = setInterval(run, ms).unref();
    const stop = () => clearInterval(timer);
    this.stops.push(stop);
    return stop;
  }

  // --- Proxies and listeners -----------------------------------------------------------------------------------------------------

  private openProxy(direction: Direction): HttpProxy {
    const { inboundService, instruments, options } = this;
    const isInbound = direction === 'inbound';
    const parts: HttpProxyParts = {
      direction,
      source: isInbound ? 'unknown' : `${options.service}.${options.namespace}`,
      recorder: instruments.recorder,
      onDefect: (request) => this.limitedLog.warn(request, 'a request or its answer could not be sent as one message'),
      accessLog: instruments.accessLog,
      configuration: isInbound ? inboundService! : this.inForce,
      discovery: this.source!.discovery,
      slowDecisions: this.decisions,
      live: isInbound ? inboundService!.live : this.live,
      openUpstream: (endpoint) => this.openUpstream(endpoint),
      deadlines: new Deadlines(this.deadlineTimer),
      now: () => performance.now(),
      random: Math.random,
    };
    const proxy = new HttpProxy(parts);
    this.proxies.push({ direction, proxy });
    return proxy;
  }

  /** Over the link where the endpoint has one; never in plain HTTP instead, which would prove nothing. */
  private openUpstream(endpoint: LoopEndpoint): Upstream {
    const { host, port, link } = endpoint;
    const upstream =
      link.length > 0 ? this.links!.openUpstream(endpoint) : new Http1Pool({ host, port, timer: this.poolTimer });
    this.upstreams.set(endpoint, upstream);
    return upstream;
  }

  /** The ways to the app: one proxy behind both. */
  private async listenForCallers(): Promise<{ inbound: Listener | null; link: Listener | null }> {
    const { options } = this;
    if (this.inboundService === null || (options.inbound === null && options.link === null))
      return { inbound: null, link: null };
    const proxy = this.openProxy('inbound');
    const ports = await KeptPorts.load({ ...options, directory: options.stateDir, logger: this.logger });
    const { limits } = options;
    const openInbound = (at: HostPort) =>
      this.listen('inbound', options.inboundHttp, at, {
        accept: (head, downstream) => proxy.accept(head, downstream, limits.inbound),
      });
    const inbound = options.inbound === null ? null : await ports.listen('inbound', options.inbound, openInbound);
    const overLink: RequestAcceptor = {
      accept: (head, downstream) => proxy.accept(head, downstream, limits.link),
    };
    const { paths, forwarding } = options.listenerPolicies.link;
    const events = this.instruments.listenerEvents('inbound', 'link');
    const openLink = (at: HostPort) =>
      this.links!.listen(at, {
        acceptor: forwardingAcceptor(overLink, forwarding),
        onRefused: events.onRefused,
        paths,
        limits: limits.link,
      }).catch(nameFlag('link'));
    const link = options.link === null ? null : await ports.listen('link', options.link, openLink);
    if (link !== null) this.listeners.push({ name: 'link', listener: link, events });
    await ports.save();
    return { inbound, link };
  }

  private async listen(
    name: string,
    core: HttpCore,
    { host, port }: HostPort,
    acceptor: RequestAcceptor,
  ): Promise<Listener> {
    const direction: Direction = name === 'inbound' ? 'inbound' : 'outbound';
    const { paths, forwarding } = this.options.listenerPolicies[direction];
    const events = this.instruments.listenerEvents(direction, name);
    const options: ListenerOptions = {
      host,
      port,
      paths,
      acceptor: forwardingAcceptor(acceptor, forwarding),
      limits: this.options.limits[direction],
      onRefused: events.onRefused,
      onConnectionEnded: events.onConnectionEnded,
      loopDelay: this.instruments.loopWaitMs,
    };
    const listener = await (core === 'uws' ? createUwsListener(options) : createEdgeListener(options)).catch(
      nameFlag(name.split(':')[0]!),
    );
    this.listeners.push({ name, listener, events });
    return listener;
  }

  /** A port that leads to one service whatever the Host says; the Host goes on to the endpoint as it came. */
  private async listenForUpstream({ name, address }: UpstreamListener, proxy: HttpProxy): Promise<void> {
    const acceptor: RequestAcceptor = {
      accept: (head, downstream) => proxy.accept({ ...head, host: name }, downstream, this.options.limits.outbound),
    };
    const listener = await this.listen(`upstream:${name}`, this.options.outboundHttp, address, acceptor);
    this.logger.info({ service: name, address: listener.address }, 'a port of its own');
  }

  // --- Configuration -------------------------------------------------------------------------------------------------------------

  private swapped(snapshot: Snapshot): void {
    const { service, namespace } = this.options;
    const own = snapshot.units.get(`${service}.${namespace}`);
    this.inboundService?.setPolicy(own ?? null);
    const held = new Set<LoopEndpoint>();
    for (const { endpoints } of this.inForce.current?.services.values() ?? [])
      for (const endpoint of endpoints) held.add(endpoint);
    // Those that retired with their endpoint leave the gauges; their last connections close by themselves.
    for (const [endpoint, upstream] of this.upstreams)
      if (!held.has(endpoint) && upstream.stats.connections === 0) this.upstreams.delete(endpoint);
  }

  private registerOnceAppAccepts(inbound: Listener | null, link: Listener | null): void {
    const { app, zone, labels, advertise } = this.options;
    if (app === null || this.draining !== null || (inbound === null && link === null)) return;
    const facts = { inbound: inbound?.address ?? null, link: link === null ? [] : [link.address] };
    const register = () => this.source!.register({ ...facts, advertise, zone, labels });
    const address = formatAddress(app.host, app.port);
    const onLate = () => {
      this.source!.setTrouble(`app ${address} accepts no connections`);
      this.logger.warn(
        { app: address },
        'the app accepts no connections yet, so nobody is sent to it; is this its port?',
      );
    };
    this.stops.push(whenAppAccepts(app, register, onLate));
  }

  // --- What it says of itself ----------------------------------------------------------------------------------------------------

  private readiness(): { isReady: boolean; reason: string } {
    if (this.draining !== null) return { isReady: false, reason: 'draining' };
    if (this.inForce.current === null) return { isReady: false, reason: 'no configuration yet' };
    return { isReady: true, reason: '' };
  }

  private readings() {
    const byDestination = new Map<string, UpstreamReading>();
    for (const { name, endpoints } of this.inForce.current?.services.values() ?? []) {
      for (const endpoint of endpoints) {
        const stats = this.upstreams.get(endpoint)?.stats;
        if (stats === undefined) continue;
        const sum = byDestination.get(name) ?? { destination: name, connections: 0, idle: 0, pending: 0 };
        byDestination.set(name, {
          destination: name,
          connections: sum.connections + stats.connections,
          idle: sum.idle + stats.idle,
          pending: sum.pending + stats.pending,
        });
      }
    }
    const listeners: ListenerReading[] = this.listeners.map(({ name, listener, events }) => ({
      listener: name,
      connections: listener.connections,
      connectionsUsedUp: events.connectionsUsedUp,
    }));
    const { isConnected, nacks } = this.source!.status();
    return {
      upstreams: [...byDestination.values()],
      listeners,
      config: { revision: this.inForce.snapshot?.revision ?? 0, isConnected, nacks },
    };
  }

  private describe(): unknown {
    const { service, namespace } = this.options;
    return {
      service,
      namespace,
      http: describeHttpCores(this.options),
      listeners: describeListeners(
        this.listeners.map(({ name, listener: { address } }) => ({ name, address })),
        this.options,
      ),
      source: this.source!.status(),
      identity: this.identity!.status(),
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
    const listener = (wanted: string) => this.listeners.find(({ name }) => name === wanted)?.listener;
    const [inbound, link] = [listener('inbound'), listener('link')];
    // In band and first: callers move away before the control plane has heard, and close their links when nothing is open on them.
    link?.drain();
    await this.source?.withdraw();
    inbound?.drain();
    const idleUntilMs = performance.now() + idleConnectionsMs;
    const hasCallers = () => (inbound?.connections ?? 0) + (link?.connections ?? 0) > 0;
    await this.settle(() => this.activeRequests('inbound') > 0 || (hasCallers() && performance.now() < idleUntilMs));
    const left = this.activeRequests('inbound');
    if (left > 0)
      this.logger.warn({ requests: left, drainMs: this.options.drainMs }, 'the drain ended before its requests did');
  }

  /** Waits while this is so, at most until the drain's time is up. */
  private async settle(isBusy: () => boolean): Promise<void> {
    while (isBusy() && performance.now() < this.drainEndsAtMs)
      await new Promise((resolve) => setTimeout(resolve, drainLookMs));
  }

  private activeRequests(of: Direction): number {
    return this.proxies.reduce((sum, { direction, proxy }) => sum + (direction === of ? proxy.active : 0), 0);
  }

  async close(): Promise<void> {
    await this.settle(() => this.activeRequests('outbound') > 0);
    for (const stop of this.stops.splice(0)) stop();
    await Promise.all(this.listeners.splice(0).map(({ listener }) => listener.close()));
    for (const upstream of this.upstreams.values()) upstream.destroy();
    this.upstreams.clear();
    await this.admin?.close();
    await this.source?.close();
    await this.identity?.close();
    await this.decisions.close();
    this.instruments.close();
  }
}

/** Of several addresses that could not be listened on, which flag names the one. */
function nameFlag(flag: string): (error: Error) => never {
  return (error) => {
    error.message = `--${flag}: ${error.message}`;
    throw error;
  };
}
