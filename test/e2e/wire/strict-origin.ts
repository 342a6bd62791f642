/**
 * An origin that believes nothing: it reads what a sidecar sends by the letter of RFC 9112, with none of a sidecar's own code, and keeps every
 * request, and every byte that cannot be one.
 */
import type { Socket } from 'node:net';
import { sendPieces } from './pieces.ts';

export interface ReadMessage {
  readonly startLine: string;
  /** `[name, value]`, as they came. */
  readonly fields: readonly (readonly [string, string])[];
  readonly body: string;
}

/** Null: more has to come. A text: why no reader may take it for a request. */
export function readRequest(bytes: string): { readonly request: ReadMessage; readonly rest: string } | string | null {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd === -1) return bytes.length > 200_000 ? 'a head without end' : null;
  const [startLine = '', ...lines] = bytes.slice(0, headEnd).split('\r\n');
  if (!/^[A-Z]+ \/[!"$-~]* HTTP\/1\.1$/.test(startLine)) return `the request line ${JSON.stringify(startLine)}`;
  const fields: [string, string][] = [];
  for (const line of lines) {
    const found = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*?)[ \t]*$/s.exec(line);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what must not be in a field (RFC 9110 section 5.5)
    if (found === null || /[\0-\x08\n-\x1f\x7f]/.test(line)) return `the line ${JSON.stringify(line)}`;
    fields.push([found[1]!.toLowerCase(), found[2]!]);
  }
  const valuesOf = (name: string) => fields.filter(([other]) => other === name).map(([, value]) => value);
  if (valuesOf('host').length !== 1) return `${valuesOf('host').length} Hosts`;
  const [lengths, codings] = [valuesOf('content-length'), valuesOf('transfer-encoding')];
  if (lengths.length + codings.length > 1) return `${lengths.length} lengths and ${codings.length} codings`;
  const rest = bytes.slice(headEnd + 4);
  const finish = (body: string, end: number) => ({ request: { startLine, fields, body }, rest: rest.slice(end) });
  if (codings.length === 1) {
    if (codings[0] !== 'chunked') return `the coding ${codings[0]}`;
    return readChunks(rest, finish);
  }
  if (lengths.length === 0) return finish('', 0);
  if (!/^\d{1,15}$/.test(lengths[0]!)) return `the length ${lengths[0]}`;
  const length = Number(lengths[0]);
  return rest.length < length ? null : finish(rest.slice(0, length), length);
}

function readChunks<Result>(bytes: string, finish: (body: string, end: number) => Result): Result | string | null {
  let body = '';
  for (let at = 0; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd === -1) return null;
    const line = bytes.slice(at, lineEnd);
    if (!/^[\da-f]{1,8}$/i.test(line)) return `the chunk size ${JSON.stringify(line)}`;
    const size = Number.parseInt(line, 16);
    at = lineEnd + 2;
    if (size === 0) {
      if (bytes.startsWith('\r\n', at)) return finish(body, at + 2);
      const end = bytes.indexOf('\r\n\r\n', at);
      return end === -1 ? null : finish(body, end + 4);
    }
    if (bytes.length < at + size + 2) return null;
    if (!bytes.startsWith('\r\n', at + size)) return 'no line end behind a chunk';
    body += bytes.slice(at, at + size);
    at += size + 2;
  }
}

/** How a connection of the origin answers a request: bytes, and what becomes of the connection after them. */
export interface OriginAnswer {
  readonly bytes: string;
  readonly after: 'keep' | 'close' | 'reset';
}

export class StrictOrigin {
  requests: ReadMessage[] = [];
  /** What was no request, in words. */
  faults: string[] = [];
  answer: OriginAnswer = { bytes: '', after: 'keep' };
  /** How an answer is cut into segments. */
  segment: (bytes: string) => readonly string[] = (bytes) => [bytes];

  readonly serve = (socket: Socket): void => {
    let bytes = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      bytes += chunk.toString('latin1');
      for (let read = readRequest(bytes); read !== null; read = readRequest(bytes)) {
        if (typeof read === 'string') {
          this.faults.push(read);
          socket.destroy();
          return;
        }
        bytes = read.rest;
        this.requests.push(read.request);
        this.reply(socket);
        if (bytes === '') return;
      }
    });
  };

  private reply(socket: Socket): void {
    const { bytes, after } = this.answer;
    socket.setNoDelay(true);
    sendPieces(socket, this.segment(bytes), () => {
      if (after === 'close') socket.end();
      else if (after === 'reset') socket.write('', () => socket.resetAndDestroy());
    });
  }
}
