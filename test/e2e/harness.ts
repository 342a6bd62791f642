/** Real processes for end-to-end tests: starts the built executable, waits for its ready line, and ends what it started. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import {
  Agent,
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type RequestListener,
  type Server,
} from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const executable = fileURLToPath(new URL('../../dist/bin/weft.js', import.meta.url));
const readyTimeoutMs = 15_000;

/** `WEFT_E2E_LOOPS=2` runs every sidecar that says nothing of it with so many event loops: a suite for one is a suite for several. */
const loops = process.env.WEFT_E2E_LOOPS;
const withLoops = (args: readonly string[]): readonly string[] => {
  const [command = '', ...rest] = args;
  const isSidecar = command === 'sidecar' || command === 'run';
  return loops === undefined || !isSidecar || rest.includes('--loops') ? args : [command, '--loops', loops, ...rest];
};

export interface ReadyLine {
  readonly ready: string;
  readonly api: string;
  readonly push: string;
  readonly outbound: string;
  readonly inbound: string;
  readonly link: string;
  /** With several event loops. */
  readonly links: readonly string[];
  readonly admin: string;
}

/** Started, and perhaps never ready. */
export interface Starting {
  readonly process: ChildProcess;
  /** Rejects after `timeoutMs`, or when the process ends before; nobody need wait for it. */
  readonly whenReady: Promise<ReadyLine>;
  readonly logs: () => string;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  kill(signal: NodeJS.Signals): Promise<void>;
}

export interface Running extends Starting {
  readonly ready: ReadyLine;
  /** From spawn to the ready line. */
  readonly readyMs: number;
}

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Everything of one test: a directory, processes and servers, all gone after `close`. */
export class Bench {
  readonly directory = mkdtempSync(join(tmpdir(), 'weft-e2e-'));
  private readonly closers: (() => Promise<void> | void)[] = [];

  file(name: string, text: string): string {
    const path = join(this.directory, name);
    writeFileSync(path, text);
    return path;
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** Starts `weft ARGS` and waits for its ready line, on standard output or (for `weft run`) standard error. */
  async weft(
    args: readonly string[],
    environment: NodeJS.ProcessEnv = {},
    timeoutMs = readyTimeoutMs,
  ): Promise<Running> {
    const startedAtMs = performance.now();
    const starting = this.begin(args, environment, timeoutMs);
    const ready = await starting.whenReady;
    return { ...starting, ready, readyMs: performance.now() - startedAtMs };
  }

  /** Starts `weft ARGS` and waits for nothing. */
  begin(args: readonly string[], environment: NodeJS.ProcessEnv = {}, timeoutMs = readyTimeoutMs): Starting {
    const child = spawn(process.execPath, [executable, ...withLoops(args)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    let logs = '';
    const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) =>
      child.once('exit', (code, signal) => resolve({ code, signal })),
    );
    const kill = async (signal: NodeJS.Signals) => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      await exited;
    };
    // From the start on: one that never gets ready must not be left behind either.
    this.closers.push(() => kill('SIGKILL'));
    const whenReady = new Promise<ReadyLine>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ready line within ${timeoutMs} ms: ${logs}`)), timeoutMs);
      const pending = { out: '', err: '' };
      const look = (stream: 'out' | 'err') => (chunk: Buffer) => {
        if (stream === 'err') logs = (logs + chunk.toString()).slice(-200_000);
        const lines = (pending[stream] + chunk.toString()).split('\n');
        pending[stream] = lines.pop()!;
        for (const line of lines) {
          if (!line.startsWith('{"ready":')) continue;
          clearTimeout(timer);
          resolve(JSON.parse(line) as ReadyLine);
        }
      };
      child.stdout.on('data', look('out'));
      child.stderr.on('data', look('err'));
      void exited.then(({ code, signal }) => {
        clearTimeout(timer);
        reject(new Error(`weft ${args[0]} ended with ${code ?? signal} before it was ready: ${logs}`));
      });
    });
    whenReady.catch(() => {});
    return { process: child, whenReady, logs: () => logs, exited, kill };
  }

  /** Runs a command to its end. */
  run(args: readonly string[], input = '', environment: NodeJS.ProcessEnv = {}): Promise<CommandResult> {
    return new Promise((resolve) => {
      const child = spawn(process.execPath, [executable, ...withLoops(args)], {
        env: { ...process.env, ...environment },
      });
      let stdout = '';
      let stderr = '';
      child.stdout.on('data', (chunk) => {
        stdout += chunk;
      });
      child.stderr.on('data', (chunk) => {
        stderr += chunk;
      });
      child.stdin.on('error', () => {});
      child.stdin.end(input);
      // Not `exit`: output may still be on its way then.
      child.once('close', (code) => resolve({ code, stdout, stderr }));
    });
  }

  /** An app: Node's own server, so that what arrives there is judged by another parser than ours. */
  async app(handler: RequestListener): Promise<{ address: string; port: number; server: Server }> {
    const server = createServer(handler);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.closeAtEnd(server);
    const { port } = server.address() as AddressInfo;
    return { address: `127.0.0.1:${port}`, port, server };
  }

  /** The same at a unix socket. */
  async appAt(path: string, handler: RequestListener): Promise<{ address: string; server: Server }> {
    const server = createServer(handler);
    await new Promise<void>((resolve) => server.listen(path, resolve));
    this.closeAtEnd(server);
    return { address: `unix:${path}`, server };
  }

  private closeAtEnd(server: Server): void {
    this.closers.push(() => {
      server.closeAllConnections();
      server.close();
    });
  }

  /** An app that speaks bytes. */
  async tcp(handler: (socket: Socket) => void): Promise<{ address: string; port: number; server: TcpServer }> {
    const sockets = new Set<Socket>();
    const server = createTcpServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => sockets.delete(socket));
      handler(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.closers.push(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    return { address: `127.0.0.1:${port}`, port, server };
  }

  /** Ends at `close` what a test has started by itself. */
  onClose(close: () => Promise<void> | void): void {
    this.closers.push(close);
  }

  async close(): Promise<void> {
    for (const close of this.closers.reverse()) await close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** One request through `address` (HOST:PORT, or unix:/PATH) with this Host; a broken answer rejects. */
export function call(
  address: string,
  host: string,
  path = '/',
  options: {
    method?: string;
    headers?: Record<string, string>;
    body?: string | Buffer;
    agent?: Agent;
    timeoutMs?: number;
  } = {},
): Promise<Reply> {
  const [hostname, port] = address.split(':');
  const place = hostname === 'unix' ? { socketPath: port } : { hostname, port };
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      {
        ...place,
        path,
        method: options.method ?? 'GET',
        headers: { host, ...options.headers },
        ...(options.agent === undefined ? {} : { agent: options.agent }),
        timeout: options.timeoutMs ?? 10_000,
      },
      (incoming) => {
        let body = '';
        incoming.setEncoding('latin1');
        incoming.on('data', (chunk) => {
          body += chunk;
        });
        incoming.once('end', () => resolve({ status: incoming.statusCode!, headers: incoming.headers, body }));
        incoming.on('error', reject);
      },
    );
    outgoing.once('timeout', () => outgoing.destroy(new Error('the test gave up waiting')));
    // A server that answers early may make the rest of the request fail more than once; behind a whole answer it says nothing.
    outgoing.on('error', reject);
    outgoing.end(options.body);
  });
}

export interface LoadResult {
  readonly sent: number;
  readonly failed: string[];
  readonly byBody: Map<string, number>;
}

/** Closed-loop load over `connections` kept connections until `stop` is called or `count` requests were made. */
export function load(
  address: string,
  host: string,
  connections: number,
  count = Number.POSITIVE_INFINITY,
  path = '/',
): { stop(): Promise<LoadResult>; done: Promise<LoadResult>; readonly sent: number } {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const failed: string[] = [];
  const byBody = new Map<string, number>();
  let sent = 0;
  let isStopped = false;
  const worker = async () => {
    while (!isStopped && sent < count) {
      sent++;
      try {
        const reply = await call(address, host, path, { agent });
        if (reply.status !== 200)
          failed.push(`${reply.status} ${reply.headers['weft-failure'] ?? ''} ${reply.body.slice(0, 200)}`);
        byBody.set(reply.body, (byBody.get(reply.body) ?? 0) + 1);
      } catch (error) {
        failed.push(String(error));
      }
    }
  };
  const done = Promise.all(Array.from({ length: connections }, worker)).then(() => {
    agent.destroy();
    return { sent, failed, byBody };
  });
  return {
    done,
    stop: () => {
      isStopped = true;
      return done;
    },
    get sent() {
      return sent;
    },
  };
}

/** Waits until `check` is true, looking every 20 ms: for what has no event to wait for. Rejects after `timeoutMs`. */
export async function until(what: string, check: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!(await check())) {
    if (performance.now() > deadlineMs) throw new Error(`still not so after ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Resident memory of a process, MiB (Linux). */
export function residentMiB(pid: number): number {
  const line = readFileSync(`/proc/${pid}/status`, 'latin1').match(/VmRSS:\s+(\d+) kB/);
  return Number(line?.[1] ?? 0) / 1024;
}
