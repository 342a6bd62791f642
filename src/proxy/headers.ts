/** Header fields as they travel: in order, names as they are spelled, values as latin1 texts. */
import { fieldId, fieldNames, fieldNumber, isNamed, lineStart } from './field-names.ts';

/** One field. All are of this class, so that who reads one need not ask what it is. */
export class Field {
  constructor(
    readonly name: string,
    readonly value: string,
    /** `fieldNumber` of the name. */
    readonly number: number,
    /** `fieldId` of the name. */
    readonly id: number,
    /** Somebody has seen that the value is HTAB, blanks and visible ASCII. */
    readonly isPlain: boolean,
    /** Where known-fields.ts keeps it: its name is a token then. -1: it is not kept. */
    readonly place: number,
    /** What ends the line before, and the field's own line for HTTP/1.1 without its end. Empty unless it is kept. */
    readonly line: string,
  ) {}
}

export type HeaderList = Field[];

/** Any name and value: nothing of them is judged here. */
export function fieldOf(name: string, value: string, isPlain = false): Field {
  const number = fieldNumber(name);
  return newField(number, number === 0 ? name : fieldNames[number]!, value, isPlain);
}

/** Of a name whose number is known. */
export const newField = (number: number, name: string, value: string, isPlain: boolean): Field =>
  new Field(name, value, number, fieldId(number, name), isPlain, -1, '');

/** See `Field.line`. */
export const lineOf = (field: Field): string =>
  field.line !== '' ? field.line : lineStart(field.number, field.name) + field.value;

/** Of names and values in turn, as Node has them. */
export function headerList(
  texts: readonly string[],
  make: (name: string, value: string) => Field = fieldOf,
): HeaderList {
  const headers: HeaderList = [];
  for (let i = 0; i < texts.length; i += 2) headers.push(make(texts[i]!, texts[i + 1]!));
  return headers;
}

/** The other way round. */
export function textsOf(headers: readonly Field[]): string[] {
  const texts: string[] = [];
  for (const { name, value } of headers) texts.push(name, value);
  return texts;
}

/** Takes out what `isDropped` says, in place. */
export function dropFields(headers: HeaderList, isDropped: (field: Field) => boolean): void {
  let kept = 0;
  for (let i = 0; i < headers.length; i++) {
    const field = headers[i]!;
    if (!isDropped(field)) headers[kept++] = field;
  }
  cutTo(headers, kept);
}

/** Setting the length would call into the runtime. */
export function cutTo(headers: HeaderList, length: number): void {
  while (headers.length > length) headers.pop();
}

/** First value of a field, or undefined. `id`: of `fieldIds`. */
export function fieldValue(headers: readonly Field[], id: number): string | undefined {
  for (let i = 0; i < headers.length; i++) if (headers[i]!.id === id) return headers[i]!.value;
  return undefined;
}

/** All values of a field joined with `,` (RFC 9110 section 5.3), or undefined. `id`: of `fieldIds`. */
export function joinedFieldValue(headers: readonly Field[], id: number): string | undefined {
  let joined: string | undefined;
  for (let i = 0; i < headers.length; i++) {
    const field = headers[i]!;
    if (field.id === id) joined = joined === undefined ? field.value : `${joined},${field.value}`;
  }
  return joined;
}

/** The same for a name that may be any. `lowerName` is in lower case. */
export function joinedHeaderValue(headers: readonly Field[], lowerName: string): string | undefined {
  let joined: string | undefined;
  for (let i = 0; i < headers.length; i++) {
    const { name, value } = headers[i]!;
    if (isNamed(name, lowerName)) joined = joined === undefined ? value : `${joined},${value}`;
  }
  return joined;
}
