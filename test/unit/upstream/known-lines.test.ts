import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { textsOf } from '../../../src/proxy/headers.ts';
import { AnswerParser } from '../../../src/proxy/upstream/http1-codec.ts';
import type { UpstreamHead } from '../../../src/proxy/upstream/upstream.ts';
import type { HeadText } from './recording.ts';

interface Read {
  readonly head: HeadText | null;
  readonly body: string;
  readonly outcomes: readonly string[];
  readonly keeps: boolean;
  readonly trailers: readonly string[];
}

/** `cuts`: how long each piece is that the answer comes in. */
function read(parser: AnswerParser, answer: string, cuts: readonly number[] = []): Read {
  let head: HeadText | null = null;
  let body = '';
  const onHead = (given: UpstreamHead) => {
    head = { ...given, headers: textsOf(given.headers) };
  };
  const onBody = (chunk: Uint8Array) => {
    body += Buffer.from(chunk).toString('latin1');
  };
  parser.begin({ onHead, onBody }, false);
  const bytes = Buffer.from(answer, 'latin1');
  const outcomes: string[] = [];
  let at = 0;
  for (const cut of [...cuts, bytes.length]) {
    if (at === bytes.length || outcomes.at(-1) === 'failed') break;
    const piece = Buffer.from(bytes.subarray(at, at + cut));
    at += piece.length;
    outcomes.push(parser.feed(piece, piece.length));
  }
  return { head, body, outcomes, keeps: parser.keepsConnection, trailers: textsOf(parser.trailers) };
}

const usual = [
  'HTTP/1.1 200 OK',
  'Server: upstream',
  'Date: Sat, 28 Nov 2026 03:18:23 GMT',
  'Content-Type: application/json; charset=utf-8',
  'Content-Length: 4',
  'Connection: keep-alive',
  'Keep-Alive: timeout=5',
  'X-Powered-By: Express',
  'Cache-Control: max-age=0',
  'ETag: W/"4-abcdef"',
  'Vary: Accept-Encoding',
  'X-Tenant: tenant-4711',
];
const usualAnswer = `${usual.join('\r\n')}\r\n\r\nbody`;
const usualHeaders = usual
  .slice(1)
  .filter((line) => !/^(connection|content-length|keep-alive)/i.test(line))
  .flatMap((line) => line.split(': '));

function learnUsual(): AnswerParser {
  const parser = new AnswerParser();
  for (let i = 0; i < 3; i++) read(parser, usualAnswer);
  return parser;
}

describe('an answer whose lines came before', () => {
  it('says the same as when it came first', () => {
    const first = read(new AnswerParser(), usualAnswer);
    const again = read(learnUsual(), usualAnswer);
    expect(first.head?.headers).toEqual(usualHeaders);
    expect(again).toEqual(first);
    expect(again.head).toEqual({
      ...{ status: 200, reason: 'OK', headers: usualHeaders, bodyBytes: 4, hasBody: true, far: null },
    });
    expect([again.keeps, again.body, again.outcomes]).toEqual([true, 'body', ['complete']]);
  });

  it('says the same however it is cut', () => {
    const whole = read(learnUsual(), usualAnswer);
    const parser = new AnswerParser();
    for (let cut = 1; cut < usualAnswer.length; cut++)
      for (const cuts of [[cut], [cut, 1], [cut, 3, 17]]) {
        const { head, body, keeps, outcomes } = read(parser, usualAnswer, cuts);
        expect({ cuts, head, body, keeps, last: outcomes.at(-1) }).toEqual({
          ...{ cuts, head: whole.head, body: 'body', keeps: true, last: 'complete' },
        });
      }
  });

  it.each([
    ['a status line among the fields', `${usual[0]}\r\n${usual[0]}\r\n\r\n`],
    ['a field in place of the status line', `${usual[1]}\r\n${usual[0]}\r\n\r\n`],
    ['a length that came before, twice', `${usual[0]}\r\n${usual[4]}\r\n${usual[4]}\r\n\r\nbody`],
    ['a length and chunks', `${usual[0]}\r\n${usual[4]}\r\nTransfer-Encoding: chunked\r\n\r\n`],
    ['a line without its feed', `${usual[0]}\r\n${usual[1]}\r${usual[2]}\r\n\r\n`],
    ['a line without its return', `${usual[0]}\r\n${usual[1]}\n${usual[2]}\r\n\r\n`],
    ['a folded line', `${usual[0]}\r\n${usual[1]}\r\n ${usual[2]}\r\n\r\n`],
  ])('is refused as any other: %s', (_what, answer) => {
    const parser = learnUsual();
    for (let i = 0; i < 3; i++) expect([...read(parser, answer).outcomes]).toEqual(['failed']);
  });

  it('is not taken for one that differs in an octet', () => {
    const isField = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*$/;
    for (const [index, line] of usual.entries()) {
      if (index === 0 || /^(Content-Length|Connection|Keep-Alive)/.test(line)) continue;
      for (let at = 0; at < line.length; at++)
        for (const flip of [1, 0x20, 0x80]) {
          const other = line.slice(0, at) + String.fromCharCode(line.charCodeAt(at) ^ flip) + line.slice(at + 1);
          const { head } = read(
            learnUsual(),
            usualAnswer.replace(line, () => other),
          );
          const colon = other.indexOf(':');
          const wanted = [other.slice(0, colon), other.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '')];
          const [name, value] = line.split(': ');
          const headers = usualHeaders.flatMap((text, i) => {
            if (i % 2 === 1) return [];
            return text === name && usualHeaders[i + 1] === value ? wanted : [text, usualHeaders[i + 1]!];
          });
          expect([other, head?.headers ?? null]).toEqual([other, isField.test(other) ? headers : null]);
        }
    }
  });

  it('says the same in any order of its lines, also where another one came behind a line last time', () => {
    const parser = learnUsual();
    const [first, ...fields] = usual;
    for (let turn = 0; turn < 3 * fields.length; turn++) {
      const turned = [...fields.slice(turn % fields.length), ...fields.slice(0, turn % fields.length)];
      const lines = turn % 2 === 0 ? turned : turned.toReversed();
      const { head } = read(parser, `${[first, ...lines].join('\r\n')}\r\n\r\nbody`);
      const passed = lines.filter((line) => !/^(connection|content-length|keep-alive)/i.test(line));
      expect(head?.headers).toEqual(passed.flatMap((line) => line.split(': ')));
    }
  });

  it('knows no line any more whose place another one took, though it came behind the one before', () => {
    const parser = learnUsual();
    // So many that some have the place of each: the place is found by eight octets of a line.
    for (let i = 0; i < 4_000; i++) {
      const answer = `HTTP/1.1 200 OK\r\nServer: upstream\r\nX-${i.toString(36)}: ${i.toString(36)}${'v'.repeat(i % 40)}\r\nContent-Length: 0\r\n\r\n`;
      for (let times = 0; times < 2; times++) read(parser, answer);
      const { head } = read(parser, answer);
      if (head?.headers[3] !== `${i.toString(36)}${'v'.repeat(i % 40)}`) expect([i, head]).toEqual([]);
    }
    expect(read(parser, usualAnswer).head?.headers).toEqual(usualHeaders);
  });

  it('reads any lines as a parser does that has met none of them', () => {
    const name = fc.constantFrom('Server', 'Date', 'X-A', 'x-a', 'Content-Type', 'Set-Cookie', 'Vary', 'Via', 'Age');
    const value = fc.oneof(
      fc.constantFrom('', 'a', 'text/plain', 'max-age=0', 'Sat, 28 Nov 2026 03:18:23 GMT', 'caf\xe9', 'a\tb'),
      fc.string({ unit: fc.constantFrom('a', 'b', ' ', '\t', '"', ',', '\x80'), maxLength: 130 }),
    );
    const status = fc.constantFrom('200 OK', '200 ', '404 Not Found', '503 Service Unavailable', '299 \xe9');
    const parser = new AnswerParser();
    fc.assert(
      fc.property(
        status,
        fc.array(fc.tuple(name, fc.constantFrom('', ' ', '\t '), value, fc.constantFrom('', ' ')), { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 3 }),
        (line, fields, cuts) => {
          const answer = `HTTP/1.1 ${line}\r\n${fields.map(([n, before, v, after]) => `${n}:${before}${v}${after}\r\n`).join('')}Content-Length: 0\r\n\r\n`;
          const headers = fields.flatMap(([n, , v]) => [n, v.replace(/^[ \t]+|[ \t]+$/g, '')]);
          for (let i = 0; i < 3; i++) {
            const { head } = read(parser, answer, cuts);
            expect(head).toEqual({
              ...{
                status: Number(line.slice(0, 3)),
                reason: line.slice(4),
                headers,
                bodyBytes: 0,
                hasBody: true,
                far: null,
              },
            });
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
