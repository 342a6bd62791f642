/**
 * Units on their way to the pool's thread: JSON in shared memory, written a step at a time. Posting them as objects would serialise them
 * in one go, which for 10,000 rules holds the loop for 50 ms.
 */
import type { ServiceUnit } from '../model/snapshot.ts';
import type { Steps } from '../model/steps.ts';

/** Records of a list that are written without a chance to interrupt: some 50 µs. */
const recordsPerStep = 64;

export function* packUnits(units: readonly ServiceUnit[]): Steps<SharedArrayBuffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  const write = (text: string) => {
    const piece = Buffer.from(text, 'utf8');
    bytes += piece.byteLength;
    pieces.push(piece);
  };
  for (const [i, { endpoints, matches, actions, ...rest }] of units.entries()) {
    // The last brace makes room for the lists, and is written behind them.
    write(`${i === 0 ? '[' : ','}${JSON.stringify(rest).slice(0, -1)}`);
    for (const [name, list] of Object.entries({ endpoints, matches, actions })) {
      write(`,"${name}":[`);
      for (let from = 0; from < list.length; from += recordsPerStep) {
        const records = JSON.stringify(list.slice(from, from + recordsPerStep)).slice(1, -1);
        write(from === 0 ? records : `,${records}`);
        yield;
      }
      write(']');
    }
    write('}');
  }
  write(units.length === 0 ? '[]' : ']');
  const packed = new SharedArrayBuffer(bytes);
  const view = new Uint8Array(packed);
  let at = 0;
  for (const piece of pieces) {
    view.set(piece, at);
    at += piece.byteLength;
    yield;
  }
  return packed;
}

export const unpackUnits = (packed: SharedArrayBuffer): readonly ServiceUnit[] =>
  JSON.parse(Buffer.from(packed).toString('utf8'));
