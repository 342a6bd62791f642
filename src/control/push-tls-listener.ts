/**
 * The push port for other machines: the same WebSockets on Node's own HTTP and TLS, whose parsers may face whoever comes, with a certificate
 * of the mesh's root. uWebSockets.js reads its certificate from files at its start and never again, and its parser must not face strangers;
 * see docs/adr/0014-push-over-tls.md.
 */
import { createServer, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { SecureContext } from 'node:tls';
import { type WebSocket, WebSocketServer } from 'ws';
import type { ServiceIdentity } from '../model/identity.ts';
import { limits } from '../model/limits.ts';
import { bindServer } from '../proxy/listener/bind-server.ts';
import { formatAddress } from '../proxy/listener/listen-error.ts';
import { type PlainPolicy, speakTlsToo } from './api/tls-port.ts';
import {
  idleTimeoutSeconds,
  judgeUpgrade,
  logUpgradeRefusal,
  type PushListener,
  type PushListenerOptions,
  PushSocket,
  type PushWire,
  pushConnectionsMax,
  pushPath,
  pushTickMs,
  upgradeRefusal,
} from './push-socket.ts';

export interface TlsPushListenerOptions extends PushListenerOptions {
  /** Of a certificate that sidecars believe. */
  readonly tlsContext: () => Promise<SecureContext>;
  /** Started with --insecure-control-plane: plain WebSockets are taken beside those over TLS. */
  readonly isInsecure: boolean;
}

/** An upgrade is one head. */
const headBytesMax = 16 * 1024;
const sweepMs = 2_000;
/** How long a peer that is told goodbye has for its own. */
const closeMs = 1_000;
/** A peer that was not heard for this long is asked; see `idleTimeoutSeconds`. */
const quietMs = (idleTimeoutSeconds * 1_000) / 2;

/** Rejects with ListenError. */
export async function openTlsPushListener(options: TlsPushListenerOptions): Promise<PushListener> {
  const { host, port, clock, log } = options;
  const server = createServer({
    maxHeaderSize: headBytesMax,
    headersTimeout: limits.headTimeoutMs,
    requestTimeout: limits.headTimeoutMs,
    connectionsCheckingInterval: sweepMs,
  });
  server.maxConnections = pushConnectionsMax;
  const sockets = new Set<HeardSocket>();
  server.on('request', (_request, response) => {
    response.writeHead(404, { connection: 'close' });
    response.end('This is the push port of a Weft control plane; sidecars connect here.\n');
  });
  server.on('upgrade', upgradeHandler(options, sockets));
  const onRefused = (peer: string) => log.warn({ peer }, 'a plain connection to the push port was refused');
  const plain: PlainPolicy = options.isInsecure ? { tag: 'taken' } : { tag: 'refused', onRefused };
  const cutUndecided = speakTlsToo(server, {
    context: options.tlsContext,
    plain,
    clock,
    onError: (error) => log.warn({ err: error }, 'a TLS connection to the push port could not be served'),
  });
  const address = await bindServer(server, host, port);
  let cancelTick = clock.after(pushTickMs, tick);
  function tick(): void {
    for (const socket of sockets) socket.check();
    cancelTick = clock.after(pushTickMs, tick);
  }
  return {
    address,
    get connections() {
      return sockets.size;
    },
    close: () => {
      cancelTick();
      server.close();
      cutUndecided();
      for (const socket of sockets) socket.goAway();
      server.closeAllConnections();
      // Whoever does not say goodbye in turn.
      clock.after(closeMs, () => {
        for (const socket of sockets) socket.terminate();
      });
    },
  };
}

function upgradeHandler(options: TlsPushListenerOptions, sockets: Set<HeardSocket>) {
  const acceptor = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: limits.pushClientFrameBytesMax,
  });
  /** Upgrades whose tokens are being judged: they count as connections. */
  let pending = 0;
  return (request: IncomingMessage, stream: Duplex, head: Buffer): void => {
    // A peer that goes away meanwhile is nobody's fault; `close` follows.
    stream.on('error', ignore);
    const { authorization = '', origin = '' } = request.headers;
    const refusal = request.url === pushPath ? upgradeRefusal(origin, sockets.size + pending) : '404 Not Found';
    if (refusal !== null) {
      options.onRefused('upgrade');
      refuse(stream, refusal, '');
      return;
    }
    pending++;
    void judgeUpgrade(options, authorization).then((admission) => {
      pending--;
      if (admission.tag === 'admitted') {
        acceptor.handleUpgrade(request, stream, head, (ws) => serve(ws, options, sockets, admission.identity));
        return;
      }
      const { remoteAddress = 'nobody', remotePort = 0 } = request.socket;
      logUpgradeRefusal(options, formatAddress(remoteAddress, remotePort), admission);
      refuse(stream, '401 Unauthorized', `${admission.reason}\n`);
    });
  };
}

function refuse(stream: Duplex, status: string, text: string): void {
  if (stream.destroyed) return;
  const challenge = status.startsWith('401') ? 'WWW-Authenticate: Bearer\r\n' : '';
  stream.end(
    `HTTP/1.1 ${status}\r\n${challenge}Connection: close\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
    () => stream.destroy(),
  );
}

function serve(
  ws: WebSocket,
  options: TlsPushListenerOptions,
  sockets: Set<HeardSocket>,
  identity: ServiceIdentity | null,
): void {
  const socket = new HeardSocket(ws, options, identity);
  sockets.add(socket);
  ws.on('message', (bytes: Buffer) => socket.receive(bytes));
  ws.on('ping', () => socket.heard());
  ws.on('pong', () => socket.heard());
  // What is no WebSocket, and what is larger than a frame may be, ends the connection; ws has said so to the peer.
  ws.on('error', ({ message }) => {
    options.onRefused('broken');
    options.log.warn({ reason: message }, 'a connection of a sidecar was broken');
  });
  ws.once('close', () => {
    sockets.delete(socket);
    socket.closed();
  });
}

/** uWS pings and counts silence by itself; here a look each second does. */
class HeardSocket extends PushSocket {
  readonly #ws: WebSocket;
  readonly #clock: TlsPushListenerOptions['clock'];
  #heardAtMs: number;
  #isAsked = false;

  constructor(ws: WebSocket, options: TlsPushListenerOptions, identity: ServiceIdentity | null) {
    super(wireOf(ws), options, identity);
    this.#ws = ws;
    this.#clock = options.clock;
    this.#heardAtMs = options.clock.nowMs();
  }

  heard(): void {
    this.#heardAtMs = this.#clock.nowMs();
    this.#isAsked = false;
  }

  terminate(): void {
    this.#ws.terminate();
  }

  override receive(bytes: Uint8Array): void {
    this.heard();
    super.receive(bytes);
  }

  override check(): void {
    const silentMs = this.#clock.nowMs() - this.#heardAtMs;
    if (silentMs > idleTimeoutSeconds * 1_000) {
      this.#ws.terminate();
      return;
    }
    if (silentMs > quietMs && !this.#isAsked) {
      this.#isAsked = true;
      this.#ws.ping();
    }
    super.check();
  }
}

const wireOf = (ws: WebSocket): PushWire => ({
  send: (frame) => {
    if (ws.readyState !== ws.OPEN) return 'sent';
    // A sidecar is sent one ChangeSet at a time, of any size; what comes while one is stuck is dropped.
    if (ws.bufferedAmount > 0 && ws.bufferedAmount + frame.byteLength > limits.pushFrameBytesMax) return 'no-room';
    ws.send(frame, { binary: true, compress: false });
    return ws.bufferedAmount > 0 ? 'waits' : 'sent';
  },
  get bufferedBytes() {
    return ws.bufferedAmount;
  },
  end: (code, reason) => ws.close(code, reason),
  cut: () => ws.terminate(),
});

const ignore = (): void => {};
