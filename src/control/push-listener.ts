/** The push port: WebSockets of sidecars on uWebSockets.js, each with a session behind it. */
import uWS, {
  type HttpRequest,
  type HttpResponse,
  type us_listen_socket,
  type us_socket_context_t,
  type WebSocket,
  type WebSocketBehavior,
} from 'uWebSockets.js';
import type { ServiceIdentity } from '../model/identity.ts';
import { limits } from '../model/limits.ts';
import { findFreePort, probePort } from '../proxy/listener/free-port.ts';
import { formatAddress, ListenError } from '../proxy/listener/listen-error.ts';
import type { LimitedLog } from '../telemetry/limited-log.ts';
import { encodeControlFrame } from '../wire/control-frame.ts';
import type { PushConnection } from './fleet-member.ts';
import type { Admission } from './push-admission.ts';
import type { StoreClock } from './store/store.ts';

/** Who takes what a connection brings. */
export interface SessionHandler {
  readonly hasJoined: boolean;
  receive(bytes: Uint8Array): void;
  closed(): void;
}

export interface PushListenerOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly clock: StoreClock;
  readonly log: LimitedLog;
  /** Judges an upgrade by its `Authorization`, empty when it has none. */
  readonly admit: (authorization: string) => Promise<Admission>;
  /** `identity` is who the peer has proved to be; null: it need not. */
  readonly open: (connection: PushConnection, identity: ServiceIdentity | null) => SessionHandler;
}

export interface PushListener {
  /** `HOST:PORT` as bound. */
  readonly address: string;
  /** Closes the port and all connections. */
  close(): void;
}

/** The package's types leave these out. */
interface ListeningApp {
  listen(host: string, port: number, options: number, done: (socket: us_listen_socket | false) => void): unknown;
}
interface WholeCore {
  _cfg(setting: string): void;
  readonly LIBUS_LISTEN_EXCLUSIVE_PORT: number;
}
const core = uWS as unknown as WholeCore;

const path = '/v1/push';
/** A connection that is silent for this long is dead: sidecars renew their leases every `limits.leaseRenewMs`, and answer pings. */
const idleTimeoutSeconds = 16;
const tickMs = 1_000;
/** Another process can take a port between finding it free and binding it. */
const freePortTriesMax = 5;
/** More than there can be sidecars: a flood of connections that never greet must not keep them out at once. */
const connectionsMax = limits.sidecarsMax + 1_000;
/** Close codes of RFC 6455, 7.4.1. */
const closeCode = { normal: 1000, goingAway: 1001, policyViolation: 1008 } as const;

/**
 * Opens the port. uWS parses what comes, so it must face nobody but sidecars: loopback addresses only.
 * Rejects with ListenError: port-taken, address-not-here, port-not-permitted, listen-failed.
 */
export async function openPushListener(options: PushListenerOptions): Promise<PushListener> {
  core._cfg('silent');
  const { host, port } = options;
  if (port !== 0) {
    const listener = listen(options, port);
    if (listener !== null) return listener;
    // uWS does not say why; node:net does. What it can bind after all was in use a moment ago.
    await probePort(host, port);
    throw new ListenError('port-taken', formatAddress(host, port));
  }
  for (let tries = 1; ; tries++) {
    const free = await findFreePort(host);
    const listener = listen(options, free);
    if (listener !== null) return listener;
    if (tries === freePortTriesMax) throw new ListenError('port-taken', formatAddress(host, free));
  }
}

/** Null: the port cannot be bound. */
function listen(options: PushListenerOptions, port: number): PushListener | null {
  const { host, clock } = options;
  const app = uWS.App();
  const sockets = new Set<PushSocket>();
  app.ws(path, behaviour(options, sockets));
  app.any('/*', (response) => {
    response.onAborted(() => {});
    response
      .writeStatus('404 Not Found')
      .end('This is the push port of a Weft control plane; sidecars connect here.\n');
  });
  let isBound = false;
  (app as unknown as ListeningApp).listen(host, port, core.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
    isBound = token !== false;
  });
  if (!isBound) {
    app.close();
    return null;
  }
  // One timer for all connections: ten thousand of them need none of their own.
  let cancelTick = clock.after(tickMs, tick);
  function tick(): void {
    for (const socket of sockets) socket.check();
    cancelTick = clock.after(tickMs, tick);
  }
  return {
    address: formatAddress(host, port),
    close: () => {
      cancelTick();
      for (const socket of [...sockets]) socket.end(closeCode.goingAway, 'the control plane stops');
      app.close();
    },
  };
}

interface SocketData {
  readonly identity: ServiceIdentity | null;
  socket: PushSocket | null;
}

function behaviour(options: PushListenerOptions, sockets: Set<PushSocket>): WebSocketBehavior<SocketData> {
  const open = (ws: WebSocket<SocketData>) => {
    const socket = new PushSocket(ws, options);
    ws.getUserData().socket = socket;
    sockets.add(socket);
  };
  /** Upgrades whose tokens are being judged: they count as connections. */
  let pending = 0;
  const upgrade = (response: HttpResponse, request: HttpRequest, context: us_socket_context_t) => {
    let isOpen = true;
    response.onAborted(() => {
      isOpen = false;
    });
    const refusal = upgradeRefusal(request, sockets.size + pending);
    if (refusal !== null) {
      response.writeStatus(refusal).end();
      return;
    }
    // Of the request nothing may be touched after this call.
    const key = request.getHeader('sec-websocket-key');
    const protocol = request.getHeader('sec-websocket-protocol');
    const extensions = request.getHeader('sec-websocket-extensions');
    pending++;
    options
      .admit(request.getHeader('authorization'))
      .catch((error: unknown): Admission => {
        options.log.warn({ err: error }, 'a token of a sidecar could not be judged');
        return { tag: 'refused', reason: 'the control plane failed; its log has more', claimed: null };
      })
      .then((admission) => {
        pending--;
        if (!isOpen) return;
        response.cork(() => {
          if (admission.tag === 'admitted')
            response.upgrade<SocketData>(
              { identity: admission.identity, socket: null },
              key,
              protocol,
              extensions,
              context,
            );
          else refuseUpgrade(response, admission, options);
        });
      });
  };
  return {
    maxPayloadLength: limits.pushClientFrameBytesMax,
    idleTimeout: idleTimeoutSeconds,
    sendPingsAutomatically: true,
    // A sidecar is sent one ChangeSet at a time, of any size; what is sent while one is stuck would be dropped, and is not tried.
    maxBackpressure: limits.pushFrameBytesMax,
    upgrade,
    open,
    message: (ws, message) => ws.getUserData().socket?.receive(Buffer.from(message)),
    drain: (ws) => ws.getUserData().socket?.drained(),
    close: (ws) => {
      const { socket } = ws.getUserData();
      if (socket === null) return;
      sockets.delete(socket);
      socket.closed();
    },
  };
}

function refuseUpgrade(
  response: HttpResponse,
  { reason, claimed }: Extract<Admission, { tag: 'refused' }>,
  { log }: PushListenerOptions,
): void {
  const peer = Buffer.from(response.getRemoteAddressAsText()).toString('latin1');
  const who = claimed === null ? {} : { claimedService: claimed.service, claimedNamespace: claimed.namespace };
  log.warn({ ...who, peer, reason }, 'a connection of a sidecar was refused');
  response.writeStatus('401 Unauthorized').writeHeader('www-authenticate', 'Bearer').end(`${reason}\n`);
}

function upgradeRefusal(request: HttpRequest, connections: number): string | null {
  // Only browsers send Origin: a web page must not register endpoints through the browser of whoever runs a control plane.
  if (request.getHeader('origin') !== '') return '403 Forbidden';
  return connections >= connectionsMax ? '503 Service Unavailable' : null;
}

class PushSocket implements PushConnection {
  readonly #ws: WebSocket<SocketData>;
  readonly #options: PushListenerOptions;
  readonly #session: SessionHandler;
  readonly #openedAtMs: number;
  /** When the peer stopped reading what it was sent; null while it reads. */
  #stuckSinceMs: number | null = null;
  /** Nothing of uWS may be touched once its close handler has run. */
  #isOpen = true;

  constructor(ws: WebSocket<SocketData>, options: PushListenerOptions) {
    this.#ws = ws;
    this.#options = options;
    this.#openedAtMs = options.clock.nowMs();
    this.#session = options.open(this, ws.getUserData().identity);
  }

  send(frame: Uint8Array): void {
    if (!this.#isOpen) return;
    const status = this.#ws.send(frame, true);
    if (status === 1) return;
    if (status === 0) this.#stuckSinceMs ??= this.#options.clock.nowMs();
    // Never within `send`: who sends is in the middle of something.
    else queueMicrotask(() => this.#cut('a frame found no room'));
  }

  refuse(code: string, message: string): void {
    this.send(encodeControlFrame({ tag: 'refusal', code, message }));
    this.end(closeCode.policyViolation, code);
  }

  close(): void {
    this.end(closeCode.normal, '');
  }

  end(code: number, reason: string): void {
    if (this.#isOpen) this.#ws.end(code, reason);
  }

  receive(bytes: Uint8Array): void {
    try {
      this.#session.receive(bytes);
    } catch (error) {
      // A fault of ours ends this connection and no other; uWS would end the process.
      this.#options.log.warn({ err: error }, 'a frame of a sidecar could not be handled');
      this.refuse('internal-error', 'the control plane failed; its log has more');
    }
  }

  drained(): void {
    this.#stuckSinceMs = this.#ws.getBufferedAmount() === 0 ? null : this.#options.clock.nowMs();
  }

  closed(): void {
    this.#isOpen = false;
    this.#session.closed();
  }

  /** Cuts who does not greet and who does not read. */
  check(): void {
    const nowMs = this.#options.clock.nowMs();
    if (!this.#session.hasJoined && nowMs - this.#openedAtMs > limits.greetingMs) this.#cut('it did not greet in time');
    else if (this.#stuckSinceMs !== null && nowMs - this.#stuckSinceMs > limits.slowReaderMs)
      this.#cut('it does not read what it is sent');
  }

  #cut(reason: string): void {
    if (!this.#isOpen) return;
    this.#options.log.warn({ reason }, 'a connection of a sidecar was cut');
    this.#ws.close();
  }
}
