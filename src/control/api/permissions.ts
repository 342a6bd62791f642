/**
 * What each address of the API asks of its requester, in one table. An address that is not in it cannot be added to the server
 * (access-hook.ts), so that nobody opens one by forgetting about this page.
 */
import type { RoleName } from '../../model/access.ts';
import { kinds } from '../../model/resources.ts';

/** `nothing`: for whoever comes. An editor needs the namespace of the address; what a body names is judged where it is written (change.ts). */
export type Need = 'nothing' | RoleName;

const needs: ReadonlyMap<string, Need> = new Map<string, Need>([
  // What a sidecar asks before it has an identity. A certificate is given for a token of its own kind (docs/identity.md).
  ['GET /healthz', 'nothing'],
  ['GET /v1/bootstrap', 'nothing'],
  ['POST /v1/certificates', 'nothing'],
  // Names nothing of this mesh, but its version and all there is to try: nobody without a token has a use for it.
  ['GET /openapi.json', 'reader'],
  ...Object.values(kinds).flatMap(({ collection }): [string, Need][] => [
    [`GET /v1/${collection}`, 'reader'],
    [`GET /v1/${collection}/:namespace/:name`, 'reader'],
    [`PUT /v1/${collection}/:namespace/:name`, 'editor'],
    [`DELETE /v1/${collection}/:namespace/:name`, 'editor'],
  ]),
  ['POST /v1/transactions', 'editor'],
  ['POST /v1/rollback', 'editor'],
  ['GET /v1/watch', 'reader'],
  ['GET /v1/sidecars', 'reader'],
  ['GET /v1/stats', 'reader'],
  ['GET /v1/status', 'reader'],
  ['GET /metrics', 'reader'],
  ['GET /v1/revisions', 'reader'],
  ['GET /v1/revisions/:revision', 'reader'],
  ['GET /v1/diff', 'reader'],
  ['GET /v1/ca', 'reader'],
  // A join token is an identity in the mesh: whoever has it acts as that Service.
  ['POST /v1/join-tokens', 'admin'],
  ['POST /v1/ca/rotate', 'admin'],
  ['GET /v1/tokens', 'admin'],
  ['POST /v1/tokens', 'admin'],
  ['DELETE /v1/tokens/:name', 'admin'],
]);

/** `url` is the route's, with its parameters by name. HEAD is a GET without a body. Null: nobody has said. */
export const needOf = (method: string, url: string): Need | null =>
  needs.get(`${method === 'HEAD' ? 'GET' : method} ${url}`) ?? null;

/** `GET /v1/services` and so on, for the test that holds the table against the server. */
export const knownAddresses = (): readonly string[] => [...needs.keys()];
