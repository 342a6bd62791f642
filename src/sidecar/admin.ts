/**
 * The sidecar's admin port: what an operator, a probe or Prometheus may ask of it, over plain HTTP on loopback. It only translates
 * between HTTP and the questions of `AdminOptions`; it knows nothing of the proxy.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, BlockList, isIP } from 'node:net';
import type { DescribedRequest, DryDecision } from '../model/decision.ts';
import { limits } from '../model/limits.ts';
import type { LatencyAnswer, RecentAnswer, RecentQuery } from '../model/recent-request.ts';
import { everyRequest, isRequestId, parseDescribedRequest, parseRequestQuery } from './request-query.ts';

export interface AdminOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** `/ready`. The reason is for people, and empty when ready. */
  readonly readiness: () => { readonly isReady: boolean; readonly reason: string };
  /** `/metrics`: Prometheus text. Asked once for all scrapes that come while it works. */
  readonly renderMetrics: () => Promise<string>;
  /** `/config`: what is in force (revision, units, sidecar, connection). Maps and Sets may be in it. May be a promise. */
  readonly config: () => unknown;
  /** `/stats`: `WindowStats` of telemetry/stats.ts. May be a promise. */
  readonly stats: () => unknown;
  /** `/requests`: the last ones that match, newest first. */
  readonly requests: (query: RecentQuery) => Promise<RecentAnswer>;
  /** `/decision`: what would become of a request that is not sent. */
  readonly describe: (asked: DescribedRequest) => Promise<DryDecision>;
  /** `/latency`: of a Service's hops, or with an empty name of all. */
  readonly latency: (service: string) => Promise<LatencyAnswer>;
  /** `POST /drain`. Called every time; must return at once. */
  readonly drain: () => void;
  /** A question could not be answered; the caller of the port gets a 500. */
  readonly onError: (error: unknown, path: string) => void;
  /** How long a scrape waits for its text, ms. Default `limits.adminRequestMs`. */
  readonly metricsDeadlineMs?: number;
}

export interface Admin {
  /** `HOST:PORT` as bound. */
  readonly address: string;
  /** Cuts what is open; resolves when the port is free. */
  close(): Promise<void>;
}

export type AdminErrorCode = 'port-taken' | 'not-loopback' | 'cannot-listen';

export class AdminError extends Error {
  readonly code: AdminErrorCode;

  constructor(code: AdminErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'AdminError';
    this.code = code;
  }
}

/** @throws AdminError when the address is not a loopback one, or cannot be listened on. */
export async function createAdmin(options: AdminOptions): Promise<Admin> {
  const { host, port } = options;
  if (!isLoopback(host)) {
    throw new AdminError('not-loopback', `The admin port has no access control: ${host} must be a loopback address.`);
  }
  const endpoints = makeEndpoints(options);
  const server = createServer((request, response) => answer(request, response, endpoints, options));
  server.maxConnections = limits.adminConnectionsMax;
  server.requestTimeout = limits.adminRequestMs;
  server.headersTimeout = limits.adminRequestMs;
  // Also ends a scrape whose reader has stopped reading.
  server.setTimeout(2 * limits.adminRequestMs);
  await listen(server, host, port);
  const bound = server.address() as AddressInfo;
  return { address: joinAddress(bound.address, bound.port), close: () => close(server) };
}

interface Endpoint {
  readonly method: 'GET' | 'POST';
  readonly about: string;
  readonly answer: (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;
}

function makeEndpoints(options: AdminOptions): ReadonlyMap<string, Endpoint> {
  const endpoints = new Map<string, Endpoint>();
  const add: AddEndpoint = (path, method, about, run) => endpoints.set(path, { method, about, answer: run });

  add('/', 'GET', 'this list', (_request, response) => {
    const list = Array.from(endpoints, ([path, { method, about }]) => ({ path, method, about }));
    sendJson(response, 200, { endpoints: list });
  });
  add('/ready', 'GET', '200 when requests can be served, else 503 with the reason', (_request, response) => {
    const { isReady, reason } = options.readiness();
    sendJson(response, isReady ? 200 : 503, isReady ? { ready: true } : { ready: false, reason });
  });
  add('/live', 'GET', '200 while the event loop turns', (_request, response) => {
    sendJson(response, 200, { live: true });
  });
  const scrape = shareRender(options.renderMetrics, options.metricsDeadlineMs ?? limits.adminRequestMs);
  add('/metrics', 'GET', 'metrics in Prometheus text format', async (_request, response) => {
    const text = await scrape();
    if (text === null) sendError(response, 503, 'metrics-timeout', 'The metrics were not rendered in time.');
    else send(response, 200, 'text/plain; version=0.0.4; charset=utf-8', text);
  });
  add('/config', 'GET', 'the configuration in force', async (_request, response) => {
    sendJson(response, 200, await options.config());
  });
  const about = 'requests, percentiles and parts of each series over the last window';
  add('/stats', 'GET', about, async (_request, response) => {
    sendJson(response, 200, await options.stats());
  });
  addRequests(add, options);
  add('/drain', 'POST', 'stop taking requests, finish those that run, then end', (request, response) => {
    // A browser names the page that posts. No page has business here, and loopback would not keep it out.
    if (request.headers.origin !== undefined) {
      sendError(response, 403, 'cross-origin', 'This is not for browsers.');
      return;
    }
    options.drain();
    sendJson(response, 202, { draining: true });
  });
  return endpoints;
}

type AddEndpoint = (path: string, method: Endpoint['method'], about: string, run: Endpoint['answer']) => void;

function addRequests(add: AddEndpoint, options: AdminOptions): void {
  const about = 'the last requests in full: service=&route=&status=&min-ms=&failed=1&limit=';
  add('/requests', 'GET', about, async (request, response) => {
    const query = parseRequestQuery(searchOf(request));
    if (typeof query === 'string') sendError(response, 400, 'bad-query', query);
    else sendCompactJson(response, await options.requests(query));
  });
  add(oneRequest, 'GET', 'every request of a trace id or span id', async (request, response) => {
    const id = request.url!.split('?', 1)[0]!.slice('/requests/'.length);
    if (!isRequestId(id)) {
      sendError(
        response,
        400,
        'bad-id',
        'Expected a trace id or a span id: 32 or 16 hexadecimal digits in lower case.',
      );
      return;
    }
    const found = await options.requests({ ...everyRequest, id, limit: limits.recentAnswerMax });
    if (found.requests.length > 0 || (found.refusals ?? []).length > 0) sendCompactJson(response, found);
    else sendError(response, 404, 'not-found', noSuchRequest(id, found.keptOneIn));
  });
  const described = 'what would become of a request that is not sent: host=&method=&path=&header=NAME:VALUE';
  add('/decision', 'GET', described, async (request, response) => {
    const asked = parseDescribedRequest(searchOf(request));
    if (typeof asked === 'string') sendError(response, 400, 'bad-query', asked);
    else sendCompactJson(response, await options.describe(asked));
  });
  add(
    '/latency',
    'GET',
    'where the time of the requests around p50, p95, p99 went: service=',
    async (request, response) => {
      sendCompactJson(response, await options.latency(new URLSearchParams(searchOf(request)).get('service') ?? ''));
    },
  );
}

const noSuchRequest = (id: string, keptOneIn: number): string =>
  `No request ${id} is kept here: it was another sidecar's, has not ended, or ended too long ago.` +
  (keptOneIn === 1
    ? ''
    : ` Many end here: of all one in ${keptOneIn} is kept, for two seconds or so, beside them the last ${limits.recentFailuresMax} that failed, the last ${limits.recentChosenMax} whose traceparent is sampled, and the slowest of each minute.`);

/** In the list of endpoints, and for whatever stands below /requests/. */
const oneRequest = '/requests/ID';

/** A value may hold a question mark of its own. */
const searchOf = ({ url = '' }: IncomingMessage): string => (url.includes('?') ? url.slice(url.indexOf('?') + 1) : '');

/** Of plain values only; a replacer and indentation cost four times as much, and these answers are large. */
function sendCompactJson(response: ServerResponse, value: RecentAnswer | LatencyAnswer | DryDecision): void {
  send(response, 200, 'application/json', `${JSON.stringify(value)}\n`);
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  endpoints: ReadonlyMap<string, Endpoint>,
  options: AdminOptions,
): void {
  // No endpoint has a body; what comes is thrown away, and `requestTimeout` bounds for how long.
  request.resume();
  const path = request.url!.split('?', 1)[0]!;
  const endpoint = endpoints.get(path.startsWith('/requests/') ? oneRequest : path);
  if (endpoint === undefined) {
    sendError(response, 404, 'not-found', `There is no ${path} here. GET / lists what there is.`);
    return;
  }
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  if (method !== endpoint.method) {
    response.setHeader('Allow', endpoint.method === 'GET' ? 'GET, HEAD' : endpoint.method);
    sendError(response, 405, 'method-not-allowed', `${path} understands ${endpoint.method}.`);
    return;
  }
  void run(endpoint, request, response).catch((error: unknown) => {
    options.onError(error, path);
    if (response.headersSent) response.destroy();
    else sendError(response, 500, 'internal-error', 'The sidecar could not answer; its log has more.');
  });
}

/** Async, so that what an endpoint throws and what it rejects with end in one place. */
async function run(endpoint: Endpoint, request: IncomingMessage, response: ServerResponse): Promise<void> {
  await endpoint.answer(request, response);
}

/**
 * One render for all scrapes that come while it works. A scrape that waited for `deadlineMs` gets null, and the next begins another
 * render: the first may hang for ever.
 */
function shareRender(render: () => Promise<string>, deadlineMs: number): () => Promise<Buffer | null> {
  let rendering: Promise<Buffer> | null = null;
  const begin = (): Promise<Buffer> => {
    // Encoded once, however many wait for it.
    const begun = render().then((text) => Buffer.from(text));
    const forget = () => {
      if (rendering === begun) rendering = null;
    };
    begun.then(forget, forget);
    rendering = begun;
    return begun;
  };
  return async () => {
    const shared = rendering ?? begin();
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<null>((resolve) => {
      timer = setTimeout(resolve, deadlineMs, null);
    });
    try {
      const text = await Promise.race([shared, deadline]);
      if (text === null && rendering === shared) rendering = null;
      return text;
    } finally {
      clearTimeout(timer);
    }
  };
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  send(response, status, 'application/json', `${JSON.stringify(value, plainCollections, 2)}\n`);
}

function sendError(response: ServerResponse, status: number, code: string, message: string): void {
  sendJson(response, status, { error: code, message });
}

function send(response: ServerResponse, status: number, contentType: string, body: string | Buffer): void {
  response.writeHead(status, {
    'Content-Type': contentType,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
  });
  response.end(body);
}

function plainCollections(_key: string, value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries(value);
  if (value instanceof Set) return [...value];
  return value;
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException) => reject(listenError(error, joinAddress(host, port)));
    server.once('error', fail);
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', fail);
      resolve();
    });
  });
}

function listenError(error: NodeJS.ErrnoException, address: string): AdminError {
  return error.code === 'EADDRINUSE'
    ? new AdminError(
        'port-taken',
        `The admin port ${address} is taken by another process. Choose another with --admin HOST:PORT.`,
        error,
      )
    : new AdminError('cannot-listen', `Cannot listen on the admin port ${address}: ${error.message}`, error);
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

function isLoopback(host: string): boolean {
  const family = isIP(host);
  return family === 0 ? host === 'localhost' : loopback.check(host, family === 4 ? 'ipv4' : 'ipv6');
}

function joinAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
