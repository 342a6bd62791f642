/** A whole control plane in this process, and a client that says exactly what a test wants. */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import WebSocket from 'ws';
import {
  type ControlPlaneOptions,
  type RunningControlPlane,
  startControlPlane,
} from '../../src/control/control-plane.ts';
import { systemClock } from '../../src/sidecar/clock.ts';
import { decodeControlFrame } from '../../src/wire/control-frame.ts';
import { encodeSidecarFrame } from '../../src/wire/sidecar-frame.ts';
import { silentLogger } from '../unit/control/memory-store.ts';

/** Of every shape: tests look into it as they expect it to be. */
type Parsed = ReturnType<typeof JSON.parse>;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Parsed;
}

export interface Sent {
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON; a string as it is. */
  readonly body?: unknown;
}

export class ApiUnderTest {
  readonly directory: string;
  readonly #options: Partial<ControlPlaneOptions>;
  plane: RunningControlPlane;

  private constructor(directory: string, options: Partial<ControlPlaneOptions>, plane: RunningControlPlane) {
    this.directory = directory;
    this.#options = options;
    this.plane = plane;
  }

  static async start(options: Partial<ControlPlaneOptions>): Promise<ApiUnderTest> {
    const directory = await mkdtemp(join(tmpdir(), 'weft-api-'));
    return new ApiUnderTest(directory, options, await open(directory, options));
  }

  async restart(): Promise<void> {
    await this.plane.close();
    this.plane = await open(this.directory, this.#options);
  }

  async stop(): Promise<void> {
    await this.plane.close();
    await rm(this.directory, { recursive: true });
  }

  url(path: string): string {
    return `http://${this.plane.api}${path}`;
  }

  async call(method: string, path: string, { headers = {}, body }: Sent = {}): Promise<Answer> {
    const response = await fetch(this.url(path), {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const isText = response.headers.get('content-type')?.startsWith('text/') === true;
    const said = isText ? text : text === '' ? null : JSON.parse(text);
    return { status: response.status, headers: response.headers, body: said };
  }

  get = (path: string, headers: Readonly<Record<string, string>> = {}) => this.call('GET', path, { headers });
  put = (path: string, body: unknown, headers: Readonly<Record<string, string>> = {}) =>
    this.call('PUT', path, { headers, body });
  delete = (path: string, headers: Readonly<Record<string, string>> = {}) => this.call('DELETE', path, { headers });
  transact = (body: unknown, query = '', headers: Readonly<Record<string, string>> = {}) =>
    this.call('POST', `/v1/transactions${query}`, { headers, body });

  /** What the port says to these bytes until it closes the connection. */
  raw(bytes: string): Promise<string> {
    const [host, port] = this.plane.api.split(':') as [string, string];
    return new Promise((resolve, reject) => {
      const socket = connect(Number(port), host, () => socket.write(bytes));
      let text = '';
      socket.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      socket.on('error', reject).on('close', () => resolve(text));
    });
  }
}

export function open(directory: string, options: Partial<ControlPlaneOptions>): Promise<RunningControlPlane> {
  return startControlPlane({
    listen: '127.0.0.1:0',
    push: '127.0.0.1:0',
    storeUrl: `embedded:${directory}`,
    caDirectory: join(directory, 'ca'),
    logger: silentLogger,
    clock: systemClock,
    ...options,
  });
}

/** A sidecar that subscribed `hosts`, and acknowledges nothing that it is not told to. */
export async function muteSidecar(api: ApiUnderTest, id: string, hosts: readonly string[]) {
  const socket = new WebSocket(`ws://${api.plane.push}/v1/push`);
  const sequences: number[] = [];
  const waiting: (() => void)[] = [];
  socket.on('message', (bytes: Buffer) => {
    const frame = decodeControlFrame(bytes);
    if (frame.tag === 'refusal') return;
    sequences.push(frame.sequence);
    for (const wake of waiting.splice(0)) wake();
  });
  socket.on('error', () => {});
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  const hello = { tag: 'hello', service: 'app', namespace: 'default', softwareVersion: '0.1.0', more: false } as const;
  socket.send(
    encodeSidecarFrame({ ...hello, sidecar: id, hosts, held: new Map(), registration: null, insecureLink: false }),
  );
  let taken = 0;
  /** The next ChangeSet's sequence. */
  const next = async (): Promise<number> => {
    while (sequences.length <= taken) await new Promise<void>((resolve) => waiting.push(resolve));
    return sequences[taken++]!;
  };
  return {
    next,
    ack: (sequence: number) => socket.send(encodeSidecarFrame({ tag: 'ack', sequence })),
    nack: (sequence: number, reason: string) => socket.send(encodeSidecarFrame({ tag: 'nack', sequence, reason })),
    end: () => socket.terminate(),
  };
}

export interface ServerEvent {
  readonly event: string;
  readonly id: string | null;
  readonly data: Parsed;
}

/** Reads server-sent events one by one. */
export class EventReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  readonly #abort: AbortController;
  #text = '';

  private constructor(response: Response, abort: AbortController) {
    this.#reader = response.body!.getReader();
    this.#abort = abort;
  }

  static async open(url: string, headers: Readonly<Record<string, string>> = {}): Promise<EventReader> {
    const abort = new AbortController();
    const response = await fetch(url, { signal: abort.signal, headers });
    if (response.headers.get('content-type') !== 'text/event-stream') throw new Error(await response.text());
    return new EventReader(response, abort);
  }

  /** Null: the stream has ended. */
  async next(): Promise<ServerEvent | null> {
    for (;;) {
      const end = this.#text.indexOf('\n\n');
      if (end !== -1) {
        const lines = this.#text.slice(0, end).split('\n');
        this.#text = this.#text.slice(end + 2);
        const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
        const event = field('event');
        if (event !== undefined) return { event, id: field('id') ?? null, data: JSON.parse(field('data') ?? 'null') };
        continue;
      }
      const { done, value } = await this.#reader.read();
      if (done) return null;
      this.#text += this.#decoder.decode(value, { stream: true });
    }
  }

  async take(count: number): Promise<(ServerEvent | null)[]> {
    const events = [];
    for (let i = 0; i < count; i++) events.push(await this.next());
    return events;
  }

  close(): void {
    this.#abort.abort();
  }
}

export const service = (name: string, spec: object = {}, metadata: object = {}) => ({
  apiVersion: 'weft.mesh/v1',
  kind: 'Service',
  metadata: { name, ...metadata },
  spec,
});

export const route = (name: string, parent: string, backend: string, more: object = {}) => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name },
  spec: {
    parentRefs: [{ kind: 'Service', group: 'weft.mesh', name: parent }],
    rules: [{ backendRefs: [{ name: backend }] }],
    ...more,
  },
});

/** Every refusal is a problem of RFC 9457 with the status of its answer. */
export function expectProblem(answer: Answer, status: number, code: string, detail: RegExp = /./): void {
  expect(answer.body).toMatchObject({ status, code, type: 'about:blank', title: expect.any(String) });
  expect(answer.body.detail).toMatch(detail);
  expect(answer.status).toBe(status);
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
}
