/** An origin that answers when it is told to, and a pool that may send it several requests at a time, for the tests of pipelining. */
import type net from 'node:net';
import { CoarseTimer } from '../../../src/proxy/coarse-timer.ts';
import { PipelinedPool, type PipelinedPoolOptions } from '../../../src/proxy/upstream/http1-pipelined-pool.ts';
import type { UpstreamRequest, UpstreamStream } from '../../../src/proxy/upstream/upstream.ts';
import { get, type Origin, okEmpty, Recording, startOrigin, until } from './recording.ts';

/** One connection as the origin sees it. */
export interface Line {
  readonly socket: net.Socket;
  /** Method and target of each request, as they came; what came as a body stands before the next one. */
  readonly requests: string[];
  /** How many requests each read brought. */
  readonly reads: number[];
}

export class PipelinedOrigin {
  private constructor(
    private readonly origin: Origin,
    /** In the order in which they were accepted. */
    readonly lines: readonly Line[],
  ) {}

  /** `answer`, if given, is written for each request at once. */
  static async start(answer?: (request: string) => string): Promise<PipelinedOrigin> {
    const lines: Line[] = [];
    const origin = await startOrigin((socket) => {
      const line: Line = { socket, requests: [], reads: [] };
      lines.push(line);
      let text = '';
      socket.on('end', () => socket.end());
      socket.on('data', (bytes) => {
        text += bytes.toString('latin1');
        const before = line.requests.length;
        for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
          const request = text.slice(0, text.indexOf(' HTTP'));
          text = text.slice(end + 4);
          line.requests.push(request);
          if (answer !== undefined) socket.write(answer(request));
        }
        line.reads.push(line.requests.length - before);
      });
    });
    return new PipelinedOrigin(origin, lines);
  }

  get port(): number {
    return this.origin.port;
  }

  /** All requests, by connection. */
  get requests(): string[][] {
    return this.lines.map(({ requests }) => [...requests]);
  }

  close(): void {
    this.origin.close();
  }
}

export const poolTo = (port: number, options: Partial<PipelinedPoolOptions> = {}): PipelinedPool =>
  new PipelinedPool({
    host: '127.0.0.1',
    port,
    timer: new CoarseTimer(() => performance.now(), 250),
    depth: 8,
    // One connection is enough then for requests to share it.
    connectionsMax: 1,
    ...options,
  });

export interface Sent {
  readonly recording: Recording;
  readonly stream: UpstreamStream;
}

export function send(pool: PipelinedPool, target: string, request: Partial<UpstreamRequest> = {}): Sent {
  const recording = new Recording();
  const stream = pool.open({ ...get, target, ...request }, recording);
  if ((request.bodyBytes ?? 0) === 0) stream.end();
  return { recording, stream };
}

export const sendAll = (pool: PipelinedPool, targets: readonly string[]): Sent[] =>
  targets.map((target) => send(pool, target));

/** One request alone, answered here: its connection may be shared from then on. */
export async function prove(pool: PipelinedPool, origin: PipelinedOrigin): Promise<Line> {
  const { recording } = send(pool, '/first');
  await until(() => origin.lines.some(({ requests }) => requests.includes('GET /first')));
  const line = origin.lines.find(({ requests }) => requests.includes('GET /first'))!;
  line.socket.write(okEmpty);
  await recording.ended;
  line.requests.length = 0;
  line.reads.length = 0;
  return line;
}

export const sized = (body: string): string => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
