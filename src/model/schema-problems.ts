/** The errors of a JSON schema as a person wants to read them: what was found, what was expected, one line for each mistake. */
import type { ErrorObject } from 'ajv';
import { all, first, schemas } from './generated/validators.js';
import { limits } from './limits.ts';
import type { Kind } from './resources.ts';
import { nearest } from './similar-names.ts';

/** A mistake, with the way to its place in the value. `isKey`: the key is what is wrong, not what stands behind it. */
export interface SchemaProblem {
  readonly keys: readonly (string | number)[];
  readonly isKey: boolean;
  readonly message: string;
}

/** Every mistake; of a value with more than `limits.valuesJudgedInFullMax` members the first one only. */
export function schemaProblems(kind: Kind, value: unknown): SchemaProblem[] {
  let validate = first[kind];
  if (validate(value)) return [];
  // Of a list of nonsense each member would have an error, with its data and schema.
  if (hasAtMost(limits.valuesJudgedInFullMax, value)) {
    validate = all[kind];
    validate(value);
  }
  const problems: SchemaProblem[] = [];
  const seen = new Set<string>();
  for (const error of validate.errors ?? []) {
    const problem = isOfFormMeant(error, schemas[kind], value) ? toProblem(error) : null;
    if (problem === null) continue;
    const mark = `${problem.keys.join('/')} ${problem.message}`;
    if (seen.has(mark)) continue;
    seen.add(mark);
    problems.push(problem);
  }
  return problems;
}

/** Of the members of all objects and lists in a value together. The value is a tree: it was read from JSON or YAML with bounded depth. */
function hasAtMost(max: number, value: unknown): boolean {
  let left = max;
  const open: unknown[] = [value];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (typeof next !== 'object' || next === null) continue;
    const members = Object.values(next);
    left -= members.length;
    if (left < 0) return false;
    for (const member of members) if (typeof member === 'object' && member !== null) open.push(member);
  }
  return true;
}

/** `spec.rules[0].matches`. Names are whatever somebody wrote, and shortened as values are. */
export function formatPath(keys: readonly (string | number)[]): string {
  return keys
    .map((key, i) => (typeof key === 'number' ? `[${key}]` : i === 0 ? shorten(key) : `.${shorten(key)}`))
    .join('');
}

/** What `formatPath` was given, as long as no name in it has a dot or a bracket. */
export function parsePath(path: string): (string | number)[] {
  return path
    .split(/[.[\]]+/)
    .filter((step) => step !== '')
    .map((step) => (/^\d+$/.test(step) ? Number(step) : step));
}

function toProblem(error: ErrorObject): SchemaProblem | null {
  const keys = keysOf(error.instancePath);
  const { data } = error;
  const schema = error.parentSchema as { readonly description?: string; readonly properties?: Record<string, unknown> };
  const at = (message: string): SchemaProblem => ({ keys, isKey: false, message });
  switch (error.keyword) {
    case 'anyOf': {
      const forms = error.schema as readonly { readonly type: string }[];
      // In a form that exists, what is wrong with it has an error of its own.
      if (forms.some(({ type }) => isOfType(data, type))) return null;
      return at(`must be ${schema.description}, not ${show(data)}`);
    }
    case 'additionalProperties': {
      const name = String(error.params.additionalProperty);
      const known = Object.keys(schema.properties ?? {});
      if (known.length === 0 && schema.description !== undefined)
        return { keys: [...keys, name], isKey: true, message: `must be ${schema.description}` };
      const near = nearest(name, known);
      return {
        keys: [...keys, name],
        isKey: true,
        message: `unknown field${near === null ? '' : `, did you mean ${near}?`}${known.length > 0 ? ` (known: ${known.join(', ')})` : ''}`,
      };
    }
    case 'required':
      return at(`the field ${error.params.missingProperty} is missing`);
    case 'enum':
      return at(`must be one of ${(error.params.allowedValues as unknown[]).join(', ')}, not ${show(data)}`);
    case 'const':
      return at(`must be ${show(error.params.allowedValue)}, not ${show(data)}`);
    case 'type':
      return at(`must be ${schema.description ?? article(String(error.params.type))}, not ${show(data)}`);
    case 'pattern':
      return at(`must be ${schema.description ?? `of the form ${error.params.pattern}`}, not ${show(data)}`);
    default:
      return at(
        `${error.message ?? 'is not valid'}${schema.description === undefined ? '' : ` (${schema.description})`}${typeof data === 'object' ? '' : `, not ${show(data)}`}`,
      );
  }
}

/**
 * Where a value can have several forms (an endpoint is a string or an object, its link a string or a list), only the errors of the form
 * that was meant are of use: at each `anyOf` on the way to the error, the form that was tried must be of the value's own type.
 */
function isOfFormMeant({ schemaPath, instancePath }: ErrorObject, root: unknown, value: unknown): boolean {
  const steps = schemaPath.split('/').slice(1);
  const keys = keysOf(instancePath);
  const lastChoice = steps.lastIndexOf('anyOf');
  let schema = root;
  let here = value;
  for (let i = 0; i <= lastChoice && i < steps.length - 1; i++) {
    const step = steps[i]!;
    schema = memberOf(schema, step);
    if (step === 'items') here = memberOf(here, keys.shift());
    if (step !== 'properties' && step !== 'anyOf') continue;
    const name = steps[++i]!;
    schema = memberOf(schema, name);
    if (step === 'properties') here = memberOf(here, keys.shift());
    else if (!isOfType(here, (schema as { readonly type: string }).type)) return false;
  }
  return true;
}

const memberOf = (value: unknown, key: string | number | undefined): unknown =>
  (value as Readonly<Record<string, unknown>>)[key ?? ''];

function isOfType(value: unknown, type: string): boolean {
  if (type === 'array') return Array.isArray(value);
  // A number that is not whole was meant as one.
  if (type === 'integer') return typeof value === 'number';
  return typeof value === type && value !== null && !Array.isArray(value);
}

function keysOf(pointer: string): (string | number)[] {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part.replaceAll('~1', '/').replaceAll('~0', '~')));
}

const article = (type: string): string =>
  type === 'integer'
    ? 'a whole number'
    : /^[aeio]/.test(type)
      ? `an ${type === 'array' ? 'array (a list)' : type}`
      : `a ${type}`;

/** A value as a message shows it: short, whatever it is. */
export function show(value: unknown): string {
  if (value === undefined) return 'missing';
  if (Array.isArray(value)) return 'a list';
  if (value !== null && typeof value === 'object') return 'an object';
  const text = JSON.stringify(value);
  return shorten(text);
}

const shorten = (text: string): string => (text.length > 80 ? `${text.slice(0, 77)}...` : text);
