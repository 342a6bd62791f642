/** Certificates and tokens over REST: who was refused is logged. What is secret in a request or an answer is in no error and in no log. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { IdentityError } from '../../identity/identity-error.ts';
import { rootFactsOf } from '../../identity/root.ts';
import { parseSpiffeId, type ServiceIdentity, spiffeIdOf } from '../../model/identity.ts';
import { limits } from '../../model/limits.ts';
import { formatAddress } from '../../proxy/listener/listen-error.ts';
import type { LimitedLog } from '../../telemetry/limited-log.ts';
import { AuthorityError } from '../ca/authority-error.ts';
import type { CertificateAuthority } from '../ca/certificate-authority.ts';
import { bearerOf } from '../push-admission.ts';
import { ApiError } from './api-error.ts';
import * as shapes from './certificate-schemas.ts';
import * as schemas from './schemas.ts';
import { timeoutMsOf, type WaitTimeout } from './wait-timeout.ts';

export interface CertificateRooms {
  readonly authority: CertificateAuthority;
  readonly log: LimitedLog;
}

const bodyBytesMax = 2 * limits.csrCharsMax;
/** Each takes a few ms of this process: who comes after so many asks again. */
const certificatesPendingMax = 1_000;

export function addCertificateRoutes(app: FastifyInstance, { authority, log }: CertificateRooms): void {
  const tags = ['identity'];
  let pending = 0;
  app.post(
    '/v1/certificates',
    {
      bodyLimit: bodyBytesMax,
      schema: {
        summary: 'Certify the key of a request for a Service, with a join token or the push token in Authorization',
        body: shapes.CertificateRequest,
        response: { 200: shapes.Certificate, ...schemas.refused(400, 401, 403, 413, 415, 503) },
        tags,
      },
    },
    async (request, reply) => {
      const body = bodyOf(request);
      const identity = identityIn(body, authority);
      const csrPem = textIn(body, 'csr');
      pending++;
      try {
        if (pending > certificatesPendingMax)
          throw new ApiError('unavailable', 'Too many certificates are being made.');
        await authorize(request, identity, authority);
        const { certificatePem, bundlePem, pushToken, expiresAtMs } = await authority.certify({ csrPem, identity });
        return {
          certificate: certificatePem,
          bundle: bundlePem,
          token: pushToken,
          expiresAt: formatTime(expiresAtMs),
          trustDomain: identity.trustDomain,
          spiffeId: spiffeIdOf(identity),
        };
      } catch (error) {
        const refusal = refusalOf(error);
        if (refusal.status === 401) void reply.header('www-authenticate', 'Bearer');
        if (refusal.status !== 400) logRefusal(log, request, identity, refusal);
        throw refusal;
      } finally {
        pending--;
      }
    },
  );
  app.post(
    '/v1/join-tokens',
    {
      bodyLimit: bodyBytesMax,
      schema: {
        summary: 'Make a join token; after the first one nobody gets a certificate without a token',
        body: shapes.JoinTokenRequest,
        response: { 200: shapes.JoinToken, ...schemas.refused(400, 413, 415, 503) },
        tags,
      },
    },
    async (request) => {
      const body = bodyOf(request);
      const identity = identityIn(body, authority);
      const ttlMs = ttlMsIn(body);
      const { token, expiresAtMs } = await authority.makeJoinToken(identity, ttlMs).catch(throwRefusal);
      return { token, expiresAt: formatTime(expiresAtMs), spiffeId: spiffeIdOf(identity) };
    },
  );
  app.get(
    '/v1/ca',
    {
      schema: {
        summary: 'The certificate authority: its roots, and which sidecars a root waits for',
        response: { 200: shapes.Authority },
        tags,
      },
    },
    () => describeAuthority(authority),
  );
  app.post<{ Querystring: WaitTimeout }>(
    '/v1/ca/rotate',
    {
      schema: {
        summary: 'Sign with a new root once all sidecars have acknowledged it, or go on with a rotation that was begun',
        querystring: schemas.TimeoutQuery,
        response: { 200: shapes.Authority, ...schemas.refused(400, 503, 504) },
        tags,
      },
    },
    async (request) => {
      await authority.rotate(timeoutMsOf(request.query)).catch(throwRefusal);
      return describeAuthority(authority);
    },
  );
}

/** Of each code one line a second, so that a crowd of one kind hides no other. */
function logRefusal(
  log: LimitedLog,
  { ip, socket }: FastifyRequest,
  { namespace, service }: ServiceIdentity,
  { code, message }: ApiError,
): void {
  const peer = formatAddress(ip, socket.remotePort ?? 0);
  log.warn({ service, namespace, peer, code, reason: message }, `a sidecar was refused a certificate: ${code}`);
}

/** @throws ApiError or IdentityError: the bearer may not have this Service's certificate. */
async function authorize(
  request: FastifyRequest,
  wanted: ServiceIdentity,
  authority: CertificateAuthority,
): Promise<void> {
  const { requiresJoinToken } = authority.bundle;
  const token = bearerOf(request.headers.authorization);
  if (token === null) {
    if (request.headers.authorization !== undefined)
      throw new ApiError('token-invalid', 'Authorization must be "Bearer TOKEN".');
    // Then both ports are on loopback only: whoever asks can act as any process of this machine already.
    if (!requiresJoinToken) return;
    throw new ApiError(
      'token-required',
      'This mesh asks for a token: make one with `weft token create --join`, and start the sidecar with --join-token-file.',
    );
  }
  let shown: ServiceIdentity;
  try {
    shown = await authority.identify(token, ['join', 'push']);
  } catch (error) {
    // Where nobody needs a token, the last push token of a machine that slept is as good as none.
    if (!requiresJoinToken && error instanceof IdentityError && error.code === 'token-expired') return;
    throw error;
  }
  if (shown.service !== wanted.service || shown.namespace !== wanted.namespace)
    throw new ApiError(
      'token-for-another-service',
      `The token is for ${spiffeIdOf(shown)}, not for ${spiffeIdOf(wanted)}.`,
    );
}

async function describeAuthority(authority: CertificateAuthority) {
  const { bundle, certificateTtlMs, signing } = authority;
  const report = await authority.waitingFor();
  return {
    trustDomain: bundle.trustDomain,
    certificateTtlSeconds: certificateTtlMs / 1000,
    requiresJoinToken: bundle.requiresJoinToken,
    signing,
    roots: bundle.roots.map(({ sha256, pem, addedAt, retiresAt }) => {
      const { subject, notBeforeMs, notAfterMs } = rootFactsOf(pem);
      const [notBefore, notAfter] = [formatTime(notBeforeMs), formatTime(notAfterMs)];
      return { sha256, subject, notBefore, notAfter, addedAt, retiresAt, isSigning: sha256 === signing };
    }),
    waitingFor: [...(report?.missing ?? []), ...(report?.refused ?? [])].map(({ sidecar, service, namespace }) => ({
      sidecar,
      service,
      namespace,
    })),
  };
}

/** What the authority and its tokens refuse, in the API's words. */
function refusalOf(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof IdentityError)
    return error.code === 'bad-csr'
      ? new ApiError('bad-request', error.message)
      : new ApiError('token-invalid', `The token is not valid: ${error.message}.`);
  if (!(error instanceof AuthorityError)) throw error;
  const { code, message, missing, refused } = error;
  if (code === 'not-signing') return new ApiError('not-signing', message, { missing, refused });
  if (code === 'not-acknowledged') return new ApiError('not-applied', message, { missing, refused });
  return new ApiError('unavailable', message);
}

function throwRefusal(error: unknown): never {
  throw refusalOf(error);
}

type Body = Readonly<Record<string, unknown>>;

/** @throws ApiError bad-request. */
function bodyOf({ body }: FastifyRequest): Body {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw new ApiError('bad-request', 'The body must be a JSON object.');
  return body as Body;
}

/** @throws ApiError bad-request. */
function textIn(body: Body, field: string): string {
  const value = body[field];
  if (typeof value !== 'string' || value === '') throw new ApiError('bad-request', `${field} must be a text.`);
  return value;
}

/** @throws ApiError bad-request. */
function identityIn(body: Body, { bundle: { trustDomain } }: CertificateAuthority): ServiceIdentity {
  const identity = { trustDomain, namespace: textIn(body, 'namespace'), service: textIn(body, 'service') };
  if (parseSpiffeId(spiffeIdOf(identity)) === null)
    throw new ApiError(
      'bad-request',
      `service and namespace must be names: lower-case letters, digits and "-", ${limits.nameCharsMax} at most.`,
    );
  return identity;
}

/** @throws ApiError bad-request. */
function ttlMsIn({ ttlSeconds = limits.joinTokenTtlMs / 1000 }: Body): number {
  const secondsMax = limits.joinTokenTtlMsMax / 1000;
  if (!Number.isInteger(ttlSeconds) || (ttlSeconds as number) < 1 || (ttlSeconds as number) > secondsMax)
    throw new ApiError('bad-request', `ttlSeconds must be a whole number of 1 to ${secondsMax}.`);
  return (ttlSeconds as number) * 1000;
}

const formatTime = (ms: number): string => new Date(ms).toISOString();
