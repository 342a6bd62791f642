/**
 * The view of the bytes that were read last: all heads in them are read through one. Where a Buffer lies in memory is dear to ask: V8 inlines none of `buffer`,
 * `byteOffset` and `byteLength`, and `subarray` asks for two of them.
 */
export class LastView {
  private bytes: Uint8Array | null = null;
  private view: DataView = new DataView(new ArrayBuffer(0));
  private memory: ArrayBufferLike = this.view.buffer;
  private memoryAt = 0;

  of(bytes: Uint8Array): DataView {
    if (bytes !== this.bytes) {
      this.memory = bytes.buffer;
      this.memoryAt = bytes.byteOffset;
      this.view = new DataView(this.memory, this.memoryAt, bytes.length);
      this.bytes = bytes;
    }
    return this.view;
  }

  /** What `bytes.subarray` shows, which takes some 500 instructions more. `start` and `end` lie within. */
  piece(bytes: Uint8Array, start: number, end: number): Uint8Array {
    this.of(bytes);
    return new Uint8Array(this.memory, this.memoryAt + start, end - start);
  }
}
