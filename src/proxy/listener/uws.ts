/**
 * The listener for the local app over loopback: uWebSockets.js. Its parser lets through what must not face peers that are not
 * trusted. What a head can show of that is refused by head-check.ts; what only a body can show ends with the connection, which is why
 * a connection never outlives a chunked request (uws-answer.ts).
 */

import type { HttpRequest, HttpResponse, us_listen_socket } from 'uWebSockets.js';
import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { formatAddress, isSocketPath, type LocalAddress } from '../../model/host-port.ts';
import { defaultListenerLimits, type ListenerLimits } from '../../model/listener-limits.ts';
import { beyondAscii, isToken } from '../char-classes.ts';
import { failures } from '../failure.ts';
import { fieldIds } from '../field-names.ts';
import { type CheckedHead, checkHead, RefusedHead, refusedRequest } from '../head-check.ts';
import { type Field, fieldOf, type HeaderList } from '../headers.ts';
import { findField } from '../known-fields.ts';
import { type LocalReply, localReply } from '../local-reply.ts';
import type { Listener, LocalListenerOptions, RefusedRequest } from '../request.ts';
import { dropTrailerField } from '../trailers.ts';
import { answerBlock, dateField } from './answer-block.ts';
import { findFreePort, probeAddress } from './free-port.ts';
import { ListenError } from './listen-error.ts';
import { PendingAnswers } from './pending-answers.ts';
import { UwsAnswer } from './uws-answer.ts';
import { loadUwsCore, type UwsApp, type UwsCore } from './uws-core.ts';

export type UwsListenerOptions = LocalListenerOptions & {
  /** Several event loops listen on one port. Only for a port that was chosen by number: sharing is silent between processes. */
  readonly sharePort?: boolean;
};

const freePortTriesMax = 5;
const shareOption = 0;
const loopback4 = '127.0.0.1';

/**
 * Opens the listener. Port 0 takes a free port and never reaches uWS. A path must be free: uWS replaces what stands there, and leaves its
 * file behind. Rejects with ListenError, which says what to do.
 */
export async function createUwsListener(options: UwsListenerOptions): Promise<Listener> {
  const listener = new UwsListener(await loadUwsCore(), options);
  try {
    await bind(listener, options);
  } catch (error) {
    // A thread must not end with an app in it.
    await listener.close();
    throw error;
  }
  return listener;
}

async function bind(listener: UwsListener, options: UwsListenerOptions): Promise<void> {
  if (isSocketPath(options) || options.port !== 0) {
    const at = isSocketPath(options) ? { path: options.path } : { host: options.host, port: options.port };
    if (listener.listen(at)) return;
    // uWS does not say why; node:net does. What it can bind after all was in use a moment ago.
    await probeAddress(at);
    throw new ListenError(isSocketPath(at) ? 'socket-taken' : 'port-taken', formatAddress(at));
  }
  const { host } = options;
  for (let tries = 1; ; tries++) {
    const free = { host, port: await findFreePort(host) };
    if (listener.listen(free)) return;
    if (tries === freePortTriesMax) throw new ListenError('port-taken', formatAddress(free));
  }
}

class UwsListener implements Listener {
  address = '';
  connections = 0;
  private readonly app: UwsApp;
  private readonly limits: ListenerLimits;
  private readonly pending: PendingAnswers;
  private socket: us_listen_socket | null = null;
  private isClosed = false;
  /** Of whoever reaches a listener that only this machine can reach: asking for it takes a system call. Null: it has to be asked. */
  private readonly knownPeer: string | null;

  constructor(
    private readonly core: UwsCore,
    private readonly options: UwsListenerOptions,
  ) {
    this.knownPeer = isSocketPath(options) ? '' : options.host === loopback4 ? loopback4 : null;
    this.limits = options.limits ?? defaultListenerLimits.outbound;
    this.pending = new PendingAnswers(this.limits.clientIdleMs, () => options.onConnectionEnded?.('answer-unread'));
    this.app = core.App();
    this.app.filter((res, change) => this.onConnection(res, Number(change)));
    this.app.any('/*', (res, req) => this.onRequest(res, req));
  }

  /** False: uWS could not bind it. */
  listen(at: LocalAddress): boolean {
    const onListening = (socket: us_listen_socket | false) => {
      if (socket === false) return;
      this.socket = socket;
      this.address = formatAddress(at);
    };
    if (isSocketPath(at)) {
      this.app.listen_unix(onListening, at.path);
    } else {
      const option = this.options.sharePort === true ? shareOption : this.core.LIBUS_LISTEN_EXCLUSIVE_PORT;
      this.app.listen(at.host, at.port, option, onListening);
    }
    return this.socket !== null;
  }

  drain(): void {
    this.pending.isDraining = true;
    if (this.socket === null) return;
    // Idle connections close at their next answer, after 10 to 12 s without one, or in `close`.
    this.core.us_listen_socket_close(this.socket);
    this.socket = null;
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    this.pending.stop();
    // Closes every connection before it returns; each request under way gets its `onClientGone`.
    this.app.close();
  }

  private onConnection(res: HttpResponse, change: number): void {
    this.connections += change;
    if (change > 0 && this.connections > this.limits.connectionsMax) {
      this.options.onRefused(failures['connection-limit']);
      res.close();
    }
  }

  private onRequest(res: HttpResponse, req: HttpRequest): void {
    const readAtMs = performance.now();
    let answer: UwsAnswer | null = null;
    res.onAborted(() => answer?.onAborted());
    const { options } = this;
    reading.headers = [];
    reading.coreCloses = null;
    reading.changedName = null;
    req.forEach(readField);
    const { headers, coreCloses, changedName } = reading;
    const method = req.getCaseSensitiveMethod();
    if (changedName !== null) {
      const request = refusedRequest({ method, target: req.getUrl(), headers }, null);
      this.refuse(res, changedField(changedName, request), method === 'HEAD');
      return;
    }
    const query: string | undefined = req.getQuery();
    const head = checkHead(
      {
        method,
        target: query === undefined ? req.getUrl() : `${req.getUrl()}?${query}`,
        headers,
        isHttp10: false,
        paths: options.paths,
        sourceAddress: this.sourceAddress(res),
        readAtMs,
        loopMs: options.loopDelay === undefined ? 0 : options.loopDelay(readAtMs),
      },
      this.limits,
    );
    if (head instanceof RefusedHead) {
      this.refuse(res, head, method === 'HEAD');
      return;
    }
    answer = this.openAnswer(res, head, coreCloses === true);
    this.pending.enterCore();
    answer.receiver = options.acceptor.accept(head, answer);
    if (head.bodyBytes === 0) answer.onNoBody();
    this.pending.leaveCore();
  }

  private sourceAddress(res: HttpResponse): string {
    return this.knownPeer ?? peerAddress(res);
  }

  private openAnswer(res: HttpResponse, head: CheckedHead, coreCloses: boolean): UwsAnswer {
    const { bodyBytes, isLastOfConnection } = head;
    const answer = new UwsAnswer(this.pending, res, { bodyBytes, isLastOfConnection, coreCloses });
    // This core reads no trailers (docs/uws.md), so none can follow.
    if (bodyBytes === -1) dropTrailerField(head.headers);
    // Also for GET and DELETE, which may have a body. Without one uWS would make an empty ArrayBuffer to say so, outside the heap.
    if (bodyBytes !== 0) res.onData((chunk, isLast) => answer.onData(chunk, isLast));
    return answer;
  }

  /** The framing of what follows cannot be trusted: the connection closes, and nothing more of it is read as a request. */
  private refuse(res: HttpResponse, { failure, detail, request }: RefusedHead, isHead: boolean): void {
    const { onRefused, newRequestId } = this.options;
    const requestId = newRequestId === undefined ? randomBytes(16).toString('hex') : newRequestId();
    onRefused(failure, { detail, requestId, sourceAddress: this.sourceAddress(res), request });
    const reply = closingReply(localReply(failure, detail, requestId), isHead);
    if (!isHead) {
      res.writeStatus(reply);
      res.close();
      return;
    }
    // Too short to leave before the core has read all that it holds; a further request in that ends the connection without an answer.
    let isGone = false;
    res.onAborted(() => {
      isGone = true;
    });
    setImmediate(() => {
      if (isGone) return;
      res.cork(() => {
        res.writeStatus(reply);
      });
      res.close();
    });
  }
}

/**
 * While the core reads, it holds what is written back in a buffer of this size, and goes on to dispatch what it reads: after `end`, with a
 * close flag too, a request behind the refused one is served, and a `close` drops the buffer. Only a write that does not fit in it leaves at once.
 */
const corkBytes = 16 * 1024;

/** The whole answer from the status code on; `writeStatus` adds CRLF, which is the end of the body, or of the head to HEAD. */
function closingReply({ status, reason, headers, body }: LocalReply, isHead: boolean): Buffer {
  // White space to JSON, and invisible in a terminal.
  const padding = isHead ? '' : '\r'.repeat(corkBytes);
  const bodyBytes = isHead ? body.byteLength : body.byteLength + padding.length + 2;
  const length = `${dateField()}\r\nContent-Length: ${bodyBytes}\r\nConnection: close\r\n`;
  const block = answerBlock({ status, reason, headers, bodyBytes, hasBody: !isHead }, length, false);
  const bytes = typeof block === 'string' ? Buffer.from(block, 'latin1') : block!;
  return isHead ? bytes : Buffer.concat([bytes, Buffer.from('\r\n'), body, Buffer.from(padding)]);
}

/** The head that `readField` reads: one function for all, because a new one for each request is compiled again at its first call. */
const reading: {
  headers: HeaderList;
  coreCloses: boolean | null;
  changedName: string | null;
} = {
  headers: [],
  coreCloses: null,
  changedName: null,
};

function readField(name: string, value: string): void {
  const field = findField(name, value) ?? fieldRead(name, value);
  reading.headers.push(field);
  // uWS looks at the length of the first Connection field and at nothing else.
  if (field.id === fieldIds.connection && reading.coreCloses === null) reading.coreCloses = value.length === 5;
}

/** One that is not known. */
function fieldRead(name: string, value: string): Field {
  if (!beyondAscii.test(value)) return fieldOf(name, value, true);
  const bytes = restoreBytes(value);
  if (bytes === null) reading.changedName ??= name;
  return fieldOf(name, bytes ?? '');
}

/** uWS decodes values as UTF-8, and a proxy passes bytes on. Null: it was not UTF-8, and uWS has replaced bytes by U+FFFD. */
function restoreBytes(value: string): string | null {
  return value.includes('\ufffd') ? null : Buffer.from(value, 'utf8').toString('latin1');
}

function changedField(name: string, request: RefusedRequest): RefusedHead {
  const field = isToken(name) ? `The field ${name}` : 'A field';
  return new RefusedHead(
    failures['bad-request'],
    `${field} holds bytes that are not UTF-8, which uWebSockets.js cannot pass on; --outbound-http node does.`,
    request,
  );
}

function peerAddress(res: HttpResponse): string {
  const bytes = new Uint8Array(res.getRemoteAddress());
  // Nearly every peer of this listener; a string is built for the others only.
  if (bytes.length === 4 && bytes[0] === 127 && bytes[1] === 0 && bytes[2] === 0 && bytes[3] === 1) return loopback4;
  return Buffer.from(res.getRemoteAddressAsText()).toString('latin1');
}
