/** Character classes of HTTP fields as look-up tables: one array read a character, no regular expression on the hot path. */

const token = 1;
const fieldText = 2;
const targetText = 4;
const hostText = 8;
const hexDigit = 16;
const unreserved = 32;

const classes = new Uint8Array(256);

function mark(characters: string, bit: number): void {
  for (let i = 0; i < characters.length; i++) classes[characters.charCodeAt(i)]! |= bit;
}

const digits = '0123456789';
const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
mark(`${digits}${letters}!#$%&'*+-.^_\`|~`, token); // RFC 9110 section 5.6.2
mark(`${digits}${letters}-._~`, unreserved | hostText); // RFC 3986 section 2.3
mark("!$&'()*+,;=", hostText); // sub-delims, RFC 3986 section 3.2.2
mark('0123456789ABCDEFabcdef', hexDigit);
classes[9]! |= fieldText;
for (let code = 0x20; code <= 0xff; code++) if (code !== 0x7f) classes[code]! |= fieldText; // RFC 9110 section 5.5
for (let code = 0x21; code <= 0x7e; code++) if (code !== 0x23) classes[code]! |= targetText;

/** True for a non-empty token (field name, method). */
export function isToken(text: string): boolean {
  return text.length > 0 && isAllOf(text, token);
}

/** True when no control character but HTAB, and no character above 0xFF (which would change when it is sent as a byte), is in it. */
export function isFieldText(text: string): boolean {
  // A long text is mostly a slice of another, of which V8 looks up every character anew; the expression looks it up once.
  return text.length < sliceCharsMin ? isAllOf(text, fieldText) : !noFieldText.test(text);
}

/** V8 copies what is shorter. */
const sliceCharsMin = 13;
const noFieldText = /[^\t\x20-\x7e\x80-\xff]/;

/** Anything but HTAB and visible ASCII with blanks. What has none of it is field text. */
export const beyondAscii = /[^\t\x20-\x7e]/;

/** True when the text holds visible ASCII only, and no `#`: what a request target may consist of. */
export function isTargetText(text: string): boolean {
  return isAllOf(text, targetText);
}

/** A character of a reg-name, percent escapes aside. */
export function isHostCode(code: number): boolean {
  return code < 256 && (classes[code]! & hostText) !== 0;
}

/** NaN (beyond the end of a string) is not a hexadecimal digit. */
export function isHexCode(code: number): boolean {
  return code < 256 && (classes[code]! & hexDigit) !== 0;
}

export function isUnreservedCode(code: number): boolean {
  return code < 256 && (classes[code]! & unreserved) !== 0;
}

function isAllOf(text: string, bit: number): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 255 || (classes[code]! & bit) === 0) return false;
  }
  return true;
}
