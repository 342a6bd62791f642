/** The schemas of the resources as a person reads them: the way to a field, its type, what it may hold, what it means. */
import { type FieldDoc, fieldDoc } from './field-docs.ts';
import { schemas } from './generated/validators.js';
import type { Kind } from './resources.ts';

export interface FieldFacts {
  /** `Service.spec.loadBalancer.policy`. */
  readonly field: string;
  readonly type: string;
  readonly isRequired: boolean;
  /** In words; empty: whatever the type allows. */
  readonly expected: string;
  readonly description: string;
  /** Null: nothing in particular holds where it is left out. */
  readonly default: string | null;
}

/** As far as the schemas of resources use JSON Schema. */
interface Schema {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxLength?: number;
  readonly description?: string;
}

/** TypeBox types what a schema describes, not what it looks like. */
const schemaOf = (kind: Kind): Schema => schemas[kind] as unknown as Schema;

/** The field behind these names, beginning with the kind; or the last name that led somewhere, with those that would have led on. */
export type Found =
  | { readonly facts: FieldFacts; readonly fields: readonly FieldFacts[] }
  | { readonly missing: string; readonly below: string; readonly known: readonly string[] };

export function findField(kind: Kind, names: readonly string[]): Found {
  let schema: Schema = schemaOf(kind);
  let way: string = kind;
  let isRequired = true;
  for (const name of names) {
    const { properties = {}, required = [] } = objectIn(schema);
    const next = properties[name];
    if (next === undefined) return { missing: name, below: way, known: Object.keys(properties) };
    schema = next;
    way = `${way}.${name}`;
    isRequired = required.includes(name);
  }
  return { facts: factsOf(way, schema, isRequired), fields: fieldsOf(way, schema) };
}

/** All fields of a kind, each before those within it. */
export function* allFields(kind: Kind): Generator<FieldFacts> {
  const schema = schemaOf(kind);
  yield factsOf(kind, schema, true);
  yield* below(kind, schema);
}

function* below(way: string, schema: Schema): Generator<FieldFacts> {
  const { properties = {}, required = [] } = objectIn(schema);
  for (const [name, inner] of Object.entries(properties)) {
    yield factsOf(`${way}.${name}`, inner, required.includes(name));
    yield* below(`${way}.${name}`, inner);
  }
}

function fieldsOf(way: string, schema: Schema): readonly FieldFacts[] {
  const { properties = {}, required = [] } = objectIn(schema);
  return Object.entries(properties).map(([name, inner]) => factsOf(`${way}.${name}`, inner, required.includes(name)));
}

const undocumented: FieldDoc = { doc: '' };

function factsOf(field: string, schema: Schema, isRequired: boolean): FieldFacts {
  const { doc, fallback } = fieldDoc(field) ?? undocumented;
  return {
    field,
    type: typeOf(schema),
    isRequired,
    expected: expectedOf(schema),
    description: doc,
    default: fallback ?? null,
  };
}

/** Of a list its entries, of several forms the one with fields. */
function objectIn(schema: Schema): Schema {
  if (schema.items !== undefined) return objectIn(schema.items);
  const form = schema.anyOf?.find(({ properties }) => properties !== undefined);
  return form ?? schema;
}

function typeOf(schema: Schema): string {
  if (schema.anyOf !== undefined) return formsOf(schema).join(' or ');
  if (schema.items !== undefined)
    return `list of ${formsOf(schema.items)
      .map((type) => `${type}s`)
      .join(' or ')}`;
  if (schema.type === 'object' && schema.properties === undefined) return 'map of text to text';
  switch (schema.type) {
    case 'string':
      return 'text';
    case 'integer':
      return 'whole number';
    default:
      return schema.type ?? (typeof schema.const === 'string' ? 'text' : typeof schema.const);
  }
}

const formsOf = ({ anyOf, ...own }: Schema): readonly string[] => [...new Set((anyOf ?? [own]).map(typeOf))];

function expectedOf(schema: Schema): string {
  if (schema.const !== undefined) return String(schema.const);
  if (schema.enum !== undefined) return `one of ${schema.enum.join(', ')}`;
  if (schema.description !== undefined) return schema.description;
  if (schema.anyOf !== undefined)
    return schema.anyOf
      .map(expectedOf)
      .filter((text) => text !== '')
      .join(', or ');
  const { minimum, maximum, minItems, maxItems, maxLength, items } = schema;
  if (maximum !== undefined) return `${minimum ?? 0} to ${maximum}`;
  if (minimum !== undefined) return `${minimum} or more`;
  if (maxItems !== undefined)
    return [`${minItems ?? 0} to ${maxItems}`, entries(items)].filter(Boolean).join(', each ');
  if (maxLength !== undefined) return `at most ${maxLength} characters`;
  return '';
}

/** What an entry of a list may be, where it has no fields to be asked for. */
const entries = (items: Schema | undefined): string =>
  items === undefined || objectIn(items).properties !== undefined ? '' : expectedOf(items);
