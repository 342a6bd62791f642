/** Octets looked at four or eight at a time: a loop over single ones takes as many times more instructions, and a call into native code 1,000. */

/**
 * Both hold the same `length` octets, 8 or more, from there on; those of `text` have no NUL. Eight at once are compared as a double. Of octets that differ only NULs make equal
 * ones (0 and -0). What makes no number, with octets of 0xf0 and more in it, is not even equal to itself, and counts as different.
 */
export function sameText(view: DataView, at: number, text: DataView, textAt: number, length: number): boolean {
  const lastAt = at + length - 8;
  const shift = textAt - at;
  for (let i = at; i < lastAt; i += 8) if (view.getFloat64(i, true) !== text.getFloat64(i + shift, true)) return false;
  return view.getFloat64(lastAt, true) === text.getFloat64(lastAt + shift, true);
}

/** All are visible ASCII or blanks. Four are looked at by the same two sums: one that is too small, or DEL, leaves its high bit behind; what carries over into another comes from one that is found anyway. */
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
const hasOther = (word: number): boolean => ((word | (word - 0x2020_2020) | (word + 0x0101_0101)) & 0x8080_8080) !== 0;
