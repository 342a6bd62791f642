/** What becomes of requests, valid and not, at both listeners: a client of bytes, a sidecar, and an origin that believes nothing. */
import { connect } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cutAt, sendPieces } from './wire/pieces.ts';
import { type RequestCase, requestCases } from './wire/request-cases.ts';
import { WireMesh, wireListeners } from './wire/wire-mesh.ts';

/** How long nothing may happen where nothing is expected to, `silent` or `unanswered`; what is expected is waited for. */
const quietMs = 250;
/** What nobody expects behind the last answer, another one or the end of the connection, comes sooner than that. */
const surplusMs = 30;
const caseMs = 8_000;

const { origin, addresses } = WireMesh.forAll();
origin.answer = { bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', after: 'keep' };

/** Sends a case on a connection of its own and reads until it closes, what is expected is there and nothing follows, or nothing moves. */
function send(
  address: string,
  pieces: readonly string[],
  expected: string,
): Promise<{ answer: string; isClosed: boolean }> {
  const [host, port] = address.split(':');
  const isQuietExpected = /silent|unanswered/.test(expected);
  const answersExpected = expected.split('[').length - 1;
  return new Promise((resolve) => {
    let answer = '';
    let isClosed = false;
    let quiet: NodeJS.Timeout | undefined;
    const waitOn = () => {
      clearTimeout(quiet);
      const answers = answer.split('HTTP/1.1 200').length - 1;
      if (isQuietExpected) quiet = setTimeout(end, quietMs);
      else if (answers > 0 && answers >= answersExpected) quiet = setTimeout(end, surplusMs);
    };
    const options = { host: host!, port: Number(port), noDelay: true };
    const socket = connect(options, () => sendPieces(socket, pieces, waitOn));
    const end = () => {
      clearTimeout(quiet);
      clearTimeout(deadline);
      socket.destroy();
      resolve({ answer, isClosed });
    };
    const deadline = setTimeout(end, caseMs);
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1');
      waitOn();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      isClosed = true;
      end();
    });
  });
}

async function outcomeOf(address: string, pieces: readonly string[], expected: string): Promise<string> {
  origin.requests = [];
  origin.faults = [];
  const { answer, isClosed } = await send(address, pieces, expected);
  expect(origin.faults).toEqual([]);
  if (origin.requests.length > 0) {
    const answers = answer.match(/HTTP\/1\.1 200 OK/g)?.length ?? 0;
    if (answers > 0) expect(answers).toBe(origin.requests.length);
    const read = origin.requests.map(({ startLine, body }) => `${startLine.replace(/ HTTP\/1\.1$/, '')} [${body}]`);
    return `arrives ${read.join(', ')}${answers > 0 ? '' : isClosed ? ', closed' : ', unanswered'}`;
  }
  const status = /^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1];
  if (status === undefined) return isClosed ? 'closed' : 'silent';
  expect(isClosed).toBe(true);
  // One answer, and it says that nothing follows.
  expect(answer.match(/HTTP\/1\.1 \d{3} /g)?.length).toBe(1);
  expect(answer).toMatch(/\r\nconnection: close\r\n/i);
  return `${status} ${/\r\nweft-failure: (\S+)\r\n/i.exec(answer)?.[1] ?? 'core'}`;
}

describe.each(wireListeners)('at the %s listener', (listener) => {
  it.each(requestCases)('$name', async (one: RequestCase) => {
    expect(await outcomeOf(addresses[listener], [one.bytes], one[listener])).toBe(one[listener]);
    expect(origin.requests.some(({ startLine }) => startLine.includes('/smuggled'))).toBe(false);
  });
});

/** The uWS core answers 505 to a request line that comes in two segments; and two requests on one connection are for the edge only. */
describe.each(wireListeners)('what is valid arrives however it is cut, at the %s listener', (listener) => {
  const valid = requestCases.filter((one) => one[listener].startsWith('arrives'));
  const piecesOf = (bytes: string, places: readonly number[]) => {
    const lineEnd = listener === 'uws' ? bytes.indexOf('\r\n') + 2 : 0;
    const [first = '', ...more] = cutAt(bytes.slice(lineEnd), places);
    return [bytes.slice(0, lineEnd) + first, ...more];
  };

  it.each(valid)('a byte at a time: $name', async (one) => {
    const everywhere = Array.from(one.bytes, (_, at) => at);
    expect(await outcomeOf(addresses[listener], piecesOf(one.bytes, everywhere), one[listener])).toBe(one[listener]);
  });

  it('in any segments', async () => {
    const segmented = fc.asyncProperty(
      fc.constantFrom(...valid),
      fc.array(fc.nat(), { maxLength: 8 }),
      async (one, places) => {
        expect(await outcomeOf(addresses[listener], piecesOf(one.bytes, places), one[listener])).toBe(one[listener]);
      },
    );
    await fc.assert(segmented, { numRuns: 150 });
  });
});

it('has no case twice', () => {
  expect(new Set(requestCases.map(({ bytes }) => bytes)).size).toBe(requestCases.length);
});
