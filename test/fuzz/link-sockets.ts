/** Sockets without a kernel: what is written goes to the test, which says what arrives and when it was taken. */
import { EventEmitter } from 'node:events';
import net from 'node:net';

type Written = ((error?: Error | null) => void) | undefined;

/** As much of net.Socket as the link uses. */
export class FakeSocket extends EventEmitter {
  writableLength = 0;
  isDestroyed = false;
  isEnded = false;
  readonly remoteAddress = '127.0.0.1';
  readonly remotePort = 1;
  private taken: { bytes: Uint8Array; done: Written }[] = [];

  constructor(private readonly onread: net.OnReadOpts | null = null) {
    super();
  }

  write(bytes: Uint8Array, done?: Written): boolean {
    if (this.isDestroyed || this.isEnded) return false;
    this.writableLength += bytes.length;
    this.taken.push({ bytes, done });
    return true;
  }

  /** The kernel takes what was written. Answers it, copied: the writer uses its blocks again. */
  take(): Buffer {
    const all = this.taken;
    this.taken = [];
    this.writableLength = 0;
    const bytes = Buffer.concat(all.map((one) => one.bytes));
    for (const { done } of all) done?.();
    return bytes;
  }

  /** Bytes come in. */
  arrive(bytes: Buffer): void {
    if (this.isDestroyed) return;
    if (this.onread === null) {
      this.emit('data', bytes);
      return;
    }
    const buffer = this.onread.buffer as Buffer;
    for (let at = 0; at < bytes.length && !this.isDestroyed; at += buffer.length) {
      const length = bytes.copy(buffer, 0, at, at + buffer.length);
      this.onread.callback(length, buffer);
    }
  }

  destroy(): this {
    if (this.isDestroyed) return this;
    this.isDestroyed = true;
    queueMicrotask(() => this.emit('close'));
    return this;
  }

  end(): this {
    this.isEnded = true;
    return this;
  }

  cork(): void {}
  uncork(): void {}
  resume(): this {
    return this;
  }

  get asSocket(): net.Socket {
    return this as unknown as net.Socket;
  }
}

/** While `run` runs, every connection that is dialled is a fake one, open in the next microtask. */
export function dialFake<Result>(run: () => Result, onDialled: (socket: FakeSocket) => void): Result {
  const { connect } = net;
  const dialFakeSocket = (options: { onread: net.OnReadOpts }, onOpen: () => void) => {
    const socket = new FakeSocket(options.onread);
    onDialled(socket);
    queueMicrotask(onOpen);
    return socket.asSocket;
  };
  net.connect = dialFakeSocket as unknown as typeof net.connect;
  try {
    return run();
  } finally {
    net.connect = connect;
  }
}
