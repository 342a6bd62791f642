/**
 * Protobuf written straight into one buffer that is used again and again (https://protobuf.dev/programming-guides/encoding/). A span has some
 * thirty attributes: protobufjs' Writer links an object for each of their fields, and takes twice the time for one span (docs/adr/0020).
 */

/** Wire types: how long a field's value is. */
const varint = 0;
const eightBytes = 1;
const lengthFirst = 2;
const fourBytes = 5;

const tagOf = (field: number, wireType: number): number => (field << 3) | wireType;

/** The key of an attribute (`KeyValue` of OTLP's common.proto) with what goes before it: encoded once. */
export type AttributeKey = Uint8Array;

/** `name`: ASCII, at most 127 characters. */
export const attributeKey = (name: string): AttributeKey =>
  Uint8Array.from([tagOf(1, lengthFirst), name.length, ...Buffer.from(name)]);

/** Fields of `KeyValue` and `AnyValue`. */
const valueTag = tagOf(2, lengthFirst);
const stringTag = tagOf(1, lengthFirst);
const boolTag = tagOf(2, varint);
const intTag = tagOf(3, varint);
const doubleTag = tagOf(4, eightBytes);

/** What tags and lengths of an attribute or a field may take beside its key and value. */
const headBytesMax = 32;
const bytesAtFirst = 4 * 1024;

export class ProtoBytes {
  private bytes = Buffer.allocUnsafeSlow(bytesAtFirst);
  private view = viewOf(this.bytes);
  private at = 0;

  /** What was written since the last time, in memory of its own. */
  take(): Uint8Array {
    const taken = Uint8Array.prototype.slice.call(this.bytes, 0, this.at);
    this.at = 0;
    return taken;
  }

  // --- Fields; each number is below 16 or, `flags` of a span, 16 ------------------------------------------------------------------

  /** Whole, 0 to 2^53. */
  int(field: number, value: number): void {
    this.makeRoom(headBytesMax);
    this.writeVarint(tagOf(field, varint));
    this.writeVarint(value);
  }

  fixed32(field: number, value: number): void {
    this.makeRoom(headBytesMax);
    this.writeVarint(tagOf(field, fourBytes));
    this.view.setUint32(this.at, value, true);
    this.at += 4;
  }

  fixed64(field: number, value: bigint): void {
    this.makeRoom(headBytesMax);
    this.writeVarint(tagOf(field, eightBytes));
    this.view.setBigUint64(this.at, value, true);
    this.at += 8;
  }

  text(field: number, value: string): void {
    const length = utf8Length(value);
    this.makeRoom(headBytesMax + length);
    this.writeVarint(tagOf(field, lengthFirst));
    this.writeVarint(length);
    this.writeText(value, length);
  }

  /** Bytes that are given as hexadecimal digits, two for each. */
  hex(field: number, digits: string): void {
    const length = digits.length >>> 1;
    this.makeRoom(headBytesMax + length);
    this.writeVarint(tagOf(field, lengthFirst));
    this.writeVarint(length);
    for (let i = 0; i < length; i++)
      this.bytes[this.at++] = (nibble(digits.charCodeAt(2 * i)) << 4) | nibble(digits.charCodeAt(2 * i + 1));
  }

  /** A message that was written into `other`, which is empty afterwards. */
  message(field: number, other: ProtoBytes): void {
    this.makeRoom(headBytesMax + other.at);
    this.writeVarint(tagOf(field, lengthFirst));
    this.writeVarint(other.at);
    this.bytes.set(other.bytes.subarray(0, other.at), this.at);
    this.at += other.at;
    other.at = 0;
  }

  /** Whole fields, as another has written them. */
  encoded(fields: Uint8Array): void {
    this.makeRoom(fields.byteLength);
    this.bytes.set(fields, this.at);
    this.at += fields.byteLength;
  }

  // --- Attributes ----------------------------------------------------------------------------------------------------------------

  /** Empty texts are left out: an attribute that says nothing. */
  textAttribute(field: number, key: AttributeKey, value: string): void {
    if (value === '') return;
    const length = utf8Length(value);
    this.beginAttribute(field, key, 1 + varintBytes(length) + length);
    this.bytes[this.at++] = stringTag;
    this.writeVarint(length);
    this.writeText(value, length);
  }

  /** Whole, 0 to 2^53. */
  intAttribute(field: number, key: AttributeKey, value: number): void {
    this.beginAttribute(field, key, 1 + varintBytes(value));
    this.bytes[this.at++] = intTag;
    this.writeVarint(value);
  }

  doubleAttribute(field: number, key: AttributeKey, value: number): void {
    this.beginAttribute(field, key, 1 + 8);
    this.bytes[this.at++] = doubleTag;
    this.view.setFloat64(this.at, value, true);
    this.at += 8;
  }

  boolAttribute(field: number, key: AttributeKey, value: boolean): void {
    this.beginAttribute(field, key, 2);
    this.bytes[this.at++] = boolTag;
    this.bytes[this.at++] = value ? 1 : 0;
  }

  private beginAttribute(field: number, key: AttributeKey, anyBytes: number): void {
    this.makeRoom(headBytesMax + key.length + anyBytes);
    this.writeVarint(tagOf(field, lengthFirst));
    this.writeVarint(key.length + 1 + varintBytes(anyBytes) + anyBytes);
    // Keys are short: a loop is cheaper than a call out of JavaScript.
    for (let i = 0; i < key.length; i++) this.bytes[this.at + i] = key[i]!;
    this.at += key.length;
    this.bytes[this.at++] = valueTag;
    this.writeVarint(anyBytes);
  }

  // --- Bytes ---------------------------------------------------------------------------------------------------------------------

  private writeVarint(value: number): void {
    const { bytes } = this;
    let rest = value;
    while (rest > 127) {
      bytes[this.at++] = (rest % 128) + 128;
      rest = Math.floor(rest / 128);
    }
    bytes[this.at++] = rest;
  }

  private writeText(value: string, length: number): void {
    if (length === value.length) for (let i = 0; i < length; i++) this.bytes[this.at + i] = value.charCodeAt(i);
    else this.bytes.write(value, this.at, 'utf8');
    this.at += length;
  }

  private makeRoom(length: number): void {
    if (this.at + length <= this.bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * (this.at + length));
    larger.set(this.bytes.subarray(0, this.at));
    this.bytes = larger;
    this.view = viewOf(larger);
  }
}

const viewOf = ({ buffer, byteOffset, byteLength }: Buffer): DataView => new DataView(buffer, byteOffset, byteLength);

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest > 127; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}

/** Almost all texts are ASCII. */
function utf8Length(text: string): number {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return Buffer.byteLength(text);
  return text.length;
}

/** Of a digit in lower case. */
const nibble = (code: number): number => (code <= 57 ? code - 48 : code - 87);
