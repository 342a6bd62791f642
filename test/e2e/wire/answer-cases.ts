/**
 * Answers of an origin as bytes, and what the client gets: `STATUS [BODY]`, whole; `STATUS CODE`, a reply of the sidecar's own; `cut`: no whole
 * answer, and a connection that ends. What is wrong in one segment with the head is a reply, too: the head had not left yet.
 * `after` is what the origin does with its connection behind the bytes.
 */
import type { OriginAnswer } from './strict-origin.ts';

export interface AnswerCase extends OriginAnswer {
  readonly name: string;
  readonly method: string;
  readonly outcome: string;
}

const cases: AnswerCase[] = [];
type Row = readonly [name: string, bytes: string, outcome?: string];

function group(
  theme: string,
  outcome: string,
  after: OriginAnswer['after'],
  rows: readonly Row[],
  method = 'GET',
): void {
  for (const [name, bytes, own] of rows)
    cases.push({ name: `${theme}: ${name}`, method, bytes, after, outcome: own ?? outcome });
}

const garbage = '502 upstream-garbage';
/** What an answer that was misread would become. */
export const poison = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison';
const ok = (fields: string, body = '') => `HTTP/1.1 200 OK\r\n${fields}\r\n${body}`;
const chunked = (body: string) => ok('Transfer-Encoding: chunked\r\n', body);

group('status line', garbage, 'close', [
  ...[
    ...[
      'HTTP/1.1 20 OK',
      'HTTP/1.1 2000 OK',
      'HTTP/1.1 abc OK',
      'HTTP/1.1 -200 OK',
      'HTTP/1.1  200 OK',
      'HTTP/1.1 200OK',
    ],
    ...['HTTP/2 200 OK', 'HTTP/2.0 200 OK', 'HTTP/0.9 200 OK', 'HTTP/11 200 OK', 'http/1.1 200 OK', 'ICY 200 OK'],
    ...[' HTTP/1.1 200 OK', 'HTTP/1.1\t200 OK', 'HTTP 200 OK', 'HTTP/1.1', 'HTTP/1.1 ', 'XHTTP/1.1 200 OK', '200 OK'],
    ...[
      'HTTP/1.1 000 X',
      'HTTP/1.1 099 X',
      'HTTP/1.1 2 0 0',
      'HTTP/1.1 0x1 X',
      'HTTP/1.1 20\0 OK',
      'HTTP/1.1 200 O\0K',
    ],
    ...['HTTP/1.1 200 O\rK', 'HTTP/1.1 200 O\x07K', 'GET / HTTP/1.1', '\x16\x03\x01\x02', '<html>'],
  ].map((line): Row => [JSON.stringify(line), `${line}\r\nContent-Length: 2\r\n\r\nok`]),
  ['a bare LF', 'HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok'],
]);
group('status line', '200 [ok]', 'keep', [
  ['no reason', 'HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok'],
  ['no reason and no blank', 'HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok'],
  ['a long reason', `HTTP/1.1 200 ${'x'.repeat(500)}\r\nContent-Length: 2\r\n\r\nok`],
  ['a reason with bytes beyond ASCII', 'HTTP/1.1 200 \xe9t\xe9\r\nContent-Length: 2\r\n\r\nok'],
  ['HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok'],
  ['299', 'HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok', '299 [ok]'],
  ['599', 'HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nok', '599 [ok]'],
]);

group('fields', garbage, 'close', [
  ...[
    'X Y: z',
    'X : z',
    ': z',
    'X',
    'X\0: z',
    'X\xe9: z',
    ' X: z',
    'X: a\0b',
    'X: a\rb',
    'X: a\nb',
    'X: a\x07b',
    'X: a\x7fb',
    'X(: z',
    'X\t: z',
  ].map((line): Row => [JSON.stringify(line), ok(`${line}\r\nContent-Length: 2\r\n`, 'ok')]),
  ['folded', ok('X: a\r\n b\r\nContent-Length: 2\r\n', 'ok')],
  ['a folded length', ok('Content-Length:\r\n 2\r\n', 'ok')],
  ['a length behind a bare LF', ok('X: a\nContent-Length: 2\r\n', 'ok')],
  [
    'an endless head',
    ok(`${'X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n'.repeat(4_000)}Content-Length: 2\r\n`, 'ok'),
    '502 upstream-head-too-large',
  ],
  ['an endless line', ok(`X: ${'y'.repeat(100_000)}\r\nContent-Length: 2\r\n`, 'ok'), '502 upstream-head-too-large'],
  ['1,000 fields', ok(`${'X: y\r\n'.repeat(1_000)}Content-Length: 2\r\n`, 'ok'), '502 upstream-head-too-large'],
]);
group('fields', '200 [ok]', 'keep', [
  ['of nothing', ok('X:\r\nContent-Length: 2\r\n', 'ok')],
  ['an underscore', ok('X_Y: z\r\nContent-Length: 2\r\n', 'ok')],
  ['bytes beyond ASCII', ok('X: \xe9\r\nContent-Length: 2\r\n', 'ok')],
  ['two cookies', ok('Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n', 'ok')],
  ['of the hop', ok('Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n', 'ok')],
]);

group('Content-Length', garbage, 'close', [
  ...['+2', '-2', '0x2', '2.0', '2,2', '2, 2', '2 2', 'two', '', '1234567890123456', '"2"'].map(
    (value): Row => [JSON.stringify(value), ok(`Content-Length: ${value}\r\n`, `ok${poison}`)],
  ),
  ['twice, differing', ok('Content-Length: 2\r\nContent-Length: 70\r\n', `ok${poison}`)],
  ['twice, equal', ok('Content-Length: 2\r\nContent-Length: 2\r\n', 'ok')],
  ['and a coding', ok('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${poison}`)],
  ['behind a coding', ok('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', `0\r\n\r\n${poison}`)],
]);
group('Transfer-Encoding', garbage, 'close', [
  ...[
    'gzip',
    'identity',
    'chunked, gzip',
    'chunked, chunked',
    'xchunked',
    'chunked;x',
    '"chunked"',
    'chunked,',
    'cow',
    '',
  ].map(
    (value): Row => [JSON.stringify(value), ok(`Transfer-Encoding: ${value}\r\n`, `2\r\nok\r\n0\r\n\r\n${poison}`)],
  ),
  ['twice', ok('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '2\r\nok\r\n0\r\n\r\n')],
  ['in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'],
]);

group('body', 'cut', 'close', [
  ['shorter than said', ok('Content-Length: 5\r\n', 'ok')],
  ['none of what was said', ok('Content-Length: 5\r\n')],
  ['chunks without an end', chunked('2\r\nok\r\n')],
  ['chunks that end in the last line', chunked('2\r\nok\r\n0\r\n')],
  ['a chunk cut in the middle', chunked('5\r\nok')],
  ['chunks that end behind a size', chunked('2\r\nok\r\n5')],
  ['trailers without an end', chunked('2\r\nok\r\n0\r\nX: y\r\n')],
]);
// In one segment with its head.
group('body', garbage, 'close', [
  ...['x', '-1', '+2', '0x2', ' 2', '', '2g', '1234567890abcdef0', '2\0', '2;a\nb'].map(
    (size): Row => [
      `a chunk of the size ${JSON.stringify(size)}`,
      chunked(`2\r\nok\r\n${size}\r\nok\r\n0\r\n\r\n${poison}`),
    ],
  ),
  ['a chunk longer than its size', chunked(`2\r\nok\r\n1\r\nok\r\n0\r\n\r\n${poison}`)],
  ['a bare LF behind a size', chunked(`2\r\nok\r\n2\nok\r\n0\r\n\r\n${poison}`)],
  ['a bare LF behind a chunk', chunked(`2\r\nok\n0\r\n\r\n${poison}`)],
  ['too long an extension', chunked(`2\r\nok\r\n2;${'x'.repeat(20_000)}\r\nok\r\n0\r\n\r\n`)],
  ['a trailer that is none', chunked('2\r\nok\r\n0\r\nX Y: z\r\n\r\n')],
]);
group('body', 'cut', 'reset', [
  ['reset in the middle', ok('Content-Length: 5\r\n', 'ok')],
  ['reset in a chunk', chunked('5\r\nok')],
  ['reset behind a chunk', chunked('2\r\nok\r\n')],
]);
group('body', '200 [ok]', 'keep', [
  ['counted', ok('Content-Length: 2\r\n', 'ok')],
  ['counted with a zero', ok('Content-Length: 02\r\n', 'ok')],
  ['in chunks', chunked('1\r\no\r\n1\r\nk\r\n0\r\n\r\n')],
  ['with an extension', chunked('2;a=b\r\nok\r\n0\r\n\r\n')],
  ['with a trailer', chunked('2\r\nok\r\n0\r\nX-T: 1\r\n\r\n')],
  ['with more trailers than pass', chunked(`2\r\nok\r\n0\r\n${'X: 1\r\n'.repeat(201)}\r\n`)],
  ['of nothing', ok('Content-Length: 0\r\n'), '200 []'],
  ['of no chunk', chunked('0\r\n\r\n'), '200 []'],
  // The length cannot be believed.
  ['bytes behind the end', ok('Content-Length: 2\r\n', `ok${poison}`), '502 answer-cut'],
  ['bytes behind the last chunk', chunked(`2\r\nok\r\n0\r\n\r\n${poison}`)],
]);
group('body', '200 [ok]', 'close', [
  ['until the close', ok('', 'ok')],
  ['until the close, with Connection: close', ok('Connection: close\r\n', 'ok')],
  ['until the close of HTTP/1.0', 'HTTP/1.0 200 OK\r\n\r\nok'],
  ['counted, then closed', ok('Content-Length: 2\r\nConnection: close\r\n', 'ok')],
]);

group('no answer', '502 upstream-reset', 'close', [
  ['closed', ''],
  ['half a status line', 'HTTP/1.1 20'],
  ['half a head', 'HTTP/1.1 200 OK\r\nContent-Le'],
  ['a head without its end', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n'],
  ['an interim answer only', 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'],
]);
group('no answer', '502 upstream-reset', 'reset', [
  ['reset', ''],
  ['reset in the head', 'HTTP/1.1 200 OK\r\nContent-Le'],
]);

group('interim', '200 [ok]', 'keep', [
  ['100', `HTTP/1.1 100 Continue\r\n\r\n${ok('Content-Length: 2\r\n', 'ok')}`],
  ['102', `HTTP/1.1 102 Processing\r\n\r\n${ok('Content-Length: 2\r\n', 'ok')}`],
  ['103 with fields', `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok('Content-Length: 2\r\n', 'ok')}`],
  ['ten', `${'HTTP/1.1 102 Processing\r\n\r\n'.repeat(10)}${ok('Content-Length: 2\r\n', 'ok')}`],
]);
group('interim', garbage, 'close', [
  ['101', `HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n${poison}`],
  ['a hundred', `${'HTTP/1.1 102 Processing\r\n\r\n'.repeat(100)}${ok('Content-Length: 2\r\n', 'ok')}`],
]);

group('without a body', '204 []', 'keep', [
  ['204', 'HTTP/1.1 204 No Content\r\n\r\n'],
  ['204 with a length', 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n'],
  ['204 with a coding', 'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['304', 'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n', '304 []'],
  ['304 with a length', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n', '304 []'],
  ['204 with bytes behind it', `HTTP/1.1 204 No Content\r\n\r\n${poison}`],
  ['304 with bytes behind it', `HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n${poison}`, '304 []'],
]);
group(
  'to HEAD',
  '200 []',
  'keep',
  [
    ['a length', ok('Content-Length: 5\r\n')],
    ['a coding', ok('Transfer-Encoding: chunked\r\n')],
    ['neither', ok('')],
    ['a body that must not be', ok('Content-Length: 6\r\n', 'poison')],
    ['another answer behind it', ok('Content-Length: 6\r\n', poison)],
  ],
  'HEAD',
);

export const answerCases: readonly AnswerCase[] = cases;
