/** Octets compared with octets that are known, four at a time: a loop over single ones takes four times as many instructions, and a call into native code 1,000. */

/** Both hold `length` octets from there on. */
export function sameOctets(view: DataView, at: number, other: DataView, otherAt: number, length: number): boolean {
  if (length < 4) {
    for (let i = 0; i < length; i++) if (view.getUint8(at + i) !== other.getUint8(otherAt + i)) return false;
    return true;
  }
  const lastAt = at + length - 4;
  const shift = otherAt - at;
  for (let i = at; i < lastAt; i += 4) if (view.getInt32(i, true) !== other.getInt32(i + shift, true)) return false;
  return view.getInt32(lastAt, true) === other.getInt32(lastAt + shift, true);
}

/** The view of the bytes that were read last: all heads in them are read through one. */
export class LastView {
  private bytes: Uint8Array | null = null;
  private view: DataView = new DataView(new ArrayBuffer(0));

  of(bytes: Uint8Array): DataView {
    if (bytes !== this.bytes) {
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.bytes = bytes;
    }
    return this.view;
  }
}
