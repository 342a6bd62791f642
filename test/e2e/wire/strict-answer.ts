/** An answer as a client that believes nothing reads it (RFC 9112), with none of a sidecar's own code. */
export interface ReadAnswer {
  /** 0: not even a head came. */
  readonly status: number;
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  readonly isWhole: boolean;
}

const nothing: ReadAnswer = { status: 0, fields: [], body: '', isWhole: false };

/** `isEnded`: the connection was closed in order. Throws for bytes that are no answer, and for bytes behind a whole one. */
export function readAnswer(bytes: string, method: string, isEnded: boolean): ReadAnswer {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd === -1) return nothing;
  const [statusLine = '', ...lines] = bytes.slice(0, headEnd).split('\r\n');
  const found = /^HTTP\/1\.1 ([2-9]\d\d) [\t\x20-\x7e\x80-\xff]*$/.exec(statusLine);
  if (found === null) throw new Error(`the status line ${JSON.stringify(statusLine)}`);
  const fields = lines.map((line): [string, string] => {
    const field = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/.exec(line);
    if (field === null) throw new Error(`the line ${JSON.stringify(line)}`);
    return [field[1]!.toLowerCase(), field[2]!];
  });
  const status = Number(found[1]);
  const valuesOf = (name: string) => fields.filter(([other]) => other === name).map(([, value]) => value);
  const rest = bytes.slice(headEnd + 4);
  const isBodiless = method === 'HEAD' || status === 204 || status === 304;
  const [length, coding] = [valuesOf('content-length'), valuesOf('transfer-encoding')];
  if (length.length + coding.length > 1) throw new Error('framed twice');
  if (valuesOf('date').length !== 1) throw new Error(`${valuesOf('date').length} Dates`);
  if (isBodiless) return whole({ status, fields, body: '', isWhole: true }, rest);
  if (coding.length === 1) {
    if (coding[0] !== 'chunked') throw new Error(`the coding ${coding[0]}`);
    return readChunks(status, fields, rest);
  }
  if (length.length === 0) return { status, fields, body: rest, isWhole: isEnded };
  if (!/^\d+$/.test(length[0]!)) throw new Error(`the length ${length[0]}`);
  const end = Number(length[0]);
  if (rest.length < end) return { status, fields, body: rest, isWhole: false };
  return whole({ status, fields, body: rest.slice(0, end), isWhole: true }, rest.slice(end));
}

function whole(answer: ReadAnswer, behind: string): ReadAnswer {
  if (behind !== '') throw new Error(`behind the answer stands ${JSON.stringify(behind)}`);
  return answer;
}

function readChunks(status: number, fields: ReadAnswer['fields'], bytes: string): ReadAnswer {
  let body = '';
  let at = 0;
  for (;;) {
    const size = /^([\da-f]{1,8})\r\n/i.exec(bytes.slice(at, at + 10));
    if (size === null) {
      if (bytes.length - at >= 10) throw new Error(`the chunk ${JSON.stringify(bytes.slice(at, at + 10))}`);
      return { status, fields, body, isWhole: false };
    }
    const length = Number.parseInt(size[1]!, 16);
    at += size[0].length;
    if (length === 0) {
      const end = bytes.startsWith('\r\n', at) ? at + 2 : bytes.indexOf('\r\n\r\n', at) + 4;
      if (end < at) return { status, fields, body, isWhole: false };
      return whole({ status, fields, body, isWhole: true }, bytes.slice(end));
    }
    if (bytes.length < at + length + 2) return { status, fields, body, isWhole: false };
    body += bytes.slice(at, at + length);
    at += length + 2;
  }
}
