/** What becomes of an origin's answers, valid and not, on the way through either listener; and that the next request sees nothing of them. */
import { connect } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AnswerCase, answerCases, poison } from './wire/answer-cases.ts';
import { cutAt } from './wire/pieces.ts';
import { type ReadAnswer, readAnswer } from './wire/strict-answer.ts';
import { WireMesh, wireListeners } from './wire/wire-mesh.ts';

const caseMs = 8_000;
/** Behind a whole answer: what a client would read as the next one comes sooner than that. */
const quietMs = 20;

const { origin, addresses } = WireMesh.forAll();

/** Reads until the connection ends, or an answer is whole and nothing follows. */
function ask(address: string, method: string, target: string): Promise<ReadAnswer> {
  const [host, port] = address.split(':');
  return new Promise((resolve, reject) => {
    let bytes = '';
    const request = `${method} ${target} HTTP/1.1\r\nHost: cart\r\n\r\n`;
    const socket = connect(Number(port), host, () => socket.write(request, 'latin1'));
    const deadline = setTimeout(() => {
      socket.destroy();
      reject(new Error(`after ${caseMs} ms: ${JSON.stringify(bytes)}`));
    }, caseMs);
    const end = (isEnded: boolean) => {
      clearTimeout(deadline);
      socket.destroy();
      resolve(readAnswer(bytes, method, isEnded));
    };
    let quiet: NodeJS.Timeout | undefined;
    socket.on('data', (chunk) => {
      bytes += chunk.toString('latin1');
      clearTimeout(quiet);
      if (readAnswer(bytes, method, false).isWhole) quiet = setTimeout(end, quietMs, false);
    });
    let isEnded = false;
    socket.on('end', () => {
      isEnded = true;
    });
    socket.on('error', () => {});
    socket.on('close', () => end(isEnded));
  });
}

const outcomeOf = ({ status, fields, body, isWhole }: ReadAnswer): string => {
  if (!isWhole) return 'cut';
  const failure = fields.find(([name]) => name === 'weft-failure')?.[1];
  return failure === undefined ? `${status} [${body}]` : `${status} ${failure}`;
};

describe.each(wireListeners)('by way of the %s listener', (listener) => {
  it.each(answerCases)('$name', async ({ method, bytes, after, outcome }: AnswerCase) => {
    const address = addresses[listener];
    origin.requests = [];
    origin.faults = [];
    origin.answer = { bytes, after };
    expect(outcomeOf(await ask(address, method, '/case'))).toBe(outcome);
    origin.answer = { bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nafter!', after: 'keep' };
    expect(outcomeOf(await ask(address, 'GET', '/after'))).toBe('200 [after!]');
    expect(origin.faults).toEqual([]);
    expect(origin.requests.at(-1)?.startLine).toBe('GET /after HTTP/1.1');
  });
});

describe.each(wireListeners)('what is valid arrives however it is cut, by way of the %s listener', (listener) => {
  const valid = answerCases.filter(({ outcome, bytes }) => outcome.endsWith(']') && !bytes.endsWith(poison));

  async function outcomeIn({ method, bytes, after }: AnswerCase, places: readonly number[]): Promise<string> {
    origin.answer = { bytes, after };
    origin.segment = (text) => cutAt(text, places);
    try {
      return outcomeOf(await ask(addresses[listener], method, '/case'));
    } finally {
      origin.segment = (text) => [text];
    }
  }

  it.each(valid)('a byte at a time: $name', async (one) => {
    const everywhere = Array.from(one.bytes, (_, at) => at);
    expect(await outcomeIn(one, everywhere)).toBe(one.outcome);
  });

  it('in any segments', async () => {
    const segmented = fc.asyncProperty(
      fc.constantFrom(...valid),
      fc.array(fc.nat(), { maxLength: 8 }),
      async (one, places) => {
        expect(await outcomeIn(one, places)).toBe(one.outcome);
      },
    );
    await fc.assert(segmented, { numRuns: 150 });
  });
});

it('has no case twice', () => {
  const keys = answerCases.map(({ method, bytes, after }) => `${method} ${after} ${bytes}`);
  expect(new Set(keys).size).toBe(keys.length);
});
