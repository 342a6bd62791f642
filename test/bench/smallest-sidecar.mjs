// The floor of Weft's way of doing it: one end of a link that does nothing but carry. No checks, routes, timeouts, metrics or traces, and no
// answer to anything unexpected; what is left is uWebSockets.js, node:net and one write a turn of the loop. For comparison only.
//   node smallest-sidecar.mjs caller OUTBOUND_PORT LINK_PORT
//   node smallest-sidecar.mjs callee LINK_PORT APP_PORT

import uWS from 'uWebSockets.js';
import { connect, createServer } from 'node:net';

const host = '127.0.0.1';
/** A frame: length of its payload, number of its stream. */
const headerBytes = 8;
const turnBytesMax = 1024 * 1024;
const readBytesMax = 256 * 1024;
const streamsMax = 4_096;
const exclusivePort = 1;

const [role, ...ports] = process.argv.slice(2);
const [from, to] = ports.map(Number);

function caller(outboundPort, linkPort) {
  const waiting = new Array(streamsMax).fill(null);
  let lastStream = 0;
  const answer = { res: null, head: '', body: null };
  const write = () => {
    answer.res.writeStatus(answer.head);
    answer.res.end(answer.body);
  };
  const frames = new FrameReader((stream, bytes, start, end) => {
    const place = stream % streamsMax;
    answer.res = waiting[place];
    waiting[place] = null;
    if (answer.res === null) return;
    const bodyAt = start + 2 + bytes.readUInt16BE(start);
    answer.head = bytes.latin1Slice(start + 2, bodyAt);
    answer.body = bytes.subarray(bodyAt, end);
    answer.res.cork(write);
  });
  const onread = { buffer: Buffer.allocUnsafe(readBytesMax), callback: (length, bytes) => frames.read(bytes, length) };
  const turn = new Turn(connect({ host, port: linkPort, noDelay: true, onread }));
  let fields = '';
  const readField = (name, value) => {
    if (name !== 'connection') fields += `${name}: ${value}\r\n`;
  };
  uWS._cfg('silent');
  uWS
    .App()
    .any('/*', (res, req) => {
      const stream = ++lastStream;
      res.onAborted(() => {
        waiting[stream % streamsMax] = null;
      });
      fields = '';
      req.forEach(readField);
      waiting[stream % streamsMax] = res;
      turn.add(stream, `${req.getCaseSensitiveMethod()} ${req.getUrl()} HTTP/1.1\r\n${fields}\r\n`, null, 0, 0);
    })
    .listen(host, outboundPort, exclusivePort, (socket) => sayReady(socket !== false));
}

function callee(linkPort, appPort) {
  const server = createServer({ noDelay: true }, (link) => {
    const turn = new Turn(link);
    const idle = [];
    let due = [];
    const open = () => {
      const connection = { stream: 0, socket: null };
      const onread = {
        buffer: Buffer.allocUnsafe(readBytesMax),
        callback(length, bytes) {
          const text = bytes.latin1Slice(0, length);
          const end = text.indexOf('\r\n\r\n');
          const lengthAt = text.indexOf('Content-Length: ');
          // uWS says the length by itself.
          const head = text.slice('HTTP/1.1 '.length, lengthAt) + text.slice(text.indexOf('\r\n', lengthAt) + 2, end);
          turn.add(connection.stream, head, bytes, end + 4, length);
          idle.push(connection);
          return true;
        },
      };
      connection.socket = connect({ host, port: appPort, noDelay: true, onread });
      return connection;
    };
    const send = () => {
      const requests = due;
      due = [];
      for (const { stream, text } of requests) {
        const connection = idle.pop() ?? open();
        connection.stream = stream;
        connection.socket.write(text, 'latin1');
      }
    };
    const frames = new FrameReader((stream, bytes, start, end) => {
      if (due.length === 0) setImmediate(send);
      due.push({ stream, text: bytes.latin1Slice(start, end) });
    });
    link.on('data', (bytes) => frames.read(bytes, bytes.length));
  });
  server.listen(linkPort, host, () => sayReady(true));
}

/** The frames of one turn of the loop. */
class Turn {
  #socket;
  #bytes = Buffer.allocUnsafe(turnBytesMax);
  #used = 0;

  constructor(socket) {
    this.#socket = socket;
  }

  /** A request's text; or an answer's with its length before it, and the body behind it in `body`. */
  add(stream, text, body, bodyAt, bodyEnd) {
    const bytes = this.#bytes;
    const at = this.#used + headerBytes;
    if (this.#used === 0) setImmediate(() => this.#flush());
    let end = at;
    if (body === null) {
      end += bytes.latin1Write(text, at);
    } else {
      bytes.writeUInt16BE(text.length, at);
      end += 2 + bytes.latin1Write(text, at + 2);
      end += body.copy(bytes, end, bodyAt, bodyEnd);
    }
    bytes.writeUInt32BE(end - at, this.#used);
    bytes.writeUInt32BE(stream, this.#used + 4);
    this.#used = end;
  }

  #flush() {
    this.#socket.write(Buffer.from(this.#bytes.subarray(0, this.#used)));
    this.#used = 0;
  }
}

class FrameReader {
  #onFrame;
  #rest = null;

  constructor(onFrame) {
    this.#onFrame = onFrame;
  }

  read(read, length) {
    const bytes = this.#rest === null ? read : Buffer.concat([this.#rest, read.subarray(0, length)]);
    const end = this.#rest === null ? length : bytes.length;
    let at = 0;
    while (end - at >= headerBytes) {
      const start = at + headerBytes;
      const payload = bytes.readUInt32BE(at);
      if (end - start < payload) break;
      this.#onFrame(bytes.readUInt32BE(at + 4), bytes, start, start + payload);
      at = start + payload;
    }
    this.#rest = at < end ? Buffer.from(bytes.subarray(at, end)) : null;
    return true;
  }
}

function sayReady(isBound) {
  if (!isBound) throw new Error(`port ${from} cannot be bound`);
  console.log('{"ready":"smallest"}');
}

if (role === 'caller') caller(from, to);
else callee(from, to);
