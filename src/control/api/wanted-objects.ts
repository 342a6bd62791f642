/** What a request asks to be written: its address, headers and body, judged and in the words of change.ts. */
import { isUtf8 } from 'node:buffer';
import type { FastifyRequest } from 'fastify';
import { limits } from '../../model/limits.ts';
import type { Problem } from '../../model/problem.ts';
import { defaultNamespace, type Kind, kinds, type Resource } from '../../model/resources.ts';
import { formatPath } from '../../model/schema-problems.ts';
import { validateResource } from '../../model/validate.ts';
import type { ObjectName, WantedObject } from '../change.ts';
import { ApiError } from './api-error.ts';

const messageCharsMax = 1024;
const headerCharsMax = 256;
/** A Service of the same name in ten thousand places may be wrong in each: a person reads the first ones. */
const problemsShownMax = 1_000;

/** @throws ApiError invalid, bad-request. */
export function wantedByPut(request: FastifyRequest, object: ObjectName): WantedObject {
  const resource = resourceAt(request.body, object);
  const byHeaders = expectedByHeaders(request);
  const byBody = expectedByBody(resource);
  if (byHeaders !== null && byBody !== null && byHeaders !== byBody)
    throw new ApiError(
      'bad-request',
      `The headers expect ${revisionText(byHeaders)}, but metadata.resourceVersion is ${byBody}: give one of them.`,
    );
  return { resource, expected: byHeaders ?? byBody };
}

/** @throws ApiError bad-request. */
export function wantedByDelete(request: FastifyRequest, remove: ObjectName): WantedObject {
  return { remove, expected: expectedByHeaders(request) };
}

/** @throws ApiError invalid, bad-request, too-large. */
export function wantedByTransaction(body: unknown): {
  readonly objects: readonly WantedObject[];
  readonly message: string;
} {
  if (!isObject(body)) throw new ApiError('bad-request', 'The body must be an object with apply, delete, or both.');
  const { apply = [], delete: remove = [], message = '', ...unknown } = body;
  const applied: readonly unknown[] = Array.isArray(apply) ? apply : [];
  const removed: readonly unknown[] = Array.isArray(remove) ? remove : [];
  const count = applied.length + removed.length;
  if (count > limits.transactionObjectsMax)
    throw new ApiError(
      'too-large',
      `A transaction may have ${limits.transactionObjectsMax} objects, this one has ${count}.`,
    );
  const problems = unknownFields(unknown, 'apply, delete, message');
  if (!Array.isArray(apply)) problems.push({ path: 'apply', message: 'must be a list of resources' });
  if (!Array.isArray(remove)) problems.push({ path: 'delete', message: 'must be a list of { kind, namespace, name }' });
  problems.push(...messageProblems(message));
  const objects: WantedObject[] = [];
  for (const [i, value] of applied.entries()) {
    // Nobody is shown more, and finding them costs more than anything else here.
    if (problems.length >= problemsShownMax) break;
    const judged = validateResource(value);
    if ('resource' in judged) objects.push({ resource: judged.resource, expected: expectedByBody(judged.resource) });
    else problems.push(...judged.problems.map((problem) => below(`apply[${i}]`, problem)));
  }
  for (const [i, value] of removed.entries()) {
    const judged = removalOf(value);
    if ('problem' in judged) problems.push(below(`delete[${i}]`, judged.problem));
    else objects.push(judged);
  }
  if (problems.length > 0) throw invalid(problems);
  if (objects.length === 0) throw new ApiError('bad-request', 'The transaction has no objects.');
  return { objects, message: message as string };
}

/** @throws ApiError invalid, bad-request. */
export function wantedByRollback(body: unknown): { readonly revision: number; readonly message: string } {
  if (!isObject(body)) throw new ApiError('bad-request', 'The body must be { "revision": NUMBER }.');
  const { revision, message = '', ...unknown } = body;
  const problems = unknownFields(unknown, 'revision, message');
  if (!Number.isSafeInteger(revision) || (revision as number) < 1)
    problems.push({ path: 'revision', message: 'must be the number of a revision, 1 or more' });
  problems.push(...messageProblems(message));
  if (problems.length > 0) throw invalid(problems);
  return { revision: revision as number, message: message as string };
}

function messageProblems(message: unknown): readonly Problem[] {
  if (typeof message !== 'string' || message.length > messageCharsMax)
    return [{ path: 'message', message: `must be a text of at most ${messageCharsMax} characters` }];
  refuseControls('The message', message);
  return [];
}

/** A header that is kept with a revision: null when it is not there. @throws ApiError bad-request. */
export function keptHeader(request: FastifyRequest, name: string): string | null {
  const sent = header(request, name);
  if (sent === undefined) return null;
  // Node takes each byte for a character; whoever sends more than ASCII means UTF-8 nowadays.
  const bytes = Buffer.from(sent, 'latin1');
  const value = isUtf8(bytes) ? bytes.toString() : sent;
  if (value === '' || value.length > headerCharsMax)
    throw new ApiError('bad-request', `The header ${name} must have 1 to ${headerCharsMax} characters.`);
  refuseControls(`The header ${name}`, value);
  return value;
}

/** What is kept with a revision is shown on terminals, which take control characters (C0, DEL, C1) for commands. */
function refuseControls(place: string, text: string): void {
  const [found] = /\p{Cc}/u.exec(text) ?? [];
  if (found === undefined) return;
  const code = found.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
  throw new ApiError('bad-request', `${place} must be one line without control characters; it has U+${code}.`);
}

const invalid = (problems: readonly Problem[]): ApiError =>
  new ApiError('invalid', 'Nothing was changed.', { problems: problems.slice(0, problemsShownMax) });

const unknownFields = (fields: object, known: string): Problem[] =>
  Object.keys(fields)
    .slice(0, problemsShownMax)
    .map((field) => unknownField(field, known));

const unknownField = (field: string, known: string): Problem => ({
  path: formatPath([field]),
  message: `unknown field (known: ${known})`,
});

const below = (place: string, problem: Problem): Problem => ({
  ...problem,
  path: problem.path === '' ? place : `${place}.${problem.path}`,
});

/** The resource of the body, with the namespace of the address written into it. */
function resourceAt(body: unknown, { kind, namespace, name }: ObjectName): Resource {
  const judged = validateResource(body);
  if ('problems' in judged) throw invalid(judged.problems);
  const { resource } = judged;
  const { metadata } = resource;
  const mismatch = (path: string, is: string, should: string): ApiError =>
    invalid([{ path, message: `is ${is}, but the address says ${should.slice(0, limits.nameCharsMax)}` }]);
  if (resource.kind !== kind) throw mismatch('kind', resource.kind, kind);
  if (metadata.name !== name) throw mismatch('metadata.name', metadata.name, name);
  if (metadata.namespace === namespace) return resource;
  if (metadata.namespace !== undefined) throw mismatch('metadata.namespace', metadata.namespace, namespace);
  // The address has not been through the schema yet.
  const placed = validateResource({ ...resource, metadata: { ...metadata, namespace } });
  if ('problems' in placed) throw invalid(placed.problems);
  return placed.resource;
}

const removalFields: ReadonlySet<string> = new Set(['kind', 'namespace', 'name', 'resourceVersion']);

function removalOf(value: unknown): WantedObject | { readonly problem: Problem } {
  const refuse = (path: string, message: string) => ({ problem: { path, message } });
  if (!isObject(value)) return refuse('', 'must be { kind, namespace, name }');
  const { kind, namespace = defaultNamespace, name, resourceVersion } = value;
  // A misspelt resourceVersion must not become a deletion without condition.
  for (const field of Object.keys(value))
    if (!removalFields.has(field)) return { problem: unknownField(field, [...removalFields].join(', ')) };
  if (typeof kind !== 'string' || !Object.hasOwn(kinds, kind))
    return refuse('kind', `must be one of ${Object.keys(kinds).join(', ')}`);
  if (!isName(name)) return refuse('name', `must be a text of 1 to ${limits.nameCharsMax} characters`);
  if (!isName(namespace)) return refuse('namespace', `must be a text of 1 to ${limits.nameCharsMax} characters`);
  if (resourceVersion !== undefined && !(typeof resourceVersion === 'string' && /^\d{1,15}$/.test(resourceVersion)))
    return refuse('resourceVersion', 'must be a revision, such as "12"');
  return {
    remove: { kind: kind as Kind, namespace, name },
    expected: resourceVersion === undefined ? null : Number(resourceVersion),
  };
}

const isName = (value: unknown): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= limits.nameCharsMax;

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** `If-Match: "12"` (or 12), `If-None-Match: *` (RFC 9110 section 13.1); null when neither is there. */
function expectedByHeaders(request: FastifyRequest): number | null {
  const match = header(request, 'if-match');
  const noneMatch = header(request, 'if-none-match');
  if (match !== undefined && noneMatch !== undefined)
    throw new ApiError('bad-request', 'If-Match and If-None-Match exclude each other.');
  if (noneMatch !== undefined) {
    if (noneMatch.trim() !== '*')
      throw new ApiError('bad-request', 'If-None-Match takes * only: the object must not exist.');
    return 0;
  }
  if (match === undefined) return null;
  const [, quoted, bare] = /^\s*(?:"(\d{1,15})"|(\d{1,15}))\s*$/.exec(match) ?? [];
  const revision = quoted ?? bare;
  if (revision === undefined)
    throw new ApiError('bad-request', `If-Match takes one revision, such as "12", not ${match.slice(0, 80)}.`);
  return Number(revision);
}

const expectedByBody = ({ metadata }: Resource): number | null =>
  metadata.resourceVersion === undefined ? null : Number(metadata.resourceVersion);

const revisionText = (revision: number): string => (revision === 0 ? 'that there is none' : `revision ${revision}`);

function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}
