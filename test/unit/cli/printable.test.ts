import { describe, expect, it, vi } from 'vitest';
import { printable } from '../../../src/cli/printable.ts';
import { processTerminal } from '../../../src/cli/terminal.ts';

describe('text for a terminal', () => {
  it('has no control characters but tabs, line feeds and the colours of a diff', () => {
    expect(printable('a\u001b[2J\u001b]0;title\u0007\u009b31m\r\u007f\u202e')).toBe(
      'a\\u001b[2J\\u001b]0;title\\u0007\\u009b31m\\u000d\\u007f\\u202e',
    );
    const fine = 'one\ttwo\n\u001b[32m+ größer 中\u001b[0m';
    expect(printable(fine)).toBe(fine);
    expect(printable('\u001b[8mhidden')).toBe('\\u001b[8mhidden');
  });

  it('stays the same JSON', () => {
    const value = { message: '\u001b[2J\u0085\u007f' };
    expect(JSON.parse(printable(JSON.stringify(value)))).toEqual(value);
  });

  it('is what both streams of a process are given', () => {
    const out = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    const err = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    try {
      const terminal = processTerminal();
      terminal.out('\u001b[2J');
      terminal.err('\u0007');
      expect([out.mock.calls, err.mock.calls]).toEqual([[['\\u001b[2J\n']], [['\\u0007\n']]]);
    } finally {
      out.mockRestore();
      err.mockRestore();
    }
  });
});
