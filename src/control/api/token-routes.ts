/** API tokens over REST: made, listed and revoked by admins. A token's text is in one answer, and in no log and no error. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { isTokenName, type Role, roleNames, tokenNameExpected } from '../../model/access.ts';
import { isNamespaceName } from '../../model/identity.ts';
import { limits } from '../../model/limits.ts';
import type { AccessControl, TokenWish } from '../access/access-control.ts';
import { AccessError } from '../access/access-error.ts';
import type { StoredToken } from '../access/token-list.ts';
import { authorOf } from './access-hook.ts';
import { ApiError, accessCodes } from './api-error.ts';
import * as schemas from './schemas.ts';

export interface TokenRooms {
  readonly access: AccessControl;
}

const bodyBytesMax = 16 * 1024;

export function addTokenRoutes(app: FastifyInstance, { access }: TokenRooms): void {
  const tags = ['tokens'];
  app.post(
    '/v1/tokens',
    {
      bodyLimit: bodyBytesMax,
      schema: {
        summary: 'Make an API token; after the first one, an admin, every request needs one',
        body: schemas.TokenRequest,
        response: { 200: schemas.MadeToken, ...schemas.refused(400, 409, 413, 415, 503) },
        tags,
      },
    },
    async (request, reply) => {
      const wish = wishIn(request);
      const { text, token } = await access.create(wish, authorOf(request).who).catch(throwRefusal);
      // Nobody between here and its owner keeps it.
      return reply.header('cache-control', 'no-store').send({ token: text, ...shown(token) });
    },
  );
  app.get(
    '/v1/tokens',
    { schema: { summary: 'Every API token, without what is secret of it', response: { 200: schemas.Tokens }, tags } },
    () => ({ items: access.list().map((token) => ({ ...shown(token), lastUsedAt: token.lastUsedAt })) }),
  );
  app.delete<{ Params: { readonly name: string } }>(
    '/v1/tokens/:name',
    {
      schema: {
        summary: 'Revoke an API token, by its name or id',
        params: schemas.TokenParams,
        response: { 200: schemas.RevokedToken, ...schemas.refused(404, 409, 503) },
        tags,
      },
    },
    async (request) => {
      await access.revoke(request.params.name, authorOf(request).who).catch(throwRefusal);
      return { revoked: request.params.name };
    },
  );
}

const shown = ({ id, name, role, createdAt, createdBy, expiresAt }: StoredToken) => ({
  id,
  name,
  role: role.tag,
  namespaces: role.tag === 'editor' ? role.namespaces : [],
  createdAt,
  createdBy,
  expiresAt,
});

function throwRefusal(error: unknown): never {
  throw error instanceof AccessError ? new ApiError(accessCodes[error.code], error.message) : error;
}

const fields = ['role', 'namespaces', 'name', 'ttlSeconds'];

/** @throws ApiError bad-request. */
function wishIn({ body }: FastifyRequest): TokenWish {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw bad('The body must be a JSON object.');
  const wish = body as Readonly<Record<string, unknown>>;
  const unknown = Object.keys(wish).find((field) => !fields.includes(field));
  if (unknown !== undefined) throw bad(`${unknown.slice(0, 80)} is not known here: ${fields.join(', ')} are.`);
  const { name = null } = wish;
  if (name !== null && !(typeof name === 'string' && isTokenName(name)))
    throw bad(`name must be ${tokenNameExpected}.`);
  return { name, role: roleIn(wish), ttlMs: ttlMsIn(wish) };
}

function roleIn({ role, namespaces = [] }: Readonly<Record<string, unknown>>): Role {
  const tag = roleNames.find((known) => known === role);
  if (tag === undefined) throw bad(`role must be one of ${roleNames.join(', ')}.`);
  const isList =
    Array.isArray(namespaces) && namespaces.every((each) => typeof each === 'string' && isNamespaceName(each));
  if (!isList || namespaces.length > limits.editorNamespacesMax)
    throw bad(`namespaces must be a list of at most ${limits.editorNamespacesMax} names of namespaces.`);
  if (tag !== 'editor') {
    if (namespaces.length > 0) throw bad(`namespaces are for an editor: a ${tag} has all of them.`);
    return { tag };
  }
  if (namespaces.length === 0) throw bad('An editor needs namespaces: those that the token may write in.');
  return { tag, namespaces: [...new Set(namespaces as string[])].sort() };
}

function ttlMsIn({ ttlSeconds = limits.apiTokenTtlMs / 1000 }: Readonly<Record<string, unknown>>): number | null {
  if (ttlSeconds === null) return null;
  const secondsMax = limits.apiTokenTtlMsMax / 1000;
  if (!Number.isInteger(ttlSeconds) || (ttlSeconds as number) < 1 || (ttlSeconds as number) > secondsMax)
    throw bad(`ttlSeconds must be a whole number of 1 to ${secondsMax}, or null for a token without end.`);
  return (ttlSeconds as number) * 1000;
}

const bad = (detail: string): ApiError => new ApiError('bad-request', detail);
