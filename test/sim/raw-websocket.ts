/**
 * A WebSocket client (RFC 6455) that costs next to nothing: no extensions, no copies of whole frames, one read buffer for all connections.
 * Its masks are zero, so that a frame that ten thousand sidecars send is made once.
 */
import { createHash } from 'node:crypto';
import { connect, type Socket } from 'node:net';

export interface RawWebSocketEvents {
  readonly onOpen: () => void;
  /** A whole binary message; the bytes are gone after the return. */
  readonly onMessage: (bytes: Uint8Array) => void;
  /** Anything was heard of the other side. */
  readonly onHeard: () => void;
  /** Once, whoever ended it. */
  readonly onClosed: (reason: string) => void;
}

export interface Peer {
  readonly host: string;
  readonly port: number;
  /** Of this machine: each has ephemeral ports of its own. */
  readonly localAddress: string;
}

const opcode = { binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa } as const;
const finBit = 0x80;
const maskBit = 0x80;
const headBytesMax = 8 * 1024;
const messageBytesMax = 64 * 1024 * 1024;
/** RFC 6455, 1.3. The nonce proves nothing here, so it is the same for all. */
const nonce = Buffer.alloc(16, 7).toString('base64');
const accept = createHash('sha1').update(`${nonce}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');

/** What node:net reads into: what is in it is handled before the next read. */
const readBuffer = Buffer.allocUnsafeSlow(256 * 1024);

/** A client's frame as it goes over the wire. */
export function binaryFrame(payload: Uint8Array): Buffer {
  return frameOf(opcode.binary, payload);
}

export const pingFrame = frameOf(opcode.ping, new Uint8Array(0));

function frameOf(kind: number, payload: Uint8Array): Buffer {
  const { length } = payload;
  const lengthBytes = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const head = Buffer.alloc(2 + lengthBytes + 4);
  head[0] = finBit | kind;
  head[1] = maskBit | (lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) head.writeUInt16BE(length, 2);
  if (lengthBytes === 8) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

export class RawWebSocket {
  readonly #socket: Socket;
  readonly #events: RawWebSocketEvents;
  /** What has come of a head or a frame that is not whole; null: nothing. */
  #rest: Buffer | null = null;
  #isOpen = false;
  #closeReason = 'it closed the connection';

  constructor({ host, port, localAddress }: Peer, path: string, events: RawWebSocketEvents) {
    this.#events = events;
    this.#socket = connect({
      ...{ host, port, localAddress, noDelay: true },
      onread: { buffer: readBuffer, callback: (bytes, buffer) => this.#read((buffer as Buffer).subarray(0, bytes)) },
    });
    this.#socket.once('connect', () =>
      this.#socket.write(
        `GET ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
          `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${nonce}\r\n\r\n`,
      ),
    );
    this.#socket.on('error', (error) => {
      this.#closeReason = error.message;
    });
    this.#socket.once('close', () => events.onClosed(this.#closeReason));
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** A whole frame, see `binaryFrame`. Nothing happens before the connection is open, and after its end. */
  send(frame: Buffer): void {
    if (this.#isOpen) this.#socket.write(frame);
  }

  end(reason: string): void {
    this.#closeReason = reason;
    this.#isOpen = false;
    this.#socket.destroy();
  }

  /** Says whether to go on reading. */
  #read(chunk: Buffer): boolean {
    let bytes = chunk;
    if (this.#rest !== null) {
      bytes = Buffer.concat([this.#rest, chunk]);
      this.#rest = null;
    }
    const used = this.#isOpen ? this.#takeFrames(bytes, 0) : this.#takeHead(bytes);
    // A copy: the next connection reads into the same buffer.
    if (used < bytes.length && !this.#socket.destroyed) this.#rest = Buffer.from(bytes.subarray(used));
    return true;
  }

  #takeHead(bytes: Buffer): number {
    const end = bytes.indexOf('\r\n\r\n');
    if (end < 0) {
      if (bytes.length > headBytesMax) this.end('its answer to the upgrade has no end');
      return 0;
    }
    const [status = '', ...fields] = bytes.toString('latin1', 0, end).split('\r\n');
    const isAccepted = fields.some((line) => line.toLowerCase() === `sec-websocket-accept: ${accept.toLowerCase()}`);
    if (!/^HTTP\/1\.1 101 /.test(status) || !isAccepted) {
      this.end(`it answers the upgrade with ${status}`);
      return bytes.length;
    }
    this.#isOpen = true;
    this.#events.onHeard();
    this.#events.onOpen();
    return this.#takeFrames(bytes, end + 4);
  }

  /** Handles all whole frames from `at` on, and answers where the rest begins. */
  #takeFrames(bytes: Buffer, from: number): number {
    let at = from;
    while (this.#isOpen && bytes.length - at >= 2) {
      const first = bytes[at]!;
      const short = bytes[at + 1]!;
      let payloadAt = at + 2;
      let length = short & 0x7f;
      if (length === 126) {
        if (bytes.length < at + 4) break;
        length = bytes.readUInt16BE(at + 2);
        payloadAt = at + 4;
      } else if (length === 127) {
        if (bytes.length < at + 10) break;
        length = Number(bytes.readBigUInt64BE(at + 2));
        payloadAt = at + 10;
      }
      if ((first & finBit) === 0 || (short & maskBit) !== 0 || length > messageBytesMax) {
        this.end('it sent a frame that is fragmented, masked or too long');
        break;
      }
      const end = payloadAt + length;
      if (bytes.length < end) break;
      this.#take(first & 0x0f, bytes.subarray(payloadAt, end));
      at = end;
    }
    return at;
  }

  #take(kind: number, payload: Buffer): void {
    this.#events.onHeard();
    if (kind === opcode.binary) this.#events.onMessage(payload);
    else if (kind === opcode.ping) this.send(frameOf(opcode.pong, payload));
    else if (kind === opcode.close) {
      const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
      this.end(`it closed the connection (${code} ${payload.toString('utf8', 2)})`);
    } else if (kind !== opcode.pong) this.end(`it sent a frame of kind ${kind}`);
  }
}
