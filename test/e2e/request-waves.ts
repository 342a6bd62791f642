/** A load whose shape is known: waves of as many requests as there are connections, the next when the last was answered. */
import { connect, type Socket } from 'node:net';

const headEnd = '\r\n\r\n';

/** An app for `Bench.tcp`: answers each head with `bodyBytes` of body, or as many as `/bytes/N` says, in one write. */
export function answerWith(bodyBytes: number): (socket: Socket) => void {
  const answer = answerOf(bodyBytes);
  return (socket) => {
    let pending = '';
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      pending += chunk.toString('latin1');
      for (let end = pending.indexOf(headEnd); end !== -1; end = pending.indexOf(headEnd)) {
        const asked = /^GET \/bytes\/(\d+) /.exec(pending);
        pending = pending.slice(end + headEnd.length);
        socket.write(asked === null ? answer : answerOf(Number(asked[1])));
      }
    });
  };
}

function answerOf(bodyBytes: number): string {
  const fields = `Content-Type: text/plain\r\nX-App: waves\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: ${bodyBytes}`;
  return `HTTP/1.1 200 OK\r\n${fields}${headEnd}${'x'.repeat(bodyBytes)}`;
}

export class Waves {
  private readonly lines: Line[] = [];

  private constructor(
    private readonly address: string,
    private readonly request: string,
  ) {}

  static async open(address: string, host: string, connections: number, target = '/items/7?page=2'): Promise<Waves> {
    const fields = 'Accept: */*\r\nUser-Agent: waves\r\nAccept-Language: en\r\nX-User: 4711';
    const waves = new Waves(address, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${fields}${headEnd}`);
    for (let i = 0; i < connections; i++) waves.lines.push(await Line.open(waves.address));
    return waves;
  }

  /** Rejects when an answer is not 200. */
  async run(count: number): Promise<void> {
    for (let wave = 0; wave < count; wave++) await Promise.all(this.lines.map((line) => line.call(this.request)));
  }

  close(): void {
    for (const line of this.lines) line.close();
  }
}

/** One connection, one request at a time. */
class Line {
  private pending = '';
  private resolve: () => void = () => {};
  private reject: (error: Error) => void = () => {};

  private constructor(private readonly socket: Socket) {
    socket.setNoDelay(true);
    socket.on('data', (chunk) => this.take(chunk.toString('latin1')));
    socket.on('error', (error) => this.reject(error));
    socket.on('close', () => this.reject(new Error('the connection was closed')));
  }

  static open(address: string): Promise<Line> {
    const [host, port] = address.split(':');
    return new Promise((resolve, reject) => {
      const socket = connect(Number(port), host);
      socket.once('error', reject);
      socket.once('connect', () => resolve(new Line(socket)));
    });
  }

  call(request: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
      this.socket.write(request);
    });
  }

  close(): void {
    this.socket.destroy();
  }

  private take(text: string): void {
    this.pending += text;
    const end = this.pending.indexOf(headEnd);
    if (end === -1) return;
    const head = this.pending.slice(0, end);
    const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
    if (this.pending.length < end + headEnd.length + Number(length ?? 0)) return;
    this.pending = '';
    if (head.startsWith('HTTP/1.1 200 ') && length !== undefined) this.resolve();
    else this.reject(new Error(head));
  }
}
