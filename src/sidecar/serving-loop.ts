/**
 * The hot half of a sidecar on one event loop: the outbound and the inbound proxy with their listeners, the ways to the endpoints, and the
 * timers of both. The cold half (sidecar.ts) hands it configuration and identity, and answers what it cannot decide by itself.
 */

import { performance } from 'node:perf_hooks';
import type { DescribedRequest } from '../model/decision.ts';
import { isSocketPath, type LocalAddress } from '../model/host-port.ts';
import { limits } from '../model/limits.ts';
import type { RecentQuery } from '../model/recent-request.ts';
import { unknownService } from '../model/report.ts';
import { CoarseTimer } from '../proxy/coarse-timer.ts';
import type { CompiledUnit } from '../proxy/compiled-unit.ts';
import { Deadlines } from '../proxy/deadlines.ts';
import type { Discovery } from '../proxy/discovery.ts';
import { type DryAnswer, runDry } from '../proxy/dry-run.ts';
import { forwardingAcceptor } from '../proxy/forwarding.ts';
import type { LinkIdentity } from '../proxy/link/link-identity.ts';
import { createEdgeListener } from '../proxy/listener/edge.ts';
import { createUwsListener } from '../proxy/listener/uws.ts';
import type { SharedLiveState } from '../proxy/live-state.ts';
import { HttpProxy, type HttpProxyParts } from '../proxy/proxy.ts';
import type { Listener, LocalListenerOptions, RequestAcceptor } from '../proxy/request.ts';
import type { LoopEndpoint, SlowDecisions } from '../proxy/tables.ts';
import { PipelinedPool } from '../proxy/upstream/http1-pipelined-pool.ts';
import { Http1Pool } from '../proxy/upstream/http1-pool.ts';
import type { Upstream } from '../proxy/upstream/upstream.ts';
import type { HopRows } from '../telemetry/breakdown.ts';
import type { LimitedLog } from '../telemetry/limited-log.ts';
import type { Direction } from '../telemetry/recorder.ts';
import type { UpstreamReading } from '../telemetry/render.ts';
import type { SeriesTable } from '../telemetry/series.ts';
import { InboundService } from './inbound-service.ts';
import type { Instruments } from './instruments.ts';
import { Links } from './links.ts';
import type { ListenerEvents } from './listener-events.ts';
import type {
  CompiledChange,
  LoopChange,
  LoopListenerName,
  LoopOptions,
  LoopReadings,
  LoopRequests,
  WantedListener,
} from './loop.ts';
import { LoopConfiguration } from './loop-configuration.ts';
import type { OwnLoop } from './loops.ts';
import { listenAtSocket } from './socket-file.ts';

export interface ServingLoopParts {
  readonly options: LoopOptions;
  readonly instruments: Instruments;
  readonly log: LimitedLog;
  readonly identity: LinkIdentity;
  readonly discovery: Discovery;
  readonly slowDecisions: SlowDecisions;
  /** Of the outbound side's slots: one for all loops. */
  readonly live: SharedLiveState;
  /** The app's Service, and the live state of its slots; null: there is no app. */
  readonly own: { readonly unit: CompiledUnit; readonly live: SharedLiveState } | null;
  /** Hosts that were called since this was said last. */
  readonly onHostsUsed: (hosts: readonly string[]) => void;
  /** `Math.random`. */
  readonly random: () => number;
}

/** How often it is said which hosts are in use. */
const markUsedMs = 60_000;
/** How often a drain looks whether the last request has ended. */
const drainLookMs = 10;
/** By then every sidecar has closed the connections to us that it does not use, so that no request is on its way on one. */
const idleConnectionsMs = limits.poolIdleMs + 2 * limits.poolSweepMs;

export class ServingLoop implements OwnLoop {
  private readonly parts: ServingLoopParts;
  private readonly configuration: LoopConfiguration;
  private readonly inboundService: InboundService | null;
  private readonly links: Links;
  private readonly upstreams = new Map<LoopEndpoint, Upstream>();
  private readonly poolTimer = new CoarseTimer(() => performance.now(), limits.poolSweepMs);
  private readonly deadlineTimer = new CoarseTimer(() => performance.now(), limits.deadlineSweepMs);
  private readonly outbound: HttpProxy;
  /** The way to the app, whatever listener a caller takes. */
  private readonly inbound: HttpProxy | null;
  private readonly listeners: {
    readonly name: LoopListenerName;
    readonly listener: Listener;
    readonly events: ListenerEvents;
  }[] = [];
  private readonly usedHosts = new Set<string>();
  private readonly usedTimer: NodeJS.Timeout;

  constructor(parts: ServingLoopParts) {
    this.parts = parts;
    const { options, instruments, log, identity, live, own, random, onHostsUsed } = parts;
    this.configuration = new LoopConfiguration(live, random);
    this.inboundService = own === null ? null : new InboundService(own.unit, own.live, random);
    this.links = new Links({
      isInsecure: options.isLinkInsecure,
      identity,
      timer: this.poolTimer,
      instruments,
      log,
    });
    this.outbound = this.openProxy('outbound', `${options.service}.${options.namespace}`, this.configuration, live);
    this.inbound =
      this.inboundService === null
        ? null
        : this.openProxy('inbound', unknownService, this.inboundService, this.inboundService.live, options.app!);
    this.usedTimer = setInterval(() => {
      if (this.usedHosts.size > 0) onHostsUsed([...this.usedHosts]);
      this.usedHosts.clear();
    }, markUsedMs).unref();
  }

  table(): SeriesTable {
    return this.parts.instruments.recorder.table();
  }

  // --- Proxies and listeners -----------------------------------------------------------------------------------------------------

  private openProxy(
    direction: Direction,
    source: string,
    configuration: HttpProxyParts['configuration'],
    live: SharedLiveState,
    /** Where every endpoint is, whatever its address: the app. */
    app?: LocalAddress,
  ): HttpProxy {
    const { instruments, log, discovery, slowDecisions, random } = this.parts;
    return new HttpProxy({
      direction,
      source,
      recorder: instruments.recorder,
      onDefect: (request) => log.warn(request, 'a request or its answer could not be sent as one message'),
      accessLog: instruments.accessLog,
      requests: instruments.requests,
      spans: instruments.spans,
      traceThreshold: instruments.traceThreshold,
      isLoopEstimate: () => instruments.loop.isEstimate,
      configuration,
      discovery,
      slowDecisions,
      live,
      openUpstream: (endpoint) => this.openUpstream(endpoint, app),
      deadlines: new Deadlines(this.deadlineTimer),
      now: () => performance.now(),
      random,
    });
  }

  private openUpstream(endpoint: LoopEndpoint, to: LocalAddress = endpoint): Upstream {
    const upstream = this.upstreamTo(endpoint, to);
    this.upstreams.set(endpoint, upstream);
    return upstream;
  }

  /** Over the link where the endpoint has one; never in plain HTTP instead, which would prove nothing. */
  private upstreamTo(endpoint: LoopEndpoint, to: LocalAddress): Upstream {
    const { link, pipelinedDepth: depth } = endpoint;
    if (link.length > 0) return this.links.openUpstream(endpoint);
    const options = { ...(isSocketPath(to) ? to : { host: to.host, port: to.port }), timer: this.poolTimer };
    return depth > 1 ? new PipelinedPool({ ...options, depth }) : new Http1Pool(options);
  }

  async listen({ name, at, isShared }: WantedListener): Promise<string> {
    const direction: Direction = name === 'inbound' || name === 'link' ? 'inbound' : 'outbound';
    const events = this.parts.instruments.listenerEvents(direction, name);
    const opened =
      name === 'link' ? this.listenForLinks(at, events) : this.listenForHttp({ name, at, isShared }, events);
    const listener = await opened.catch(nameFlag(name.split(':')[0]!));
    this.listeners.push({ name, listener, events });
    return listener.address;
  }

  private listenForLinks(at: LocalAddress, events: ListenerEvents): Promise<Listener> {
    const { options } = this.parts;
    if (isSocketPath(at)) throw new Error('a link has a port: it comes from other machines');
    const { paths, forwarding } = options.listenerPolicies.link;
    return this.links.listen(at, {
      acceptor: forwardingAcceptor(this.acceptorOf('link'), forwarding),
      onRefused: events.onRefused,
      paths,
      limits: options.limits.link,
    });
  }

  private listenForHttp({ name, at, isShared }: WantedListener, events: ListenerEvents): Promise<Listener> {
    const { instruments, options } = this.parts;
    const settings = name === 'inbound' ? 'inbound' : 'outbound';
    const { paths, forwarding } = options.listenerPolicies[settings];
    const listenerOptions: LocalListenerOptions = {
      ...at,
      paths,
      acceptor: forwardingAcceptor(this.acceptorOf(name), forwarding),
      limits: options.limits[settings],
      onRefused: events.onRefused,
      onConnectionEnded: events.onConnectionEnded,
      loopDelay: instruments.loopWaitMs,
    };
    const open = () =>
      options[`${settings}Http`] === 'uws'
        ? createUwsListener({ ...listenerOptions, sharePort: isShared })
        : createEdgeListener(listenerOptions);
    return isSocketPath(at) ? listenAtSocket(at, options.outboundMode, open) : open();
  }

  private acceptorOf(name: LoopListenerName): RequestAcceptor {
    const { outbound, inbound, usedHosts } = this;
    const { limits: listenerLimits } = this.parts.options;
    if (name === 'inbound' || name === 'link') {
      if (inbound === null) throw new Error(`there is no app to serve at the ${name} listener`);
      return { accept: (head, downstream) => inbound.accept(head, downstream, listenerLimits[name]) };
    }
    if (name === 'outbound')
      return {
        accept: (head, downstream) => {
          if (usedHosts.size < limits.subscriptionsMax) usedHosts.add(head.host);
          return outbound.accept(head, downstream, listenerLimits.outbound);
        },
      };
    // A port that leads to one service whatever the Host says; the Host goes on to the endpoint as it came.
    const host = name.slice(name.indexOf(':') + 1);
    return {
      accept: (head, downstream) => outbound.accept({ ...head, host }, downstream, listenerLimits.outbound),
    };
  }

  // --- Configuration -------------------------------------------------------------------------------------------------------------

  /** Within the call. @throws what is wrong with the units; the version before stays in force then. */
  prepare(change: CompiledChange): Promise<void> {
    return this.configuration.prepare(change);
  }

  swapNow(change: LoopChange): void {
    this.configuration.swap(change);
    if (change.own !== null) this.inboundService?.swap(change.own);
    const held = new Set<LoopEndpoint>();
    for (const { endpoints } of this.configuration.current?.services.values() ?? [])
      for (const endpoint of endpoints) held.add(endpoint);
    // Those that retired with their endpoint leave the gauges; their last connections close by themselves.
    for (const [endpoint, upstream] of this.upstreams)
      if (!held.has(endpoint) && upstream.stats.connections === 0) this.upstreams.delete(endpoint);
  }

  async swap(change: LoopChange): Promise<void> {
    this.swapNow(change);
  }

  // --- What it says of itself ----------------------------------------------------------------------------------------------------

  async readings(): Promise<LoopReadings> {
    return {
      ...this.parts.instruments.read(),
      upstreams: this.upstreamReadings(),
      listeners: this.listeners.map(({ name, listener, events }) => ({
        listener: name,
        connections: listener.connections,
        connectionsUsedUp: events.connectionsUsedUp,
      })),
      revision: this.configuration.current?.revision ?? 0,
    };
  }

  async requests(query: RecentQuery): Promise<LoopRequests> {
    const { instruments } = this.parts;
    const found = instruments.requests.find(query);
    return query.id === '' ? found : { ...found, refusals: instruments.refusalsOf(query.id) };
  }

  async hops(service: string): Promise<readonly HopRows[]> {
    return this.parts.instruments.requests.hops(service);
  }

  runDry(asked: DescribedRequest): Promise<DryAnswer> {
    const { options, slowDecisions } = this.parts;
    const { paths } = options.listenerPolicies.outbound;
    return runDry(asked, { configuration: this.configuration, slowDecisions, limits: options.limits.outbound, paths });
  }

  private upstreamReadings(): readonly UpstreamReading[] {
    const byDestination = new Map<string, UpstreamReading>();
    for (const { name, endpoints } of this.configuration.current?.services.values() ?? []) {
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
    return [...byDestination.values()];
  }

  // --- End -----------------------------------------------------------------------------------------------------------------------

  drainLinks(): void {
    this.listenerNamed('link')?.drain();
  }

  async drainInbound(waitMs: number): Promise<number> {
    const [inbound, link] = [this.listenerNamed('inbound'), this.listenerNamed('link')];
    const active = () => this.inbound?.active ?? 0;
    inbound?.drain();
    const idleUntilMs = performance.now() + idleConnectionsMs;
    const hasCallers = () => (inbound?.connections ?? 0) + (link?.connections ?? 0) > 0;
    await whileSo(() => active() > 0 || (hasCallers() && performance.now() < idleUntilMs), waitMs);
    return active();
  }

  private listenerNamed(wanted: LoopListenerName): Listener | undefined {
    return this.listeners.find(({ name }) => name === wanted)?.listener;
  }

  settle(waitMs: number): Promise<void> {
    return whileSo(() => this.outbound.active > 0, waitMs);
  }

  async close(): Promise<void> {
    clearInterval(this.usedTimer);
    await Promise.all(this.listeners.splice(0).map(({ listener }) => listener.close()));
    for (const upstream of this.upstreams.values()) upstream.destroy();
    this.upstreams.clear();
    await this.parts.instruments.close();
  }
}

/** Waits while this is so, at most `waitMs`. */
async function whileSo(isBusy: () => boolean, waitMs: number): Promise<void> {
  const endsAtMs = performance.now() + waitMs;
  while (isBusy() && performance.now() < endsAtMs) await new Promise((resolve) => setTimeout(resolve, drainLookMs));
}

/** Of several addresses that could not be listened on, which flag names the one. */
export function nameFlag(flag: string): (error: Error) => never {
  return (error) => {
    error.message = `--${flag}: ${error.message}`;
    throw error;
  };
}
