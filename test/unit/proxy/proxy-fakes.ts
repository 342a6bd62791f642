/** Stand-ins for what surrounds the proxy core: a client, endpoints that do what the test says, tables with one Service. They take and keep fields as names and values in turn. */
import { limits } from '../../../src/model/limits.ts';
import { unknownService } from '../../../src/model/report.ts';
import { CoarseTimer } from '../../../src/proxy/coarse-timer.ts';
import { Deadlines } from '../../../src/proxy/deadlines.ts';
import type { Failure } from '../../../src/proxy/failure.ts';
import { type HeaderList, headerList, textsOf } from '../../../src/proxy/headers.ts';
import { HttpProxy, type HttpProxyParts } from '../../../src/proxy/proxy.ts';
import type { AnswerHead, Downstream, RequestHead } from '../../../src/proxy/request.ts';
import type { LoopAction, LoopEndpoint, LoopService, LoopSnapshot } from '../../../src/proxy/tables.ts';
import type {
  Upstream,
  UpstreamHandler,
  UpstreamRequest,
  UpstreamStream,
} from '../../../src/proxy/upstream/upstream.ts';
import type { HopTiming } from '../../../src/telemetry/ledger.ts';
import { ownOf, partIndex, type Recorder } from '../../../src/telemetry/recorder.ts';
import type { RequestChanges } from '../../fixtures/service-unit.ts';

export class FakeClient implements Downstream {
  wantsTiming = false;
  /** What the proxy told it of its own time: with the head, and at the end. */
  readonly timings: (HopTiming | null)[] = [];
  readonly events: string[] = [];
  answer: AnswerHead | null = null;
  trailers: readonly string[] | null = null;
  bodyText = '';
  hasRoom = true;
  /** Nothing of the answer has left until `hasLeft`. */
  hasLeft = true;
  head(head: AnswerHead, timing: HopTiming | null): void {
    this.answer = head;
    this.noteTiming(timing);
    this.events.push(`head ${head.status}`);
  }
  body(chunk: Uint8Array): boolean {
    this.bodyText += Buffer.from(chunk).toString('latin1');
    return this.hasRoom;
  }
  end(trailers: HeaderList, timing: HopTiming | null): void {
    this.trailers = textsOf(trailers);
    this.events.push('end');
    this.noteTiming(timing);
  }
  private noteTiming(timing: HopTiming | null): void {
    // It is brought up to date in place.
    this.timings.push(timing === null ? null : { partsMs: Array.from(timing.partsMs), totalMs: timing.totalMs });
  }
  abort(): void {
    this.events.push('abort');
  }
  retract(): boolean {
    if (this.hasLeft) return false;
    this.events.push('retract');
    this.bodyText = '';
    return true;
  }
  pauseRequest(): void {
    this.events.push('pause');
  }
  resumeRequest(): void {
    this.events.push('resume');
  }
  header(name: string): string | undefined {
    return this.answer?.headers.find((field) => field.name.toLowerCase() === name)?.value;
  }
}

export class FakeStream implements UpstreamStream {
  readonly events: string[] = [];
  trailers: readonly string[] | null = null;
  bodyText = '';
  hasRoom = true;
  constructor(
    readonly request: UpstreamRequest,
    readonly handler: UpstreamHandler,
    readonly openedAtMs: number,
    readonly needsFresh: boolean,
  ) {}
  get headers(): string[] {
    return textsOf(this.request.headers);
  }
  write(chunk: Uint8Array): boolean {
    this.bodyText += Buffer.from(chunk).toString('latin1');
    return this.hasRoom;
  }
  end(trailers: HeaderList = []): void {
    this.trailers = textsOf(trailers);
    this.events.push('end');
  }
  destroy(): void {
    this.events.push('destroy');
  }
  pauseReading(): void {
    this.events.push('pauseReading');
  }
  resumeReading(): void {
    this.events.push('resumeReading');
  }
  assign(): void {
    this.handler.onAssigned(0, 0, true, this.openedAtMs, 0);
  }
  answer(status: number, fields: string[] = [], body = '', trailers: string[] = []): void {
    const headers = headerList(fields);
    this.handler.onHead({ status, reason: '', headers, bodyBytes: body.length, hasBody: true, far: null });
    if (body !== '') this.handler.onBody(Buffer.from(body));
    this.handler.onEnd(headerList(trailers), null);
  }
  fail(failure: Failure, isReused = false): void {
    this.handler.onFailure(failure, isReused);
  }
}

export class FakeEndpoint implements LoopEndpoint {
  readonly host = '127.0.0.1';
  readonly port = 1;
  readonly zone = '';
  readonly pipelinedDepth = 1;
  readonly identity = '/ns/default/sa/cart';
  readonly streams: FakeStream[] = [];
  readonly upstream: Upstream;
  constructor(
    readonly address: string,
    readonly slot: number,
    readonly hasSidecar = false,
    readonly link: readonly string[] = [],
  ) {
    this.upstream = {
      isAvoided: false,
      trouble: '',
      open: (request, handler, nowMs, needsFresh = false) => {
        const stream = new FakeStream(request, handler, nowMs, needsFresh);
        this.streams.push(stream);
        return stream;
      },
      retire: () => {},
      destroy: () => {},
      stats: { connections: 0, idle: 0, pending: 0, opened: 0, connectFailures: 0 },
    };
  }
  get last(): FakeStream {
    return this.streams.at(-1)!;
  }
}

const noTimeouts = { requestMs: 0, perTryMs: 0, idleMs: 60_000 };

export function fakeAction(changes: Partial<LoopAction> = {}, backendUnit: string | null = 'cart.default'): LoopAction {
  const backend = { unit: backendUnit, ref: 'cart:80', requestHeaders: null, responseHeaders: null };
  return {
    route: '',
    requestHeaders: null,
    responseHeaders: null,
    redirect: null,
    rewriteHost: null,
    rewritePath: null,
    mirrors: [],
    timeouts: noTimeouts,
    backends: [{ ...backend, weight: 1 }],
    pickBackend: () => backend,
    nextBackend: () => backend,
    ...changes,
  };
}

/** A proxy over one Service `cart` with the endpoints given; time stands still until the test moves it. */
export function fakeMesh(
  endpoints: FakeEndpoint[],
  action: LoopAction = fakeAction(),
  changes: Partial<HttpProxyParts> = {},
  serviceLimits: LoopService['limits'] = null,
) {
  const clock = { nowMs: 1_000 };
  const recorded: {
    destination: string;
    route: string;
    status: number;
    totalMs: number;
    partsMs: number[];
    isFailure: boolean;
  }[] = [];
  const failureCounts: string[] = [];
  const retries: string[] = [];
  const live: string[] = [];
  const recorder: Recorder = {
    series: (_direction, _source, destination, rule, status) => ({
      record: (totalMs, partsMs, isFailure) => {
        partsMs[partIndex.own] = ownOf(partsMs, totalMs);
        recorded.push({
          destination: destination === null ? unknownService : destination.name,
          route: rule === null ? '' : rule.route,
          status,
          totalMs,
          partsMs: Array.from(partsMs),
          isFailure,
        });
      },
    }),
    countFailure: (_direction, code) => failureCounts.push(code),
    countRetry: (_direction, code) => retries.push(code),
  };
  const service: LoopService = {
    name: 'cart.default',
    service: 'cart',
    namespace: 'default',
    timeouts: noTimeouts,
    limits: serviceLimits,
    endpoints,
    directAction: action,
    routes: null,
    hasChoice: endpoints.length > 0,
    standings: () => ({ policy: 'RoundRobin', candidates: [], leftOut: endpoints.length }),
    departed: null,
    pick: (facts) => endpoints.find((endpoint) => !facts.tried.includes(endpoint.slot)) ?? endpoints[0] ?? null,
  };
  const snapshot: LoopSnapshot = {
    revision: 1,
    findByHost: (host: string) => (host === 'cart' ? service : null),
    find: (unit: string) => (unit === 'cart.default' ? service : null),
  };
  const proxy = new HttpProxy({
    direction: 'outbound',
    source: 'web',
    recorder,
    onDefect: () => {},
    accessLog: null,
    requests: null,
    spans: null,
    traceThreshold: 0,
    isLoopEstimate: () => false,
    configuration: { current: snapshot },
    discovery: { discover: (_host, done) => done('unknown-service') },
    slowDecisions: { matchPatterns: (_service, _request, done) => done(null) },
    live: {
      begin: (slot) => live.push(`begin ${slot}`),
      end: (slot, _latencyMs, outcome) => live.push(`end ${slot} ${outcome}`),
      activeRequests: () => 0,
    },
    openUpstream: () => {
      throw new Error('every fake endpoint has its upstream');
    },
    deadlines: new Deadlines(new CoarseTimer(() => clock.nowMs, limits.deadlineSweepMs)),
    now: () => clock.nowMs,
    random: () => 0.5,
    ...changes,
  });
  return { proxy, clock, recorded, failureCounts, retries, live, service, snapshot };
}

export function fakeHead({ headers = [], ...changes }: RequestChanges = {}): RequestHead {
  return {
    method: 'GET',
    path: '/',
    forwardedPath: changes.path ?? '/',
    query: '',
    host: 'cart',
    authority: 'cart',
    isHttp10: false,
    headers: headerList(headers),
    bodyBytes: 0,
    source: '',
    sourceAddress: '127.0.0.1',
    readAtMs: 1_000,
    loopMs: 0,
    ...changes,
  };
}
