/** Octets looked at four at a time: a loop over single ones takes four times as many instructions, and a call into native code 1,000. */

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

/** All are visible ASCII or blanks. Each octet of four is looked at by the same two subtractions: one that is too small, or DEL, leaves its high bit behind. */
export function isPlainOctets(view: DataView, start: number, end: number): boolean {
  if (end - start < 4) {
    for (let i = start; i < end; i++) if (view.getUint8(i) < 0x20 || view.getUint8(i) > 0x7e) return false;
    return true;
  }
  const lastAt = end - 4;
  for (let i = start; i < lastAt; i += 4) if (hasOther(view.getInt32(i, true))) return false;
  return !hasOther(view.getInt32(lastAt, true));
}

/** One of four octets is no visible ASCII and no blank. */
const hasOther = (word: number): boolean => {
  const beforeDel = word ^ 0x7f7f_7f7f;
  return ((word | ((word - 0x2020_2020) & ~word) | ((beforeDel - 0x0101_0101) & ~beforeDel)) & 0x8080_8080) !== 0;
};
