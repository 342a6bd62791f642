/** The REST server: one place for limits, errors as problems, and /openapi.json. */

import type { AddressInfo } from 'node:net';
import swagger from '@fastify/swagger';
import { Ajv } from 'ajv';
import { type FastifyError, type FastifyInstance, fastify } from 'fastify';
import { kinds } from '../../model/resources.ts';
import { version } from '../../model/version.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { ApiError } from './api-error.ts';
import { addResourceRoutes, type ResourceRooms } from './resource-routes.ts';
import { addStatusRoutes, type StatusRooms } from './status-routes.ts';

export type ApiRooms = ResourceRooms & StatusRooms & { readonly logger: Logger };

const headersTimeoutMs = 10_000;
const requestTimeoutMs = 60_000;
const connectionsMax = 10_000;

export interface ApiOptions extends ApiRooms {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

export interface RunningApi {
  /** `HOST:PORT` as bound. */
  readonly address: string;
  /** Cuts what is open. */
  close(): Promise<void>;
}

/** Rejects with the system's error when the port cannot be bound. */
export async function startApi(options: ApiOptions): Promise<RunningApi> {
  const app = await buildApi(options);
  try {
    await app.listen({ host: options.host, port: options.port });
  } catch (error) {
    await app.close();
    throw error;
  }
  const { address, port } = app.server.address() as AddressInfo;
  return { address: `${address.includes(':') ? `[${address}]` : address}:${port}`, close: () => app.close() };
}

async function buildApi(rooms: ApiRooms): Promise<FastifyInstance> {
  // A write that waits for sidecars may take minutes to answer; what is bounded is how long a request may take to arrive.
  const app = fastify({
    logger: false,
    forceCloseConnections: true,
    requestTimeout: requestTimeoutMs,
    routerOptions: { maxParamLength: 300 },
    http: { headersTimeout: headersTimeoutMs },
  });
  app.server.maxConnections = connectionsMax;
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
    void reply.code(problem.status).type('application/problem+json').send(JSON.stringify(problem.reply));
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
    },
  });
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger());
  addResourceRoutes(app, rooms);
  addStatusRoutes(app, rooms);
  await app.ready();
  return app;
}

/** Fastify's own refusals in the API's words; anything unknown is ours to mend. */
function toApiError(error: FastifyError | ApiError): ApiError {
  if (error instanceof ApiError) return error;
  if (error.validation !== undefined)
    return new ApiError(
      'bad-request',
      `${error.validationContext}: ${error.validation.map(({ instancePath, message }) => `${instancePath.slice(1)} ${message}`.trim()).join('; ')}.`,
    );
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new ApiError('too-large', 'The body is larger than the limit of this address.');
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new ApiError('unsupported-media-type', 'Send JSON, with content-type: application/json.');
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new ApiError('bad-request', 'The body is empty, but content-type says that it is JSON.');
    default:
      break;
  }
  if (error.statusCode === 400)
    return new ApiError(
      'bad-request',
      `The body is not valid JSON: ${error.cause instanceof Error ? error.cause.message : error.message}.`,
    );
  if (error.statusCode === 413) return new ApiError('too-large', error.message);
  return new ApiError('internal-error', 'Its log says more.');
}

const collections = Object.values(kinds)
  .map(({ collection }) => collection)
  .join('|');
const known: readonly (readonly [RegExp, readonly string[]])[] = [
  [new RegExp(`^/v1/(${collections})/[^/]+/[^/]+$`), ['GET', 'PUT', 'DELETE']],
  [new RegExp(`^/v1/(${collections}|watch|sidecars|stats|bootstrap|status|revisions)$`), ['GET']],
  [/^\/v1\/transactions$/, ['POST']],
  [/^\/(healthz|openapi\.json)$/, ['GET']],
];

function methodsOf(url: string): readonly string[] | null {
  const path = url.split('?')[0]!;
  return known.find(([form]) => form.test(path))?.[1] ?? null;
}
