import { describe, expect, it } from 'vitest';
import { PushFrames } from '../../../src/control/push-frames.ts';
import { decodeControlFrame } from '../../../src/wire/control-frame.ts';

const changeSet = (text: string) => new TextEncoder().encode(text);
const read = (frame: Uint8Array) => {
  const decoded = decodeControlFrame(frame);
  if (decoded.tag !== 'push') throw new Error('it is no push');
  return [decoded.sequence, decoded.base, new TextDecoder().decode(decoded.changeSet)];
};

describe('the frames of a ChangeSet', () => {
  it('are the same for all who have come equally far', () => {
    const frames = new PushFrames();
    const one = changeSet('one');
    const third = frames.of(one, 3, 2);
    const seventh = frames.of(one, 7, 6);
    expect(frames.of(one, 3, 2)).toBe(third);
    expect(frames.of(one, 7, 6)).toBe(seventh);
    expect([read(third), read(seventh)]).toEqual([
      [3, 2, 'one'],
      [7, 6, 'one'],
    ]);
  });

  it('are never those of another ChangeSet, base or sequence', () => {
    const frames = new PushFrames();
    const [one, two] = [changeSet('one'), changeSet('two')];
    frames.of(one, 3, 2);
    expect(read(frames.of(two, 3, 2))).toEqual([3, 2, 'two']);
    expect(read(frames.of(one, 3, 2))).toEqual([3, 2, 'one']);
    expect(read(frames.of(one, 3, 1))).toEqual([3, 1, 'one']);
    expect(read(frames.of(one, 3, 2))).toEqual([3, 2, 'one']);
  });

  it('are right for any number of sequences, and for large ones', () => {
    const frames = new PushFrames();
    const one = changeSet('one');
    for (const sequence of [...Array(100).keys(), ...Array(100).keys()])
      expect(read(frames.of(one, sequence + 1, sequence))).toEqual([sequence + 1, sequence, 'one']);
    const large = changeSet('x'.repeat(100_000));
    expect(frames.of(large, 2, 1)).not.toBe(frames.of(large, 2, 1));
    expect(read(frames.of(large, 2, 1))).toEqual([2, 1, 'x'.repeat(100_000)]);
  });
});
