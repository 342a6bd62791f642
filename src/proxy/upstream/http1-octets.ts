/** Which octets may stand where in an HTTP/1.1 message (RFC 9110 section 5), as tables: one load an octet. */

/** 1 for `tchar`: what names and methods are made of. */
export const isToken = new Uint8Array(256);
/** 1 for HTAB, SP, VCHAR and obs-text: field values, reason phrases, chunk extensions. */
export const isFieldText = new Uint8Array(256);
/** Value of a hex digit, or 255. */
export const hexValue = new Uint8Array(256).fill(255);

for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
  isToken[char.charCodeAt(0)] = 1;
}
for (let code = 0; code < 256; code++) {
  isFieldText[code] = code === 9 || (code >= 0x20 && code !== 0x7f) ? 1 : 0;
}
for (let value = 0; value < 16; value++) {
  const digit = value.toString(16);
  hexValue[digit.charCodeAt(0)] = value;
  hexValue[digit.toUpperCase().charCodeAt(0)] = value;
}
