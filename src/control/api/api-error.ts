/** What the API says when it says no: an RFC 9457 problem, with Weft's own members `code`, `problems`, and what belongs to the code. */
import type { Problem } from '../../model/problem.ts';
import { everyNamespace } from '../../model/service-names.ts';
import type { AccessErrorCode } from '../access/access-error.ts';
import { type ChangeOutcome, describe, type ForbiddenObject } from '../change.ts';

export type ApiErrorCode =
  | 'bad-request'
  | 'invalid'
  | 'token-required'
  | 'token-invalid'
  | 'token-for-another-service'
  | 'forbidden'
  | 'tls-required'
  | 'name-taken'
  | 'too-many-tokens'
  | 'admin-needed'
  | 'not-signing'
  | 'misdirected'
  | 'foreign-origin'
  | 'not-found'
  | 'method-not-allowed'
  | 'conflict'
  | 'idempotency-key-reused'
  | 'revision-gone'
  | 'too-large'
  | 'unsupported-media-type'
  | 'too-many-watchers'
  | 'not-applied'
  | 'unavailable'
  | 'internal-error';

const titles: Readonly<Record<ApiErrorCode, readonly [status: number, title: string]>> = {
  'bad-request': [400, 'The request cannot be understood'],
  invalid: [422, 'The configuration is not valid'],
  'token-required': [401, 'A token is needed'],
  'token-invalid': [401, 'The token is not valid'],
  'token-for-another-service': [403, 'The token is for another Service'],
  forbidden: [403, 'The token does not allow this'],
  'tls-required': [426, 'TLS is needed'],
  'name-taken': [409, 'The name is taken'],
  'too-many-tokens': [409, 'Too many tokens'],
  'admin-needed': [409, 'An admin is needed'],
  'not-signing': [503, 'No certificates are signed now'],
  misdirected: [421, 'This is not the host that was asked for'],
  'foreign-origin': [403, 'A page of another site may not ask this'],
  'not-found': [404, 'Not found'],
  'method-not-allowed': [405, 'The method is not allowed here'],
  conflict: [412, 'The object was changed meanwhile'],
  'idempotency-key-reused': [422, 'The idempotency key was used for another change'],
  'revision-gone': [410, 'That revision is no longer kept'],
  'too-large': [413, 'The request is too large'],
  'unsupported-media-type': [415, 'The body must be application/json'],
  'too-many-watchers': [503, 'Too many watchers'],
  'not-applied': [504, 'Committed, but not in force everywhere in time'],
  unavailable: [503, 'Not available now'],
  'internal-error': [500, 'The control plane failed'],
};

export interface ProblemReply {
  readonly type: 'about:blank';
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ApiErrorCode;
  readonly problems?: readonly Problem[];
}

export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;

  /** `members` join the problem: `problems`, `expected`, `missing` and so on. */
  constructor(
    readonly code: ApiErrorCode,
    detail: string,
    readonly members: Readonly<Record<string, unknown>> = {},
  ) {
    super(detail);
    this.status = titles[code][0];
  }

  get reply(): ProblemReply {
    const [status, title] = titles[this.code];
    return { type: 'about:blank', title, status, detail: this.message, code: this.code, ...this.members };
  }
}

/** `oldest`: the first revision whose state is still known. */
export const revisionGone = (revision: number, oldest: number): ApiError =>
  new ApiError('revision-gone', `Revision ${revision} is no longer kept: the oldest one that is known is ${oldest}.`, {
    oldest,
  });

/** A refused change in the API's words. */
export function changeError(outcome: Exclude<ChangeOutcome, { tag: 'done' }>): ApiError {
  switch (outcome.tag) {
    case 'invalid':
      return new ApiError(
        'invalid',
        `Nothing was changed: ${outcome.problems.length === 1 ? 'there is a problem' : `there are ${outcome.problems.length} problems`}.`,
        { problems: outcome.problems },
      );
    case 'conflict': {
      const { object, expected, actual } = outcome;
      const is = actual === 0 ? 'does not exist' : `is at revision ${actual}`;
      return new ApiError(
        'conflict',
        `${describe(object)} ${is}, not ${expected === 0 ? 'absent' : `at ${expected}`}: read it again and repeat the change, or leave out metadata.resourceVersion to replace whatever is there.`,
        { object: describe(object), expected, actual },
      );
    }
    case 'missing':
      return new ApiError(
        'not-found',
        `${describe(outcome.object)} does not exist, so nothing was changed: leave it out, or look at its name and namespace again.`,
      );
    case 'forbidden':
      return forbiddenError(outcome.objects);
    case 'gone':
      return revisionGone(outcome.revision, outcome.oldest);
    case 'reused-id':
      return new ApiError(
        'idempotency-key-reused',
        `Nothing was changed: this Idempotency-Key made revision ${outcome.revision}, which changed something else. Use a new one for each change.`,
        { revision: outcome.revision },
      );
    case 'unavailable':
      return new ApiError('unavailable', `Nothing was changed: ${outcome.reason}. Send the change again.`);
    default:
      return outcome satisfies never;
  }
}

/** What access control refuses, in the API's words. */
export const accessCodes: Readonly<Record<AccessErrorCode, ApiErrorCode>> = {
  'token-required': 'token-required',
  'token-invalid': 'token-invalid',
  'name-taken': 'name-taken',
  'no-such-token': 'not-found',
  'too-many-tokens': 'too-many-tokens',
  'admin-needed': 'admin-needed',
  'out-of-touch': 'unavailable',
  unavailable: 'unavailable',
};

const forbiddenShownMax = 20;

const nameIn = (namespace: string): string =>
  namespace === everyNamespace ? 'names of every namespace' : `a name of the mesh in ${namespace}`;

function forbiddenError(objects: readonly ForbiddenObject[]): ApiError {
  const names = objects.map((object) =>
    object.hostname !== null
      ? `${describe(object)} (claims ${object.hostname}, ${nameIn(object.forbidden)})`
      : object.forbidden === object.namespace
        ? describe(object)
        : `${describe(object)} (attached to a Service in ${object.forbidden})`,
  );
  const more = names.length - forbiddenShownMax;
  const shown = `${names.slice(0, forbiddenShownMax).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
  const namespaces = [...new Set(objects.map(({ forbidden }) => forbidden))];
  return new ApiError(
    'forbidden',
    namespaces.includes(everyNamespace)
      ? `Nothing was changed: this needs a token of an admin, for ${shown}.`
      : `Nothing was changed: this needs a token of an editor of ${namespaces.slice(0, forbiddenShownMax).join(', ')}, or of an admin, for ${shown}.`,
    { needs: 'editor', namespaces: namespaces.slice(0, forbiddenShownMax), objects: names.slice(0, forbiddenShownMax) },
  );
}
