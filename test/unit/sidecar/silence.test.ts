import { describe, expect, it } from 'vitest';
import { Silence } from '../../../src/sidecar/silence.ts';

describe('a control plane that says nothing', () => {
  it('is asked again and again, and then is gone', () => {
    const silence = new Silence();
    expect(Array.from({ length: 6 }, () => silence.look())).toEqual(['wait', 'ask', 'ask', 'ask', 'gone', 'gone']);
  });

  it('but answers is asked at every other look, and never gone', () => {
    const silence = new Silence();
    const found = Array.from({ length: 100 }, () => {
      const one = silence.look();
      if (one === 'ask') silence.heard();
      return one;
    });
    expect(found.filter((one) => one === 'ask')).toHaveLength(50);
    expect(found).not.toContain('gone');
  });
});
