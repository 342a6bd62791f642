/** The one gate of the API: every request passes here before anything of it is read, and is known by name afterwards. */
import { strict as assert } from 'node:assert';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isAtLeast, mayWriteIn, type RoleName, roleText } from '../../model/access.ts';
import { formatAddress } from '../../proxy/listener/listen-error.ts';
import type { LimitedLog } from '../../telemetry/limited-log.ts';
import type { AccessControl, Requester } from '../access/access-control.ts';
import { AccessError } from '../access/access-error.ts';
import { bearerOf } from '../push-admission.ts';
import { ApiError, accessCodes } from './api-error.ts';
import { type Need, needOf, previewNeedOf } from './permissions.ts';
import * as schemas from './schemas.ts';
import { keptHeader } from './wanted-objects.ts';

export interface AccessRooms {
  readonly access: AccessControl;
  readonly log: LimitedLog;
  /** Started with --insecure-control-plane on an address that other machines reach: it answers under every name, and in plain HTTP. */
  readonly isExposed: boolean;
}

/** What says that the store is out of reach must not be out of reach itself then. */
const metricsPath = '/metrics';

/** Who sent the requests that passed. */
const requesters = new WeakMap<FastifyRequest, Requester>();

export function addAccessHook(app: FastifyInstance, { access, log, isExposed }: AccessRooms): void {
  app.addHook('onRoute', (route) => {
    for (const method of [route.method].flat()) {
      const need = needOf(method, route.url);
      assert(need !== null, `${method} ${route.url} has no line in permissions.ts, so nobody may ask it`);
      if (need === 'nothing' || route.schema === undefined) continue;
      const response = { ...(route.schema.response as object | undefined), ...schemas.refused(401, 403, 503) };
      route.schema = { ...route.schema, description: `Role: ${need}`, security: [{ token: [] }, {}], response };
    }
  });
  app.addHook('onRequest', (request, reply, next) => {
    try {
      if (!access.requiresToken) {
        if (!isExposed) requireLoopbackName(request.hostname);
        refuseForeignPage(request);
      }
      admit(request, access);
      next();
    } catch (error) {
      if (error instanceof ApiError) {
        logRefusal(log, request, error);
        challenge(reply, error);
      }
      next(error as Error);
    }
  });
}

/** Who asked. The gate has seen to it that he may ask this at all. */
export function requesterOf(request: FastifyRequest): Requester {
  const requester = requesters.get(request);
  assert(requester !== undefined, 'a handler runs only after the gate has let the request pass');
  return requester;
}

/** For the history, and for what a change may touch. The token's name comes first; what Weft-Actor says beside it is a remark of its bearer. */
export function authorOf(request: FastifyRequest): {
  readonly who: string;
  readonly mayWrite: (namespace: string) => boolean;
} {
  const { name, role } = requesterOf(request);
  const actor = keptHeader(request, 'weft-actor');
  const who = name === null ? (actor ?? 'anonymous') : actor === null || actor === name ? name : `${name} (${actor})`;
  // A reader's preview writes nothing. An editor's is judged as the write would be, so that it tells him whether that will pass.
  const previewsOnly = role.tag === 'reader' && isPreview(request);
  return { who, mayWrite: (namespace) => previewsOnly || mayWriteIn(role, namespace) };
}

/** @throws AccessError, ApiError forbidden. */
function admit(request: FastifyRequest, access: AccessControl): void {
  const { url } = request.routeOptions;
  // Who asks for an address that does not exist learns that only with a token.
  const need = url === undefined ? 'reader' : needIn(request, url);
  assert(need !== null, 'an address without a line in permissions.ts is not added');
  if (need === 'nothing') return;
  const requester = identify(request, access, need, url === metricsPath);
  if (!isAtLeast(requester.role, need)) throw forbidden(requester, need, null);
  const { namespace } = request.params as { readonly namespace?: string };
  if (need === 'editor' && namespace !== undefined && !mayWriteIn(requester.role, namespace))
    throw forbidden(requester, need, namespace);
  requesters.set(request, requester);
}

/** As the handlers understand it: `dryRun` with whatever value. */
const isPreview = ({ query }: FastifyRequest): boolean =>
  (query as { readonly dryRun?: unknown } | undefined)?.dryRun !== undefined;

const needIn = (request: FastifyRequest, url: string): Need | null =>
  isPreview(request) ? previewNeedOf(request.method, url) : needOf(request.method, url);

function identify(
  { headers }: FastifyRequest,
  access: AccessControl,
  need: RoleName,
  evenOutOfTouch: boolean,
): Requester {
  const bearer = bearerOf(headers.authorization);
  try {
    return access.identify(bearer, evenOutOfTouch);
  } catch (error) {
    if (!(error instanceof AccessError)) throw error;
    const isMalformed = bearer === null && headers.authorization !== undefined;
    throw new ApiError(
      isMalformed ? 'token-invalid' : accessCodes[error.code],
      `${error.message} This address needs ${articled(need)}.`,
      { needs: need },
    );
  }
}

function forbidden({ name, role }: Requester, need: RoleName, namespace: string | null): ApiError {
  const of = namespace === null ? '' : ` of ${namespace.slice(0, 80)}`;
  return new ApiError(
    'forbidden',
    `The token ${name} is ${articled(roleText(role))}; this needs ${articled(need)}${of}${need === 'admin' ? '' : ' or an admin'}.`,
    { needs: need, ...(namespace === null ? {} : { namespaces: [namespace.slice(0, 80)] }) },
  );
}

const articled = (role: string): string => `${/^[ae]/.test(role) ? 'an' : 'a'} ${role}`;

/**
 * A web page can make its own host name lead to this machine (DNS rebinding), and is then free to read and write what asks for no token,
 * through the browser of whoever runs a control plane. Its Host gives it away. Browsers always send one.
 */
function requireLoopbackName(host: string): void {
  if (host === '' || host === 'localhost' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host)) return;
  throw new ApiError(
    'misdirected',
    'As long as no API token was made the API answers to loopback names only: use 127.0.0.1, or make a token with `weft token create --role admin`.',
  );
}

/**
 * A web page may send a simple POST anywhere without asking first (Fetch, section 3.2.2), and the name it uses then is ours. What a page sends that is
 * no GET or HEAD has the page's Origin, `null` included; programs send none. Where tokens are asked for, a page has none to send.
 */
function refuseForeignPage({ method, headers }: FastifyRequest): void {
  const { origin, host = '' } = headers;
  if (origin === undefined || method === 'GET' || method === 'HEAD') return;
  if (origin.replace(/^https?:\/\//, '').toLowerCase() === host.toLowerCase()) return;
  throw new ApiError(
    'foreign-origin',
    'A web page of another site has sent this (Origin), and as long as no API token was made it would be taken for you: nothing was changed. Programs send no Origin.',
  );
}

/** RFC 6750, section 3: a token that is not valid is told apart from none, and from one that is not enough. */
function challenge(reply: FastifyReply, refusal: ApiError): void {
  if (refusal.status === 401)
    void reply.header('www-authenticate', refusal.code === 'token-invalid' ? 'Bearer error="invalid_token"' : 'Bearer');
  if (refusal.code === 'forbidden') void reply.header('www-authenticate', 'Bearer error="insufficient_scope"');
}

/** Of each code one line a second. No token is in it. */
function logRefusal(log: LimitedLog, request: FastifyRequest, { code, message }: ApiError): void {
  const peer = formatAddress(request.ip, request.socket.remotePort ?? 0);
  const asked = `${request.method} ${request.routeOptions.url ?? 'an unknown address'}`;
  log.warn({ peer, asked, reason: message }, `a request to the API was refused: ${code}`);
}
