import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PipelinedOrigin, poolTo, prove, send } from './pipelined-origin.ts';
import { until } from './recording.ts';

interface Asked {
  readonly method: 'GET' | 'HEAD';
  readonly bodyBytes: number;
  readonly isChunked: boolean;
  /** When its stream is destroyed: at its head, at a piece of its body, right after the requests were sent, or never. */
  readonly goesAt: 'head' | 'body' | 'sent' | 'never';
}

const asked: fc.Arbitrary<Asked> = fc.record({
  method: fc.constantFrom('GET', 'GET', 'GET', 'HEAD'),
  bodyBytes: fc.integer({ min: 0, max: 400 }),
  isChunked: fc.boolean(),
  goesAt: fc.constantFrom('never', 'never', 'never', 'head', 'body', 'sent'),
});

/** Every answer has a body of its own letter. */
function answerTo({ method, bodyBytes, isChunked }: Asked, index: number): string {
  const body = letterOf(index).repeat(bodyBytes);
  const content = method === 'HEAD' ? '' : body;
  if (!isChunked) return `HTTP/1.1 200 OK\r\nX-Index: ${index}\r\nContent-Length: ${bodyBytes}\r\n\r\n${content}`;
  const half = Math.ceil(content.length / 2);
  const chunks = [content.slice(0, half), content.slice(half)].filter((chunk) => chunk !== '');
  const framed = chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('');
  const end = method === 'HEAD' ? '' : `${framed}0\r\n\r\n`;
  return `HTTP/1.1 200 OK\r\nX-Index: ${index}\r\nTransfer-Encoding: chunked\r\n\r\n${end}`;
}

const letterOf = (index: number): string => String.fromCharCode(97 + index);

function inPieces(text: string, cuts: readonly number[]): string[] {
  const at = [...new Set(cuts.map((cut) => cut % (text.length + 1)))].sort((a, b) => a - b);
  return [...at, text.length].map((end, i) => text.slice(i === 0 ? 0 : at[i - 1], end)).filter((piece) => piece !== '');
}

describe('a line of requests', () => {
  it('gives each its own answer or none, however the answers are cut and whoever leaves', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(asked, { minLength: 1, maxLength: 8 }),
        fc.array(fc.nat(10_000), { maxLength: 12 }),
        async (requests, cuts) => {
          const origin = await PipelinedOrigin.start();
          const pool = poolTo(origin.port);
          try {
            const line = await prove(pool, origin);
            const sent = requests.map(({ method }, i) => send(pool, `/${i}`, { method }));
            for (const [i, { goesAt }] of requests.entries()) {
              const { recording, stream } = sent[i]!;
              if (goesAt === 'head') recording.onHeadHook = () => stream.destroy();
              if (goesAt === 'body') recording.onBodyHook = () => stream.destroy();
            }
            await until(() => line.requests.length === requests.length);
            for (const [i, { goesAt }] of requests.entries()) if (goesAt === 'sent') sent[i]!.stream.destroy();
            for (const piece of inPieces(requests.map(answerTo).join(''), cuts)) {
              if (line.socket.destroyed) break;
              line.socket.write(piece);
              await new Promise((resolve) => setImmediate(resolve));
            }
            const stayed = sent.filter((_, i) => stays(requests[i]!));
            await Promise.all(stayed.map(({ recording }) => recording.ended));
            for (const [i, { recording }] of sent.entries()) {
              const own = { method: requests[i]!.method, bodyBytes: requests[i]!.bodyBytes };
              if (recording.head !== null) expect(recording.head.headers).toContain(String(i));
              expect(recording.body.replaceAll(letterOf(i), '')).toBe('');
              expect(recording.failure).toBe('');
              if (!stays(requests[i]!)) continue;
              expect(recording.events.at(-1)).toBe('end');
              expect(recording.bodyBytes).toBe(own.method === 'HEAD' ? 0 : own.bodyBytes);
            }
          } finally {
            pool.retire();
            origin.close();
          }
        },
      ),
      { numRuns: 150 },
    );
  });
});

/** Nobody ends it: the hook of a body without bytes is never called. */
const stays = ({ goesAt, method, bodyBytes }: Asked): boolean =>
  goesAt === 'never' || (goesAt === 'body' && (method === 'HEAD' || bodyBytes === 0));
