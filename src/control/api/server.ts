/** The REST server: one place for limits, errors as problems, and /openapi.json. */

import type { IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import swagger from '@fastify/swagger';
import { Ajv } from 'ajv';
import {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifySchemaValidationError,
  fastify,
} from 'fastify';
import { limits } from '../../model/limits.ts';
import { kinds } from '../../model/resources.ts';
import { version } from '../../model/version.ts';
import { formatAddress, listenErrorFrom } from '../../proxy/listener/listen-error.ts';
import { LimitedLog } from '../../telemetry/limited-log.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { ControlCounts } from '../control-counts.ts';
import type { StoreClock } from '../store/store.ts';
import { StoreError } from '../store/store-error.ts';
import { type AccessRooms, addAccessHook } from './access-hook.ts';
import { ApiError } from './api-error.ts';
import { addCertificateRoutes, type CertificateRooms } from './certificate-routes.ts';
import { HeldBytes, type HeldBytesOptions } from './held-bytes.ts';
import { parseJsonBody } from './json-body.ts';
import { addMetricsRoute, type MetricsRooms } from './metrics-route.ts';
import { addResourceRoutes, type ResourceRooms } from './resource-routes.ts';
import { addRevisionRoutes } from './revision-routes.ts';
import { addStatusRoutes, type StatusRooms } from './status-routes.ts';
import { type PlainPolicy, speakTlsToo } from './tls-port.ts';
import { addTokenRoutes } from './token-routes.ts';
import { addTrafficRoutes } from './traffic-routes.ts';

interface OwnRooms {
  readonly logger: Logger;
  readonly counts: ControlCounts;
  readonly heldBytes?: HeldBytesOptions;
}
type ServerRooms = ResourceRooms & StatusRooms & CertificateRooms & AccessRooms & MetricsRooms & OwnRooms;

export type ApiRooms = Omit<ServerRooms, 'log'>;

const headersTimeoutMs = 10_000;
const requestTimeoutMs = 60_000;
const connectionsMax = 10_000;
const retryAfterSeconds = 1;
/** How long an end waits for what is being answered. The process as a whole takes 5 s to stop. */
const closeMs = 2_000;

export interface ApiOptions extends ApiRooms {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly clock: StoreClock;
  /** What is shown to who speaks TLS and asks for this name (SNI; null: none). */
  readonly tlsContext: (serverName: string | null) => Promise<SecureContext>;
}

export interface RunningApi {
  /** `HOST:PORT` as bound. */
  readonly address: string;
  /** Answers what it is being told, takes no more, and cuts what is still open after 2 s. */
  close(): Promise<void>;
}

/** Rejects with ListenError when the port cannot be bound. */
export async function startApi(options: ApiOptions): Promise<RunningApi> {
  const { host, clock, logger, tlsContext } = options;
  const log = new LimitedLog(clock, logger);
  const app = await buildApi({ ...options, log });
  const onRefused = (peer: string) => log.warn({ peer }, 'plain HTTP from another machine was refused');
  const plain: PlainPolicy = options.isExposed ? { tag: 'taken' } : { tag: 'on-loopback', onRefused };
  const cutUndecided = speakTlsToo(app.server, {
    context: tlsContext,
    plain,
    clock,
    onError: (error) => logger.error({ error: String(error) }, 'a TLS connection to the API could not be served'),
  });
  try {
    await app.listen({ host, port: options.port });
  } catch (error) {
    await app.close();
    throw listenErrorFrom(error, formatAddress(host, options.port));
  }
  const { address, port } = app.server.address() as AddressInfo;
  const close = () => {
    cutUndecided();
    return closeWithin(closeMs, app, clock);
  };
  return { address: formatAddress(address, port), close };
}

async function closeWithin(deadlineMs: number, app: FastifyInstance, clock: StoreClock): Promise<void> {
  const cancel = clock.after(deadlineMs, () => app.server.closeAllConnections());
  try {
    await app.close();
  } finally {
    cancel();
  }
}

async function buildApi(rooms: ServerRooms): Promise<FastifyInstance> {
  const { counts } = rooms;
  const refuse = (reply: FastifyReply, problem: ApiError): void => {
    counts.refused('api', problem.code);
    sendProblem(reply, problem);
  };
  // A write that waits for sidecars may take minutes to answer; what is bounded is how long a request may take to arrive.
  const app = fastify({
    logger: false,
    // Node's close() ends idle connections; what comes on the others meanwhile is served, and is the last on its connection.
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    requestTimeout: requestTimeoutMs,
    routerOptions: { maxParamLength: 300 },
    http: { headersTimeout: headersTimeoutMs },
    frameworkErrors: (error, _request, reply) => refuse(reply, toApiError(error)),
    clientErrorHandler: (error, socket) => {
      counts.refused('api', 'malformed');
      refuseMalformed(error, socket);
    },
  });
  app.server.maxConnections = connectionsMax;
  addAccessHook(app, rooms);
  const heldBytes = new HeldBytes(rooms.heldBytes);
  heldBytes.watch(app);
  app.addHook('onResponse', (request, reply, done) => {
    counts.request(request.method, request.routeOptions.url, reply.statusCode);
    done();
  });
  let isClosing = false;
  app.addHook('preClose', (done) => {
    isClosing = true;
    done();
  });
  app.addHook('onSend', (_request, reply, payload, done) => {
    // Fastify says so only to requests that come after the close began: the others' connections would stay open, idle.
    if (isClosing) void reply.header('connection', 'close');
    done(null, payload);
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', async (request: FastifyRequest, payload: IncomingMessage) => {
    const body = await heldBytes.readBody(request, payload);
    // Clients that name a content type with every request have nothing to say with this one.
    if (body.byteLength === 0 && request.method === 'DELETE') return undefined;
    const isOfMany = request.routeOptions.bodyLimit > limits.objectBytesMax;
    return parseJsonBody(body, isOfMany ? limits.transactionValuesMax : limits.objectValuesMax);
  });
  const ajv = new Ajv({ allErrors: true, strict: false });
  // Bodies are judged by model/validate.ts, which the command line uses too; schemas of bodies and answers are documentation.
  app.setValidatorCompiler(({ schema, httpPart }) =>
    httpPart === 'body' ? () => true : ajv.compile(schema as object),
  );
  app.setSerializerCompiler(() => (answer) => JSON.stringify(answer));
  app.setErrorHandler((error: FastifyError, _request, reply) => {
    const problem = toApiError(error);
    if (problem.status >= 500 && problem.code === 'internal-error')
      rooms.logger.error({ error: String(error.stack ?? error) }, 'a request to the API failed');
    refuse(reply, problem);
  });
  app.setNotFoundHandler((request, reply) => {
    const allowed = methodsOf(request.url);
    if (allowed !== null && !allowed.includes(request.method)) {
      void reply.header('allow', allowed.join(', '));
      throw new ApiError('method-not-allowed', `${request.method} is not for this address; ${allowed.join(', ')} are.`);
    }
    throw new ApiError(
      'not-found',
      `There is nothing at ${request.url.slice(0, 200)}; /openapi.json lists what there is.`,
    );
  });
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Weft control plane',
        version,
        description: 'Services, routes and policies of a mesh; errors are RFC 9457 problems.',
      },
      components: {
        securitySchemes: {
          token: {
            type: 'http',
            scheme: 'bearer',
            description: 'an API token; nobody needs one until a first was made',
          },
        },
      },
    },
  });
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger());
  addResourceRoutes(app, rooms);
  addRevisionRoutes(app, rooms);
  addStatusRoutes(app, rooms);
  addTrafficRoutes(app, rooms.fleet);
  addMetricsRoute(app, rooms);
  addCertificateRoutes(app, rooms);
  addTokenRoutes(app, rooms);
  await app.ready();
  return app;
}

function sendProblem(reply: FastifyReply, { status, reply: problem }: ApiError): void {
  if (status === 503) void reply.header('retry-after', String(retryAfterSeconds));
  void reply.code(status).type('application/problem+json').send(JSON.stringify(problem));
}

/** What is no HTTP never reaches a route. */
function refuseMalformed(error: Error & { readonly code?: string }, socket: Socket): void {
  if (!socket.writable) return;
  const [status, detail] = malformed[error.code ?? ''] ?? [
    '400 Bad Request',
    'This is not HTTP as this port speaks it.',
  ];
  const body = JSON.stringify(new ApiError('bad-request', detail).reply);
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

const malformed: Readonly<Record<string, readonly [status: string, detail: string]>> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'The head of the request is too large.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'The request did not arrive in time.'],
};

/** Fastify's own refusals in the API's words; anything unknown is ours to mend. */
function toApiError(error: FastifyError | ApiError | StoreError): ApiError {
  if (error instanceof ApiError) return error;
  // Its messages say what to do.
  if (error instanceof StoreError) return new ApiError('unavailable', error.message);
  if (error.validation !== undefined)
    return new ApiError(
      'bad-request',
      `${places[error.validationContext ?? ''] ?? 'The address'}: ${error.validation.map(explain).join('; ')}.`,
    );
  switch (error.code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_ERR_CTP_EMPTY_TYPE':
      return new ApiError('unsupported-media-type', 'Send JSON, with content-type: application/json.');
    case 'FST_ERR_BAD_URL':
      return new ApiError('bad-request', 'The address has a % that is no escape.');
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new ApiError('not-found', 'There is nothing with a name as long as this one.');
    default:
      break;
  }
  if (error.statusCode === 400) return new ApiError('bad-request', error.message);
  if (error.statusCode === 413) return new ApiError('too-large', error.message);
  return new ApiError('internal-error', 'Its log says more.');
}

const places: Readonly<Record<string, string>> = { querystring: 'The query', headers: 'The headers' };

function explain({ instancePath, keyword, params, message }: FastifySchemaValidationError): string {
  const field = instancePath.slice(1);
  if (keyword === 'additionalProperties') return `${params.additionalProperty} is not known here`;
  if (keyword === 'enum') return `${field} must be ${[params.allowedValues].flat().join(' or ')}`;
  if (keyword === 'pattern')
    return `${field} must be ${numberForms[String(params.pattern)] ?? 'of the form that /openapi.json says'}`;
  return `${field} ${message}`.trim();
}

/** Numbers in an address are texts of these forms (schemas.ts, traffic-schemas.ts). */
const numberForms: Readonly<Record<string, string>> = {
  '^[0-9]{1,15}$': 'a whole number, 0 or more',
  '^[1-9][0-9]{0,3}$': 'a whole number, 1 to 9999',
  '^([1-9][0-9]?|100)$': 'a whole number, 1 to 100',
  '^[1-9][0-9]?$': 'a whole number, 1 to 99',
  '^[0-9]{1,2}$': 'a whole number, 0 to 99',
};

const collections = Object.values(kinds)
  .map(({ collection }) => collection)
  .join('|');
const known: readonly (readonly [RegExp, readonly string[]])[] = [
  [new RegExp(`^/v1/(${collections})/[^/]+/[^/]+$`), ['GET', 'HEAD', 'PUT', 'DELETE']],
  [
    new RegExp(`^/v1/(${collections}|watch|sidecars|stats|latency|bootstrap|status|revisions|diff|ca)$`),
    ['GET', 'HEAD'],
  ],
  [/^\/v1\/revisions\/[^/]+$/, ['GET', 'HEAD']],
  [/^\/v1\/tokens$/, ['GET', 'HEAD', 'POST']],
  [/^\/v1\/tokens\/[^/]+$/, ['DELETE']],
  [/^\/v1\/(transactions|rollback|certificates|join-tokens|ca\/rotate)$/, ['POST']],
  [/^\/(healthz|metrics|openapi\.json)$/, ['GET', 'HEAD']],
];

function methodsOf(url: string): readonly string[] | null {
  const path = url.split('?')[0]!;
  return known.find(([form]) => form.test(path))?.[1] ?? null;
}
