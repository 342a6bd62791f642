/**
 * What one side of a link has said before: a field that comes again is said by its place alone (docs/link.md, "Fields that come again"). The sender's known
 * fields decide (known-fields.ts): each has a place there, and the same one here.
 *
 * Both ends change their tables as the frames go and come, in one order. So who sends encodes when a frame is written, never before; who reads decodes what it
 * has no use for, too.
 */
import type { Field } from '../headers.ts';
import { findField, keepField, places } from '../known-fields.ts';

/** Two bytes that begin a field: a mark, and in its low bits a place. Below the first mark, the first byte is the number of a name. */
export const placeMark = { again: 0x8000, first: 0x8400, end: 0x8800 } as const;
const placeBits = places - 1;
export const placeBytes = 2;

export class FieldTable {
  private readonly fields: (Field | null)[] = new Array<Field | null>(places).fill(null);

  /** Whether the field was said before: from now on it was. */
  say(field: Field): boolean {
    const { place } = field;
    if (this.fields[place] === field) return true;
    this.fields[place] = field;
    return false;
  }

  /** Null: nothing was said for that place. */
  find(mark: number): Field | null {
    return this.fields[mark & placeBits]!;
  }

  /** What came for a place. Null: it is none that may be known. */
  take(mark: number, { number, name, value }: Field): Field | null {
    const field = findField(name, value) ?? keepField(number, name, value);
    if (field !== null) this.fields[mark & placeBits] = field;
    return field;
  }
}
