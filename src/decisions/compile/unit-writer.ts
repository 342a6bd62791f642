/** Collects the sections of one compiled unit and lays them out in a SharedArrayBuffer. The reader is proxy/compiled-unit.ts. */
import assert from 'node:assert';
import { type CompiledUnit, type Section, sectionCount } from '../../proxy/compiled-unit.ts';

type TypedArray = Uint8Array | Uint16Array | Int32Array | Uint32Array | Float64Array;

const alignmentBytes = 8;
const align = (bytes: number): number => Math.ceil(bytes / alignmentBytes) * alignmentBytes;

export class UnitWriter {
  private readonly sections = new Map<Section, TypedArray>();

  set(section: Section, content: TypedArray): void {
    assert(!this.sections.has(section), 'a section is written once');
    this.sections.set(section, content);
  }

  setJson(section: Section, value: unknown): void {
    this.set(section, Buffer.from(JSON.stringify(value), 'utf8'));
  }

  /** Sections that were not set are empty. */
  finish(name: string): CompiledUnit {
    const directoryBytes = align(sectionCount * 8);
    let bytes = directoryBytes;
    for (const content of this.sections.values()) bytes += align(content.byteLength);
    const buffer = new SharedArrayBuffer(bytes);
    const directory = new Int32Array(buffer, 0, sectionCount * 2);
    let offset = directoryBytes;
    for (const [section, content] of this.sections) {
      directory[2 * section] = offset;
      directory[2 * section + 1] = content.byteLength;
      new Uint8Array(buffer, offset, content.byteLength).set(
        new Uint8Array(content.buffer, content.byteOffset, content.byteLength),
      );
      offset += align(content.byteLength);
    }
    return { name, buffer };
  }
}

/** Strings of one unit, each kept once. */
export class TextWriter {
  private readonly indexes = new Map<string, number>();
  private readonly chunks: Buffer[] = [];
  private readonly ends: number[] = [];
  private bytes = 0;

  add(text: string): number {
    const known = this.indexes.get(text);
    if (known !== undefined) return known;
    const chunk = Buffer.from(text, 'utf8');
    this.bytes += chunk.byteLength;
    this.chunks.push(chunk);
    this.ends.push(this.bytes);
    const index = this.ends.length - 1;
    this.indexes.set(text, index);
    return index;
  }

  finish(): { readonly ends: Int32Array; readonly bytes: Uint8Array } {
    return { ends: Int32Array.from(this.ends), bytes: Buffer.concat(this.chunks) };
  }
}
