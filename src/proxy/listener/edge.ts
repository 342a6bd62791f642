/**
 * The listener for clients outside the mesh: Node's own `http` server, whose parser (llhttp, strict) let none of the smuggling probes
 * through. It reads heads and bodies; everything about an answer is in edge-answer.ts.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Server as NetServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { isSocketPath, type LocalAddress } from '../../model/host-port.ts';
import { defaultListenerLimits, type ListenerLimits } from '../../model/listener-limits.ts';
import { failures } from '../failure.ts';
import { methodsThatPass, RefusedHead } from '../head-check.ts';
import { ofListener } from '../limit-met.ts';
import type { Listener, LocalListenerOptions } from '../request.ts';
import { bindServerAt } from './bind-server.ts';
import type { EdgeTurn } from './edge-answer.ts';
import { EdgeConnection, otherVersion, parsedBytesMax } from './edge-connection.ts';
import { HeldAnswers } from './held-answers.ts';

/** How often Node looks for heads that do not arrive: at most this, and a fifth of the time that they have; unreferenced. */
const headTimeoutCheckMsMax = 2_000;

const noTunnel = new RefusedHead(failures['method-not-supported'], methodsThatPass, { method: 'CONNECT' });
const unreadable = new RefusedHead(failures['bad-request'], 'The request cannot be parsed.');

/** What Node says of a request that its parser could not read. */
interface ParserError extends Error {
  readonly code?: string;
  readonly reason?: string;
}

/**
 * Opens the listener. Port 0 takes any free port; a path is taken as it is, and must be free. Rejects with ListenError, which says what
 * to do.
 */
export async function createEdgeListener(options: LocalListenerOptions): Promise<Listener> {
  const listener = new EdgeListener(options);
  await listener.listen();
  return listener;
}

class EdgeListener implements Listener {
  address = '';
  connections = 0;
  private readonly server: Server;
  private readonly options: LocalListenerOptions & { readonly limits: ListenerLimits };
  private readonly turn: EdgeTurn;
  private readonly byConnection = new WeakMap<Duplex, EdgeConnection>();
  private onAllClosed: (() => void) | null = null;

  constructor(listenerOptions: LocalListenerOptions) {
    const options = { limits: defaultListenerLimits.inbound, ...listenerOptions };
    this.options = options;
    const { connectionsMax, headTimeoutMs, clientIdleMs } = options.limits;
    this.turn = {
      held: new HeldAnswers(),
      isDraining: false,
      canReset: !isSocketPath(options),
      clientIdleMs,
      onUnread: () => options.onConnectionEnded?.('answer-unread'),
    };
    this.server = createServer({
      insecureHTTPParser: false,
      maxHeaderSize: parsedBytesMax,
      headersTimeout: headTimeoutMs,
      // The proxy has timeouts of its own for bodies.
      requestTimeout: 0,
      keepAliveTimeout: clientIdleMs,
      connectionsCheckingInterval: Math.min(headTimeoutCheckMsMax, Math.ceil(headTimeoutMs / 5)),
      // Judged by head-check, which answers in Weft's own words.
      requireHostHeader: false,
    });
    const { server } = this;
    // Beyond its count Node drops fields without a word, framing fields too. The check counts, and maxHeaderSize bounds.
    server.maxHeadersCount = 0;
    server.maxConnections = connectionsMax;
    server.on('request', (req, res) => this.onRequest(req, res, false));
    server.on('checkContinue', (req, res) => this.onRequest(req, res, true));
    server.on('checkExpectation', (req, res) => this.onRequest(req, res, false));
    server.on('connect', (_req, socket) => this.byConnection.get(socket)!.onBroken(noTunnel));
    server.on('clientError', (error, socket) => this.onClientError(error, socket));
    server.on('connection', (socket) => this.onConnection(socket));
    server.on('drop', () => options.onRefused(failures['connection-limit']));
    // No `upgrade` listener: Node then treats such a request like any other, as RFC 9110 section 7.8 allows, and the field is dropped.
  }

  async listen(): Promise<void> {
    this.address = await bindServerAt(this.server, addressOf(this.options));
  }

  drain(): void {
    if (this.turn.isDraining) return;
    this.turn.isDraining = true;
    // Not `server.close()`, which also closes idle connections: a request may be on its way on one, and a POST that meets a closed
    // connection cannot be repeated.
    NetServer.prototype.close.call(this.server);
  }

  close(): Promise<void> {
    this.turn.isDraining = true;
    return new Promise((resolve) => {
      // An error says that it was closing already; `close` still comes last.
      this.server.close();
      this.server.closeAllConnections();
      if (this.connections === 0) resolve();
      else this.onAllClosed = resolve;
    });
  }

  private onConnection(socket: Socket): void {
    this.connections++;
    this.byConnection.set(socket, new EdgeConnection(socket, this.options, this.turn));
    // Node reports errors as `clientError`, but takes its own listener away from a socket that it hands over (CONNECT).
    socket.on('error', () => {});
    socket.once('close', () => {
      this.connections--;
      if (this.connections === 0) this.onAllClosed?.();
    });
  }

  private onRequest(req: IncomingMessage, res: ServerResponse, expectsContinue: boolean): void {
    // Node reports requests of connections only that it has reported before.
    this.byConnection.get(req.socket)!.onRequest(req, res, expectsContinue);
  }

  private onClientError(error: ParserError, socket: Duplex): void {
    const connection = this.byConnection.get(socket);
    const refused = refusalOf(error, this.options.limits);
    if (connection === undefined || refused === null) socket.destroy();
    else connection.onBroken(refused);
  }
}

/** Without what else the options say: Node would take some of it for its own. */
const addressOf = (options: LocalAddress): LocalAddress =>
  isSocketPath(options) ? { path: options.path } : { host: options.host, port: options.port };

/** Null: the connection is broken, and nobody reads an answer. */
function refusalOf({ code, reason }: ParserError, bounds: ListenerLimits): RefusedHead | null {
  switch (code) {
    case 'ECONNRESET':
    case 'EPIPE':
      return null;
    case 'HPE_PAUSED_H2_UPGRADE':
      return otherVersion;
    case 'HPE_INVALID_VERSION':
      // The same code stands for a bare LF behind the version.
      return reason === 'Invalid HTTP version' ? otherVersion : unreadable;
    case 'HPE_HEADER_OVERFLOW':
      // The request line counts too here.
      return new RefusedHead(
        failures['headers-too-large'],
        `The head is larger than ${bounds.headBytesMax} bytes (${ofListener(bounds, 'head-bytes')}).`,
      );
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new RefusedHead(
        failures['request-head-timeout'],
        `The head was not complete within ${bounds.headTimeoutMs} ms (${ofListener(bounds, 'head-time')}).`,
      );
    default:
      return unreadable;
  }
}
