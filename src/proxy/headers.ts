/** Header fields as they travel: a flat list, name then value, order and case kept, values as latin1 strings. */
export type HeaderList = string[];

/**
 * Whether a field's name is this one, in any case. `lowerName` is letters in lower case and dashes. Compares letters; `toLowerCase` would make
 * a text of every name that has an upper-case letter, some ten in a request.
 */
export function isNamed(name: string, lowerName: string): boolean {
  if (name.length !== lowerName.length) return false;
  // As a whole first: V8 compares texts with fewer instructions than this looks at their characters.
  if (name === lowerName) return true;
  for (let i = 0; i < name.length; i++) if ((name.charCodeAt(i) | 0x20) !== lowerName.charCodeAt(i)) return false;
  return true;
}

/** In lower case and with dashes: `X_Forwarded_For` is, to an app behind CGI, WSGI and their like, the same field as the one with dashes. */
export function canonicalName(name: string): string {
  const lower = name.toLowerCase();
  return lower.includes('_') ? lower.replaceAll('_', '-') : lower;
}

/** First value of a field, or undefined. `lowerName` is in lower case. */
export function headerValue(headers: readonly string[], lowerName: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if (isNamed(headers[i]!, lowerName)) return headers[i + 1]!;
  }
  return undefined;
}

/** All values of a field joined with `,` (RFC 9110 section 5.3), or undefined. */
export function joinedHeaderValue(headers: readonly string[], lowerName: string): string | undefined {
  let joined: string | undefined;
  for (let i = 0; i < headers.length; i += 2) {
    if (isNamed(headers[i]!, lowerName)) {
      joined = joined === undefined ? headers[i + 1]! : `${joined},${headers[i + 1]!}`;
    }
  }
  return joined;
}
