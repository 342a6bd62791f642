/** A control plane that says exactly what a test wants: the bootstrap answer and a push port, on loopback. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import type { ConfigObject } from '../../../src/model/snapshot.ts';
import { encodeChangeSet, encodeControlFrame } from '../../../src/wire/control-frame.ts';
import { encodeChange } from '../../../src/wire/resource-codec.ts';
import { decodeSidecarFrame, type Hello, type SidecarFrame } from '../../../src/wire/sidecar-frame.ts';

export interface PushedChange {
  readonly revision?: number;
  readonly objects?: Readonly<Record<string, ConfigObject | null>>;
  readonly hosts?: Readonly<Record<string, string>>;
  readonly base?: number;
  readonly foundedService?: true;
  readonly similarService?: string;
}

/** One connection of a sidecar, with what it said. */
export class FakeSession {
  readonly frames: SidecarFrame[] = [];
  readonly socket: WebSocket;
  isClosed = false;
  sequence = 0;
  acknowledged = 0;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (bytes: Buffer) => {
      const frame = decodeSidecarFrame(bytes);
      this.frames.push(frame);
      if (frame.tag === 'ack') this.acknowledged = frame.sequence;
    });
    socket.on('close', () => {
      this.isClosed = true;
    });
  }

  get hello(): Hello | undefined {
    return this.frames.find((frame) => frame.tag === 'hello');
  }

  of<T extends SidecarFrame['tag']>(tag: T): Extract<SidecarFrame, { tag: T }>[] {
    return this.frames.filter((frame): frame is Extract<SidecarFrame, { tag: T }> => frame.tag === tag);
  }

  push({ revision = 1, objects = {}, hosts = {}, base = this.acknowledged, ...said }: PushedChange = {}): void {
    const changes = Object.entries(objects).map(([key, object]) =>
      encodeChange({ key, version: object === null ? '' : `${revision}.x`, object }),
    );
    const changeSet = encodeChangeSet({ revision, changes, hosts: new Map(Object.entries(hosts)) });
    this.socket.send(encodeControlFrame({ tag: 'push', sequence: ++this.sequence, base, changeSet, ...said }));
  }

  refuse(code: string): void {
    this.socket.send(encodeControlFrame({ tag: 'refusal', code, message: 'no' }));
    this.socket.close(1008, code);
  }
}

export class FakeControlPlane {
  readonly sessions: FakeSession[] = [];
  bootstraps = 0;
  /** What the API answers; null: it never does. */
  answer: { status: number; body: string } | null = { status: 200, body: '' };
  readonly #http: Server;
  readonly #push: WebSocketServer;

  private constructor(http: Server, push: WebSocketServer) {
    this.#http = http;
    this.#push = push;
    push.on('connection', (socket) => this.sessions.push(new FakeSession(socket)));
    http.on('request', (_request, response) => {
      this.bootstraps++;
      if (this.answer === null) return;
      response.writeHead(this.answer.status).end(this.answer.body);
    });
    const { port } = push.address() as AddressInfo;
    this.answer = { status: 200, body: JSON.stringify({ push: `127.0.0.1:${port}`, trustDomain: 'x' }) };
  }

  /** `autoPong` false: it looks alive to the network, but says nothing. */
  static async start({ autoPong = true } = {}): Promise<FakeControlPlane> {
    const http = createServer();
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
    const push = new WebSocketServer({ host: '127.0.0.1', port: 0, path: '/v1/push', autoPong });
    await new Promise((resolve) => push.once('listening', resolve));
    return new FakeControlPlane(http, push);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  get last(): FakeSession {
    const last = this.sessions.at(-1);
    if (last === undefined) throw new Error('nobody connected');
    return last;
  }

  async stop(): Promise<void> {
    for (const client of this.#push.clients) client.terminate();
    this.#push.close();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }
}

/** Waits for something that happens by itself; fails after 5 s. `step` runs in between, to let a test's clock go on. */
export async function until(isSo: () => boolean, step: () => void = () => {}): Promise<void> {
  const deadlineMs = performance.now() + 5_000;
  while (!isSo()) {
    if (performance.now() > deadlineMs) throw new Error(`it did not become so: ${isSo}`);
    step();
    await new Promise((resolve) => setImmediate(resolve));
  }
}
