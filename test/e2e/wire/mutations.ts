/** Messages that are nearly right: the cases of the tables, changed at random, and cut into segments at random. The same seed makes the same. */
import { cutAt } from './pieces.ts';

/** Numbers from 0 up to but not including 1 (mulberry32, Tommy Ettinger, public domain). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

/** What parsers trip over. */
const shards = [
  ...[
    '\r\n',
    '\n',
    '\r',
    '\0',
    ' ',
    '\t',
    ':',
    ';',
    ',',
    '"',
    '%',
    '\\',
    '\x0b',
    '\x7f',
    '\xff',
    '\x80',
    '0',
    '-',
    '+',
  ],
  ...[
    '\r\n\r\n',
    '\n\n',
    'Content-Length: 3\r\n',
    'Transfer-Encoding: chunked\r\n',
    'Host: b\r\n',
    'Connection: close\r\n',
  ],
  ...['0\r\n\r\n', 'ffffffffffffffff', '\r\n ', 'HTTP/1.1', 'HTTP/1.0', 'chunked', 'Expect: 100-continue\r\n', '/../'],
];

/** One to three changes: a byte, a piece taken out, doubled, or moved, a shard put in, the end cut off, the rest of another message. */
export function mutate(message: string, others: readonly string[], random: () => number): string {
  const below = (count: number) => Math.floor(random() * count);
  let bytes = message;
  for (let left = 1 + below(3); left > 0; left--) {
    const at = below(bytes.length + 1);
    const end = Math.min(bytes.length, at + 1 + below(12));
    const [before, piece, behind] = [bytes.slice(0, at), bytes.slice(at, end), bytes.slice(end)];
    switch (below(7)) {
      case 0:
        bytes = before + String.fromCharCode(below(256)) + bytes.slice(at + 1);
        break;
      case 1:
        bytes = before + behind;
        break;
      case 2:
        bytes = before + piece + piece + behind;
        break;
      case 3: {
        const to = below(behind.length + 1);
        bytes = before + behind.slice(0, to) + piece + behind.slice(to);
        break;
      }
      case 4:
        bytes = before + shards[below(shards.length)]! + piece + behind;
        break;
      case 5:
        bytes = before;
        break;
      default: {
        const other = others[below(others.length)]!;
        bytes = before + other.slice(below(other.length + 1));
      }
    }
  }
  return bytes;
}

/** Bytes of any value, mostly the ones that HTTP is made of. */
export function noise(random: () => number): string {
  const length = 1 + Math.floor(random() * 200);
  let bytes = '';
  while (bytes.length < length)
    bytes +=
      random() < 0.3 ? shards[Math.floor(random() * shards.length)]! : String.fromCharCode(Math.floor(random() * 256));
  return bytes;
}

/** In one piece as often as in two to five. */
export function segments(message: string, random: () => number): string[] {
  if (random() < 0.5) return [message];
  return cutAt(
    message,
    Array.from({ length: 1 + Math.floor(random() * 4) }, () => Math.floor(random() * message.length)),
  );
}
