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
import type { Admission } from './push-admission.ts';
import {
  idleTimeoutSeconds,
  judgeUpgrade,
  logUpgradeRefusal,
  type PushListener,
  type PushListenerOptions,
  PushSocket,
  type PushWire,
  pushPath,
  pushTickMs,
  upgradeRefusal,
} from './push-socket.ts';

/** The package's types leave these out. */
interface ListeningApp {
  listen(host: string, port: number, options: number, done: (socket: us_listen_socket | false) => void): unknown;
}
interface WholeCore {
  _cfg(setting: string): void;
  readonly LIBUS_LISTEN_EXCLUSIVE_PORT: number;
}
const core = uWS as unknown as WholeCore;

/** Another process can take a port between finding it free and binding it. */
const freePortTriesMax = 5;

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
  app.ws(pushPath, behaviour(options, sockets));
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
  let cancelTick = clock.after(pushTickMs, tick);
  function tick(): void {
    for (const socket of sockets) socket.check();
    cancelTick = clock.after(pushTickMs, tick);
  }
  return {
    address: formatAddress(host, port),
    get connections() {
      return sockets.size;
    },
    close: () => {
      cancelTick();
      for (const socket of [...sockets]) socket.goAway();
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
    const socket = new PushSocket(wireOf(ws), options, ws.getUserData().identity);
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
    const refusal = upgradeRefusal(request.getHeader('origin'), sockets.size + pending);
    if (refusal !== null) {
      options.onRefused('upgrade');
      response.writeStatus(refusal).end();
      return;
    }
    // Of the request nothing may be touched after this call.
    const key = request.getHeader('sec-websocket-key');
    const protocol = request.getHeader('sec-websocket-protocol');
    const extensions = request.getHeader('sec-websocket-extensions');
    pending++;
    void judgeUpgrade(options, request.getHeader('authorization')).then((admission) => {
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
  admission: Extract<Admission, { tag: 'refused' }>,
  options: PushListenerOptions,
): void {
  logUpgradeRefusal(options, Buffer.from(response.getRemoteAddressAsText()).toString('latin1'), admission);
  response.writeStatus('401 Unauthorized').writeHeader('www-authenticate', 'Bearer').end(`${admission.reason}\n`);
}

/** What uWS answers to a frame: 1 when it has left, 0 when some of it waits, 2 when it was dropped. */
const sendOutcomes = ['waits', 'sent', 'no-room'] as const;

const wireOf = (ws: WebSocket<SocketData>): PushWire => ({
  send: (frame) => sendOutcomes[ws.send(frame, true) as 0 | 1 | 2],
  get bufferedBytes() {
    return ws.getBufferedAmount();
  },
  end: (code, reason) => void ws.end(code, reason),
  cut: () => void ws.close(),
});
