// What `strace -c` writes, read.

/** @returns `[{ name, calls }]`, the most frequent first */
export function systemCallsOf(text) {
  // % time, seconds, usecs/call, calls, errors (may be missing), syscall; the last line has the sums.
  const lines = text.matchAll(/^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$/gm);
  return [...lines]
    .map(([, calls, name]) => ({ name, calls: Number(calls) }))
    .filter(({ name }) => name !== 'total')
    .sort((a, b) => b.calls - a.calls);
}
