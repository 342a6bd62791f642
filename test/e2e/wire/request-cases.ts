/**
 * Requests as bytes, and what becomes of them at the edge (llhttp) and at the uWS listener. `arrives`: what the origin reads, `METHOD TARGET
 * [BODY]`, each request once. `STATUS CODE`: refused with that Weft-Failure, and the connection closes. `STATUS core`: the uWS core answers by
 * itself and closes. `silent`: the core neither answers nor closes for its 10 s. `closed`: no answer. docs/uws.md lists what the core does.
 */

export interface RequestCase {
  readonly name: string;
  readonly bytes: string;
  readonly edge: string;
  readonly uws: string;
}

const cases: RequestCase[] = [];

/** One outcome for both listeners, or the edge's and uWS's. */
type Outcome = string | readonly [edge: string, uws: string];

function group(theme: string, outcome: Outcome, rows: readonly (readonly [string, string, Outcome?])[]): void {
  for (const [name, bytes, own] of rows) {
    const one = own ?? outcome;
    const [edge, uws] = typeof one === 'string' ? [one, one] : one;
    cases.push({ name: `${theme}: ${name}`, bytes, edge, uws });
  }
}

/** What a request that was misread would become. */
export const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: cart\r\n\r\n';

const get = (fields: string, target = '/') => `GET ${target} HTTP/1.1\r\nHost: cart\r\n${fields}\r\n`;
const post = (fields: string, body: string) => `POST / HTTP/1.1\r\nHost: cart\r\n${fields}\r\n${body}`;
const chunked = (body: string) => post('Transfer-Encoding: chunked\r\n', body);
const bad = '400 bad-request';
const hidden = (edge: string, uws: string): Outcome => [edge, uws];

// --- Framing -------------------------------------------------------------------------------------------------------------------------

group('Content-Length', bad, [
  ...['+5', '-5', '0x5', '5.0', '5e0', '5,5', '5, 5', '5;', '5 5', 'five', '1234567890123456', '5\t5', '"5"', "5'"].map(
    (value) => [JSON.stringify(value), post(`Content-Length: ${value}\r\n`, `hello${smuggled}`)] as const,
  ),
  ['of nothing', post('Content-Length:\r\n', smuggled)],
  ['twice, equal', post('Content-Length: 5\r\nContent-Length: 5\r\n', 'hello')],
  ['twice, differing', post('Content-Length: 5\r\nContent-Length: 0\r\n', `hello${smuggled}`)],
  ['twice, the first 0', post('Content-Length: 0\r\nContent-Length: 46\r\n', smuggled)],
  ['twice, in other case', post('Content-Length: 5\r\ncontent-LENGTH: 6\r\n', 'hello')],
  ['on GET, twice', get('Content-Length: 0\r\nContent-Length: 40\r\n') + smuggled],
]);
group('Content-Length', 'arrives POST / [hello]', [
  ['5', post('Content-Length: 5\r\n', 'hello')],
  ['05', post('Content-Length: 05\r\n', 'hello')],
  ['000000000000005', post('Content-Length: 000000000000005\r\n', 'hello')],
  ['blanks around it', post('Content-Length:   5  \r\n', 'hello')],
  // RFC 9110 section 5.6.3 allows it; llhttp does not.
  ['tabs around it', post('Content-Length: \t5\t\r\n', 'hello'), [bad, 'arrives POST / [hello]']],
  ['no blank', post('Content-Length:5\r\n', 'hello')],
  ['in capitals', post('CONTENT-LENGTH: 5\r\n', 'hello')],
]);
group('Content-Length', 'arrives GET / [hello]', [['on GET', `${get('Content-Length: 5\r\n')}hello`]]);
group('Content-Length', 'arrives GET / []', [
  ['0 on GET', get('Content-Length: 0\r\n')],
  ['none on GET', get('')],
]);
group('Content-Length', 'arrives POST / []', [
  ['0 on POST', post('Content-Length: 0\r\n', '')],
  ['none on POST', post('', '')],
]);

group(
  'both framings',
  [bad, '400 core'],
  [
    ['length first', post('Content-Length: 6\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${smuggled}`)],
    ['coding first', post('Transfer-Encoding: chunked\r\nContent-Length: 6\r\n', `0\r\n\r\n${smuggled}`)],
    ['length 0', post('Content-Length: 0\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${smuggled}`)],
    ['an unknown coding', post('Content-Length: 5\r\nTransfer-Encoding: x\r\n', 'hello')],
    ['identity', post('Content-Length: 5\r\nTransfer-Encoding: identity\r\n', 'hello')],
    ['on GET', `${get('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n')}0\r\n\r\n${smuggled}`],
  ],
);

group('Transfer-Encoding', bad, [
  ...[
    ...['gzip', 'identity', 'gzip, chunked', 'chunked, gzip', 'chunked, chunked', 'chunked, identity', 'chunked;q=1'],
    ...[
      'xchunked',
      'chunkedx',
      'chunked,',
      ',chunked',
      '"chunked"',
      "'chunked'",
      'chunk',
      'chu nked',
      'chunked chunked',
    ],
    ...['cow', 'chunked\t,identity', 'x=chunked'],
  ].map((value) => [JSON.stringify(value), post(`Transfer-Encoding: ${value}\r\n`, `0\r\n\r\n${smuggled}`)] as const),
  ['twice', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${smuggled}`)],
  ['twice, the first unknown', post('Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${smuggled}`)],
  ['twice, the last unknown', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n', `0\r\n\r\n${smuggled}`)],
  ['of nothing', post('Transfer-Encoding:\r\n', `0\r\n\r\n${smuggled}`)],
  [
    'in HTTP/1.0',
    'POST / HTTP/1.0\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    hidden(bad, '505 core'),
  ],
  ['with a vertical tab', post('Transfer-Encoding: \x0bchunked\r\n', `0\r\n\r\n${smuggled}`), hidden(bad, 'silent')],
  ['with NUL', post('Transfer-Encoding: chunked\0\r\n', `0\r\n\r\n${smuggled}`), hidden(bad, 'silent')],
  ['a space before its colon', post('Transfer-Encoding : chunked\r\n', `0\r\n\r\n${smuggled}`), hidden(bad, 'silent')],
  ['a blank before its name', post(' Transfer-Encoding: chunked\r\n', `0\r\n\r\n${smuggled}`), hidden(bad, 'silent')],
  ['folded', post('Transfer-Encoding:\r\n chunked\r\n', `0\r\n\r\n${smuggled}`), hidden(bad, 'silent')],
  ['folded behind another', post('X: y\r\n Transfer-Encoding: chunked\r\n', smuggled), hidden(bad, 'silent')],
  ['behind a bare LF', post('X: y\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${smuggled}`), hidden(bad, 'silent')],
  ['behind a bare CR', post('X: y\rTransfer-Encoding: chunked\r\n', `0\r\n\r\n${smuggled}`), hidden(bad, 'silent')],
  ['a byte beyond ASCII in its name', post('Transfer-Encod\xedng: chunked\r\n', smuggled), hidden(bad, 'silent')],
]);
group('Transfer-Encoding', 'arrives POST / [hello]', [
  ['chunked', chunked('5\r\nhello\r\n0\r\n\r\n')],
  ['Chunked', post('Transfer-Encoding: Chunked\r\n', '5\r\nhello\r\n0\r\n\r\n')],
  ['CHUNKED with blanks', post('Transfer-Encoding:   CHUNKED  \r\n', '5\r\nhello\r\n0\r\n\r\n')],
  ['in several chunks', chunked('1\r\nh\r\n4\r\nello\r\n0\r\n\r\n')],
  ['sizes with zeros', chunked('005\r\nhello\r\n000\r\n\r\n')],
  ['on GET', `${get('Transfer-Encoding: chunked\r\n')}5\r\nhello\r\n0\r\n\r\n`, 'arrives GET / [hello]'],
  ['a size in capitals', chunked('A\r\nhellohello\r\n0\r\n\r\n'), 'arrives POST / [hellohello]'],
  ['of nothing', chunked('0\r\n\r\n'), 'arrives POST / []'],
  ['trailers', chunked('5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n'), hidden('arrives POST / [hello]', '505 core')],
]);

// What the uWS core reads otherwise than the standard ends with the connection: nothing behind it is a request, and nothing upstream ends cleanly.
group(
  'chunks',
  [bad, '400 core'],
  [
    ...['5x', '0x5', '+5', '-5', 'g', '5_', '1234567890abcdef0'].map(
      (size) => [`the size ${JSON.stringify(size)}`, chunked(`${size}\r\nhello\r\n0\r\n\r\n${smuggled}`)] as const,
    ),
    // To the uWS core `g` is a digit: it waits for more.
    ['the size "5g"', chunked(`5g\r\nhello\r\n0\r\n\r\n${smuggled}`), [bad, 'silent']],
    ['a blank before the size', chunked(` 5\r\nhello\r\n0\r\n\r\n${smuggled}`), [bad, '505 core']],
    ['no size', chunked(`\r\nhello\r\n0\r\n\r\n${smuggled}`), [bad, '505 core']],
    ['a blank behind the size', chunked(`5 \r\nhello\r\n0\r\n\r\n${smuggled}`), [bad, 'closed']],
    ['a tab behind the size', chunked(`5\t\r\nhello\r\n0\r\n\r\n${smuggled}`), [bad, 'closed']],
    ['NUL behind the size', chunked(`5\0\r\nhello\r\n0\r\n\r\n${smuggled}`), [bad, 'closed']],
    ['a bare LF behind the size', chunked(`5\nhello\r\n0\r\n\r\n${smuggled}`), [bad, 'closed']],
    ['a bare CR behind the size', chunked(`5\rhello\r\n0\r\n\r\n${smuggled}`)],
    ['a bare LF behind the data', chunked(`5\r\nhello\n0\r\n\r\n${smuggled}`), [bad, 'closed']],
    ['no CRLF behind the data', chunked(`5\r\nhelloX\r\n0\r\n\r\n${smuggled}`), [bad, '505 core']],
    ['data longer than said', chunked(`3\r\nhello\r\n0\r\n\r\n${smuggled}`), [bad, '505 core']],
    ['an extension with a bare LF', chunked(`5;a\nhello\r\n0\r\n\r\n${smuggled}`), [bad, 'silent']],
    ['an extension with a bare CR', chunked(`5;a\rb\r\nhello\r\n0\r\n\r\n${smuggled}`), [bad, 'silent']],
  ],
);
group(
  'chunks',
  ['arrives POST / [hello]', 'silent'],
  [
    ['an extension', chunked('5;a=b\r\nhello\r\n0\r\n\r\n')],
    ['an extension without a value', chunked('5;a\r\nhello\r\n0\r\n\r\n')],
    ['a quoted extension', chunked('5;a="b;c"\r\nhello\r\n0\r\n\r\n'), ['arrives POST / [hello]', '400 core']],
  ],
);

// --- Request line ----------------------------------------------------------------------------------------------------------------------

group(
  'request line',
  [bad, '505 core'],
  [
    // A recipient may take them for one (RFC 9112 section 3); what is forwarded has one.
    ['two spaces behind the method', 'GET  / HTTP/1.1\r\nHost: cart\r\n\r\n', ['arrives GET / []', '505 core']],
    ['two spaces behind the target', 'GET /  HTTP/1.1\r\nHost: cart\r\n\r\n', ['arrives GET / []', '505 core']],
    ['a tab', 'GET\t/ HTTP/1.1\r\nHost: cart\r\n\r\n'],
    ['a space before the method', ' GET / HTTP/1.1\r\nHost: cart\r\n\r\n'],
    ['a space at the end', 'GET / HTTP/1.1 \r\nHost: cart\r\n\r\n'],
    ['no version', 'GET /\r\nHost: cart\r\n\r\n', ['505 version-not-supported', '505 core']],
    ['no target', 'GET HTTP/1.1\r\nHost: cart\r\n\r\n'],
    ['a space in the target', 'GET /a b HTTP/1.1\r\nHost: cart\r\n\r\n'],
    ['a bare LF', 'GET / HTTP/1.1\nHost: cart\r\n\r\n'],
    ['a bare CR', 'GET / HTTP/1.1\rHost: cart\r\n\r\n'],
    ['HTTP/1.2', 'GET / HTTP/1.2\r\nHost: cart\r\n\r\n', ['505 version-not-supported', '505 core']],
    ['HTTP/2.0', 'GET / HTTP/2.0\r\nHost: cart\r\n\r\n', ['505 version-not-supported', '505 core']],
    ['HTTP/0.9', 'GET / HTTP/0.9\r\nHost: cart\r\n\r\n', ['505 version-not-supported', '505 core']],
    ['HTTP/3.0', 'GET / HTTP/3.0\r\nHost: cart\r\n\r\n', ['505 version-not-supported', '505 core']],
    ['HTTP/11', 'GET / HTTP/11\r\nHost: cart\r\n\r\n'],
    ['HTTP/1.10', 'GET / HTTP/1.10\r\nHost: cart\r\n\r\n'],
    ['http/1.1', 'GET / http/1.1\r\nHost: cart\r\n\r\n'],
    ['HTTPS/1.1', 'GET / HTTPS/1.1\r\nHost: cart\r\n\r\n'],
    ['the HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', ['505 version-not-supported', '505 core']],
    ['SSH', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n'],
  ],
);
group(
  'method',
  ['501 method-not-supported', '505 core'],
  [
    ['CONNECT', 'CONNECT cart:80 HTTP/1.1\r\nHost: cart\r\n\r\n'],
    ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nHost: cart\r\n\r\n'],
    ['TRACE', 'TRACE / HTTP/1.1\r\nHost: cart\r\n\r\n', '501 method-not-supported'],
    ['BREW', 'BREW / HTTP/1.1\r\nHost: cart\r\n\r\n', [bad, '501 method-not-supported']],
    ['get', 'get / HTTP/1.1\r\nHost: cart\r\n\r\n', [bad, '501 method-not-supported']],
    ['G ET', 'G ET / HTTP/1.1\r\nHost: cart\r\n\r\n', [bad, '505 core']],
    ['GET with a colon', 'GET: / HTTP/1.1\r\nHost: cart\r\n\r\n', bad],
    ['of 100 letters', `${'A'.repeat(100)} / HTTP/1.1\r\nHost: cart\r\n\r\n`, [bad, '501 method-not-supported']],
  ],
);
for (const method of ['HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND', 'REPORT', 'MKCOL'])
  group('method', `arrives ${method} / []`, [
    [method, `${method} / HTTP/1.1\r\nHost: cart\r\n${method === 'PUT' ? 'Content-Length: 0\r\n' : ''}\r\n`],
  ]);

group('target', bad, [
  ...['/a#b', '/%00', '/a%00b', '/%', '/%1', '/%zz', '/a\\b', '/..;x=1/a', '/a/.;/b', '/\x7f', '/\xc3\xa9'].map(
    (target) => [JSON.stringify(target), get('', target)] as const,
  ),
  ['a vertical tab', get('', '/a\x0bb'), [bad, '505 core']],
  ['no slash', get('', 'cart'), [bad, '505 core']],
  ['a query only', get('', '?a'), [bad, '505 core']],
  ['an https URI', get('', 'https://cart/a'), ['arrives GET /a []', '505 core']],
  ['an http URI', get('', 'http://cart/a?b'), ['arrives GET /a?b []', '505 core']],
  ['an http URI without a path', get('', 'http://cart'), ['arrives GET / []', '505 core']],
  ['an ftp URI', get('', 'ftp://cart/a'), [bad, '505 core']],
  ['user information', get('', 'http://u:p@cart/a'), [bad, '505 core']],
  ['an empty authority', get('', 'http:///a'), [bad, '505 core']],
  ['too long', get('', `/${'a'.repeat(16 * 1024)}`), '414 target-too-long'],
]);
for (const [target, arrives] of [
  ...[
    ['/a/b', '/a/b'],
    ['/a/../b', '/b'],
    ['/a/./b', '/a/b'],
    ['//a', '/a'],
    ['/a//b', '/a/b'],
    ['/..', '/'],
  ],
  ...[
    ['/../../etc', '/etc'],
    ['/%2e%2e/a', '/a'],
    ['/a%2fb', '/a%2Fb'],
    ['/%41', '/A'],
    ['/a%5cb', '/a%5Cb'],
  ],
  ...[
    ['/a?b=../c', '/a?b=../c'],
    ['/a?b#'.slice(0, 4), '/a?b'],
    ['/a;x=1/b', '/a;x=1/b'],
    ['/~a', '/~a'],
  ],
  ...[
    ['/a?%', '/a?%'],
    ['/a?', '/a?'],
    ['/%7e', '/~'],
    ["/!$&'()*+,;=:@", "/!$&'()*+,;=:@"],
  ],
] as const)
  group('target', `arrives GET ${arrives} []`, [[target, get('', target)]]);

// --- Host ------------------------------------------------------------------------------------------------------------------------------

group('Host', bad, [
  ['two', 'GET / HTTP/1.1\r\nHost: cart\r\nHost: cart\r\n\r\n'],
  ['two, differing', 'GET / HTTP/1.1\r\nHost: cart\r\nHost: evil\r\n\r\n'],
  ['two, in other case', 'GET / HTTP/1.1\r\nHost: cart\r\nhOST: evil\r\n\r\n'],
  ['none', 'GET / HTTP/1.1\r\nX: y\r\n\r\n', [bad, '400 core']],
  ...[
    '',
    'a b',
    'a/b',
    'a@b',
    'a:b',
    'cart:99999',
    'cart:80:80',
    '[::1',
    '::1',
    'a?b',
    'a#b',
    '[v1.x]',
    '%zz',
    'a\\b',
    '"a"',
  ].map((host) => [JSON.stringify(host), `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`] as const),
]);
for (const host of ['Cart', 'CART', 'cart.', 'cart:80', 'cart:', 'cart.default'])
  group('Host', 'arrives GET / []', [[host, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`]]);

// --- Fields ------------------------------------------------------------------------------------------------------------------------------

group(
  'field name',
  [bad, 'silent'],
  [
    ['with a blank', get('X Y: z\r\n')],
    ['with a space before the colon', get('X : z\r\n')],
    ['with a tab before the colon', get('X\t: z\r\n')],
    ['with NUL', get('X\0: z\r\n')],
    ['with a byte beyond ASCII', get('X\xe9: z\r\n')],
    ['with a bracket', get('X(: z\r\n')],
    ['with a slash', get('X/Y: z\r\n')],
    ['with a comma', get('X,Y: z\r\n')],
    ['with an at sign', get('X@Y: z\r\n')],
    ['no colon', get('X\r\n')],
    ['a line of blanks', get('  \r\n')],
    ['folded', get('X: a\r\n b\r\n')],
    ['folded by a tab', get('X: a\r\n\tb\r\n')],
    ['folded as the first line', 'GET / HTTP/1.1\r\n Host: cart\r\nHost: cart\r\n\r\n'],
    // To the uWS core the end of the fields: what follows is not seen by anybody behind it.
    ['none', get(': z\r\nX-Behind: 1\r\n'), [bad, 'arrives GET / []']],
  ],
);
group(
  'field name',
  ['arrives GET / []', 'silent'],
  [
    ['with an underscore', get('X_Y: z\r\n')],
    ['with a dot', get('X.Y: z\r\n')],
    ['with every mark', get("X!#$%&'*+-.^_`|~: z\r\n")],
  ],
);
group(
  'field value',
  [bad, 'silent'],
  [
    ['with NUL', get('X: a\0b\r\n')],
    ['with a bare CR', get('X: a\rb\r\n')],
    ['with a bare LF', get('X: a\nb\r\n')],
    ['a field behind a bare LF', get('X: a\nY: b\r\n')],
    ['with a bell', get('X: a\x07b\r\n')],
    ['with ESC', get('X: a\x1bb\r\n')],
    ['with DEL', get('X: a\x7fb\r\n'), bad],
  ],
);
group('field value', 'arrives GET / []', [
  ['of nothing', get('X:\r\n')],
  ['of blanks', get('X: \t \r\n')],
  ['with a tab', get('X: a\tb\r\n')],
  ['with UTF-8 inside', get('X: a\xc3\xa9b\r\n')],
  ['with latin1 inside', get('X: a\xe9b\r\n'), ['arrives GET / []', bad]],
  ['with commas and quotes', get('X: "a,b", c\r\n')],
  ['of 8 KiB', get(`X: ${'y'.repeat(8_192)}\r\n`)],
  ['in 90 lines', get(Array.from({ length: 90 }, (_, i) => `X${i}: y\r\n`).join(''))],
  [
    'in 250 lines',
    get(Array.from({ length: 250 }, (_, i) => `X${i}: y\r\n`).join('')),
    ['431 headers-too-large', 'silent'],
  ],
]);

group('Connection', bad, [
  ...['Host', 'content-length', 'close, Authorization', 'x,host', 'a b', 'x;y', '"close"'].map(
    (value) => [`names ${value}`, get(`Connection: ${value}\r\n`)] as const,
  ),
]);
group('Connection', 'arrives GET / []', [
  ...['keep-alive', 'Keep-Alive', 'x-hop', ',', 'keep-alive, x-hop', 'TE, x'].map(
    (value) => [value, get(`Connection: ${value}\r\nX-Hop: 1\r\n`)] as const,
  ),
  ['twice', get('Connection: keep-alive\r\nConnection: x-hop\r\n')],
]);
group('hop-by-hop', 'arrives GET / []', [
  ['Upgrade: websocket', get('Connection: upgrade\r\nUpgrade: websocket\r\n')],
  ['Upgrade: h2c', get('Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n')],
  ['TE', get('TE: trailers\r\nConnection: TE\r\n')],
  ['Proxy-Connection', get('Proxy-Connection: keep-alive\r\n')],
  ['Keep-Alive', get('Keep-Alive: timeout=5\r\n')],
]);
group('Expect', '417 expectation-failed', [
  ['a miracle', post('Expect: miracle\r\nContent-Length: 5\r\n', 'hello')],
  ['two', post('Expect: 100-continue, x\r\nContent-Length: 5\r\n', 'hello')],
]);

group(
  'pipelined',
  ['arrives GET /1 [], GET /2 []', 'closed'],
  [
    ['two', get('', '/1') + get('', '/2')],
    [
      'a body between',
      post('Content-Length: 5\r\n', 'hello') + get('', '/2'),
      ['arrives POST / [hello], GET /2 []', 'closed'],
    ],
    [
      'chunks between',
      chunked('5\r\nhello\r\n0\r\n\r\n') + get('', '/2'),
      ['arrives POST / [hello], GET /2 []', 'closed'],
    ],
    [
      'the second is broken',
      `${get('', '/1')}GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n`,
      ['arrives GET /1 []', 'closed'],
    ],
    ['CRLF before it', `\r\n${get('', '/1')}`, ['arrives GET /1 []', '505 core']],
  ],
);

export const requestCases: readonly RequestCase[] = cases;
