/**
 * Paths as they may leave the machine, in the access log and in exported spans: what stands at a place that is a secret (a token, an account)
 * is replaced. Patterns are compared segment by segment, without regular expressions: a path of 16 KiB costs what its length does.
 */

/** What stands for what was taken out. */
const taken = '*';

/** Replaces what the patterns say; null: there are none, and every path leaves as it is. */
export type RedactPath = ((path: string) => string) | null;

/** Why it is no pattern, in words; null: it is one. */
export function patternFault(pattern: string): string | null {
  if (!pattern.startsWith('/')) return 'It begins with a slash, as paths do.';
  const segments = pattern.split('/').slice(1);
  if (!segments.some((segment) => segment === '*' || segment === '**'))
    return 'It has a segment * (this segment of the path is taken out) or ends in ** (all that follow are).';
  if (segments.slice(0, -1).includes('**')) return 'A ** is its last segment.';
  if (segments.some((segment) => segment.includes('*') && segment !== '*' && segment !== '**'))
    return 'A * stands for a whole segment.';
  return null;
}

/**
 * Each pattern holds for every path that begins with it: of `/reset/*`, a segment `*` takes one segment of the path out, `**` all that are left.
 * `patterns` are without fault.
 */
export function pathRedaction(patterns: readonly string[]): RedactPath {
  if (patterns.length === 0) return null;
  const split = patterns.map((pattern) => pattern.split('/'));
  return (path) => {
    let segments: string[] | null = null;
    for (const pattern of split) {
      const from = segments ?? path.split('/');
      if (isBegunBy(from, pattern)) segments = redacted(from, pattern);
    }
    return segments === null ? path : segments.join('/');
  };
}

function isBegunBy(segments: readonly string[], pattern: readonly string[]): boolean {
  if (segments.length < pattern.length) return false;
  return pattern.every((wanted, index) => wanted === '*' || wanted === '**' || wanted === segments[index]);
}

function redacted(segments: readonly string[], pattern: readonly string[]): string[] {
  if (pattern.at(-1) === '**') return [...redacted(segments, pattern.slice(0, -1)).slice(0, pattern.length - 1), taken];
  return segments.map((segment, index) => (pattern[index] === '*' ? taken : segment));
}

/** What is said of a failure may have the path in it. */
export const withoutPath = (detail: string, path: string, redacted: string): string =>
  detail === '' || path === redacted ? detail : detail.replaceAll(path, () => redacted);
