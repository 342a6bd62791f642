/**
 * What an OTLP request is made of, field by field (https://github.com/open-telemetry/opentelemetry-proto, common.proto). Written by hand, because
 * generated code wants an object for each attribute and its value (docs/adr/0020); tests read it with OpenTelemetry's own generated code.
 */
import $protobuf from 'protobufjs/minimal.js';

export type ProtoWriter = InstanceType<typeof $protobuf.Writer>;
export const newWriter = (): ProtoWriter => $protobuf.Writer.create();

/** Wire types: how long a field's value is. */
const varint = 0;
const eightBytes = 1;
const lengthFirst = 2;
const fourBytes = 5;

const tag = (field: number, wireType: number): number => (field << 3) | wireType;
export const varintTag = (field: number): number => tag(field, varint);
export const fixed64Tag = (field: number): number => tag(field, eightBytes);
export const bytesTag = (field: number): number => tag(field, lengthFirst);
export const fixed32Tag = (field: number): number => tag(field, fourBytes);

/** Fields of `KeyValue` and `AnyValue` in common.proto. */
const keyTag = bytesTag(1);
const valueTag = bytesTag(2);
const stringTag = bytesTag(1);
const boolTag = varintTag(2);
const intTag = varintTag(3);
const doubleTag = fixed64Tag(4);

/** Attributes of one message, whose field for them is `field`; each is a `KeyValue`. */
export class AttributeWriter {
  private readonly tag: number;

  constructor(
    private readonly writer: ProtoWriter,
    field: number,
  ) {
    this.tag = bytesTag(field);
  }

  /** Empty texts are left out: an attribute that says nothing. */
  text(key: string, value: string): void {
    if (value === '') return;
    this.begin(key).uint32(stringTag).string(value);
    this.end();
  }

  /** Whole, within 2^53. */
  int(key: string, value: number): void {
    this.begin(key).uint32(intTag).int64(value);
    this.end();
  }

  double(key: string, value: number): void {
    this.begin(key).uint32(doubleTag).double(value);
    this.end();
  }

  bool(key: string, value: boolean): void {
    this.begin(key).uint32(boolTag).bool(value);
    this.end();
  }

  private begin(key: string): ProtoWriter {
    return this.writer.uint32(this.tag).fork().uint32(keyTag).string(key).uint32(valueTag).fork();
  }

  private end(): void {
    this.writer.ldelim().ldelim();
  }
}

/** Tag and length that go before so many bytes of a field. */
export const lengthPrefix = (field: number, byteLength: number): Uint8Array =>
  newWriter().uint32(bytesTag(field)).uint32(byteLength).finish();

/** A time in nanoseconds, as a fixed64: no double holds one since the epoch exactly. */
export function writeNanoseconds(writer: ProtoWriter, field: number, nanoseconds: bigint): void {
  writer
    .uint32(fixed64Tag(field))
    .fixed32(Number(nanoseconds & 0xffff_ffffn))
    .fixed32(Number(nanoseconds >> 32n));
}

/** To the microsecond or so, which is what a double has since the epoch. */
export function nanosecondsOf(ms: number): bigint {
  const whole = Math.floor(ms);
  return BigInt(whole) * 1_000_000n + BigInt(Math.round((ms - whole) * 1e6));
}
