/** Header fields as they travel: a flat list, name then value, order and case kept, values as latin1 strings. */
export type HeaderList = string[];

/** First value of a field, or undefined. `lowerName` is in lower case. */
export function headerValue(headers: readonly string[], lowerName: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    if (name.length === lowerName.length && (name === lowerName || name.toLowerCase() === lowerName))
      return headers[i + 1]!;
  }
  return undefined;
}

/** All values of a field joined with `,` (RFC 9110 section 5.3), or undefined. */
export function joinedHeaderValue(headers: readonly string[], lowerName: string): string | undefined {
  let joined: string | undefined;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    if (name.length === lowerName.length && (name === lowerName || name.toLowerCase() === lowerName)) {
      joined = joined === undefined ? headers[i + 1]! : `${joined},${headers[i + 1]!}`;
    }
  }
  return joined;
}
