/**
 * One connection of the edge: its requests run one after another. Node reads ahead and reports pipelined requests at once, but only
 * safe ones may be worked on side by side (RFC 9112 section 9.3.2), and an answer of ours to a broken head must not overtake another.
 */

import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { limits } from '../../model/limits.ts';
import type { ListenerLimits } from '../../model/listener-limits.ts';
import { failures } from '../failure.ts';
import { fieldIds, isNamed } from '../field-names.ts';
import { checkHead, RefusedHead } from '../head-check.ts';
import { fieldValue, headerList, joinedFieldValue } from '../headers.ts';
import { knownOrNew } from '../known-fields.ts';
import { localReply } from '../local-reply.ts';
import type { ListenerSettings } from '../request.ts';
import { EdgeAnswer, type EdgeTurn } from './edge-answer.ts';
import { writeLastAnswer } from './last-answer.ts';

interface ReadRequest {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** The client waits for `100 Continue` before it sends the body. */
  readonly expectsContinue: boolean;
}

export const otherVersion = new RefusedHead(
  failures['version-not-supported'],
  'The request line says another version.',
);

/** Of a head and of trailers alike, what Node's parser takes: for a head the request line counts too. The exact limits are head-check's. */
export const parsedBytesMax = limits.headBytesMax + limits.targetBytesMax;
const trailersTooLarge = new RefusedHead(
  failures['headers-too-large'],
  `The trailers are larger than ${parsedBytesMax} bytes (fixed).`,
);

export class EdgeConnection {
  private active: EdgeAnswer | null = null;
  /** The one before, answered: its body may still be arriving. */
  private answered: EdgeAnswer | null = null;
  /** Bounded by limits.pipelinedRequestsMax. */
  private readonly waiting: ReadRequest[] = [];
  /** What the parser could not read, behind the requests that wait. */
  private brokenHead: RefusedHead | null = null;
  private isRefused = false;
  /** The last request that it may have has come: what comes behind it is nobody's, and the answer to it closes the connection. */
  private isUsedUp = false;
  private requests = 0;

  constructor(
    private readonly socket: Socket,
    private readonly options: ListenerSettings & { readonly limits: ListenerLimits },
    private readonly turn: EdgeTurn,
  ) {}

  onRequest(req: IncomingMessage, res: ServerResponse, expectsContinue: boolean): void {
    if (this.isRefused || this.isUsedUp) {
      req.resume();
      return;
    }
    if (asksForUpgrade(req)) {
      this.isUsedUp = true;
      res.shouldKeepAlive = false;
    }
    if (this.active === null) {
      this.begin(req, res, expectsContinue);
    } else if (this.waiting.length < limits.pipelinedRequestsMax) {
      this.waiting.push({ req, res, expectsContinue });
    } else {
      // Nothing can be said to it: the answers to those before come first.
      this.options.onRefused(failures['bad-request'], {
        detail: `More than ${limits.pipelinedRequestsMax} requests wait for the answer to the one before them.`,
        requestId: '',
        sourceAddress: peerAddress(this.socket),
      });
      this.socket.destroy();
    }
  }

  /** The parser cannot go on: with the body of the request under way, or with the head of the next. */
  onBroken(refused: RefusedHead): void {
    const { active } = this;
    if (this.isUsedUp && active?.isReceiving !== true) return;
    if (active === null && this.answered?.isReceiving === true) {
      // It has had its answer, and a second one could be taken for another request's.
      this.answered.cut();
    } else if (active === null) {
      this.refuse(refused, false);
    } else if (!active.isReceiving) {
      this.brokenHead = refused;
    } else if (active.isBegun || active.isDone) {
      active.cut();
    } else {
      active.giveUp();
      // Behind the head only trailers can be too large.
      const isTrailers = refused.failure === failures['headers-too-large'];
      this.refuse(isTrailers ? trailersTooLarge : refused, active.isToHead);
    }
  }

  private begin(req: IncomingMessage, res: ServerResponse, expectsContinue: boolean): void {
    const readAtMs = performance.now();
    const { acceptor, loopDelay, paths, limits, onConnectionEnded } = this.options;
    const isToHead = req.method === 'HEAD';
    // Node's parser reads 0.9 and 2.0 in a request line too.
    if (req.httpVersion !== '1.1' && req.httpVersion !== '1.0') {
      req.resume();
      this.refuse(otherVersion, isToHead);
      return;
    }
    const head = checkHead(
      {
        method: req.method ?? '',
        target: req.url ?? '',
        headers: headerList(req.rawHeaders, knownOrNew),
        isHttp10: req.httpVersionMinor === 0,
        paths,
        sourceAddress: peerAddress(this.socket),
        readAtMs,
        loopMs: loopDelay === undefined ? 0 : loopDelay(readAtMs),
      },
      limits,
    );
    if (head instanceof RefusedHead) {
      req.resume();
      this.refuse(head, isToHead);
      return;
    }
    const hasBody = head.bodyBytes !== 0;
    const answer = new EdgeAnswer(this.turn, req, res, head);
    this.active = answer;
    if (++this.requests >= limits.requestsPerConnectionMax) {
      // RFC 9112 section 9.6: what the client has sent behind it is not processed.
      this.isUsedUp = true;
      this.waiting.length = 0;
      res.shouldKeepAlive = false;
      onConnectionEnded?.('connection-used-up');
    }
    res.on('close', () => this.next(res));
    const receiver = acceptor.accept(head, answer);
    answer.receiver = receiver;
    if (answer.isDone) return;
    if (!hasBody) receiver.onRequestEnd([]);
    // A request that was answered at once is never told to go on.
    else if (expectsContinue && !answer.isBegun) res.writeContinue();
  }

  /** The answer has left, or the connection is closed. */
  private next({ shouldKeepAlive }: ServerResponse): void {
    this.answered = this.active;
    this.active = null;
    // An answer that said `Connection: close` was the last one, whoever had it say so (a drain; Node itself, where it never sent the 100 that
    // was expected): what the client has sent behind it is not processed, for it may send that again (RFC 9112 section 9.6).
    if (this.socket.destroyed || !shouldKeepAlive) {
      this.isUsedUp = true;
      this.waiting.length = 0;
      return;
    }
    const following = this.waiting.shift();
    if (following !== undefined) this.begin(following.req, following.res, following.expectsContinue);
    else if (this.brokenHead !== null) this.refuse(this.brokenHead, false);
    else if (this.turn.isDraining) this.socket.end();
  }

  /** The framing of what follows cannot be trusted: the connection closes, after the client has had time to read why. */
  private refuse({ failure, detail, request }: RefusedHead, isToHead: boolean): void {
    const { options } = this;
    if (this.isRefused) return;
    this.isRefused = true;
    const requestId = options.newRequestId === undefined ? randomBytes(16).toString('hex') : options.newRequestId();
    options.onRefused(failure, { detail, requestId, sourceAddress: peerAddress(this.socket), request });
    writeLastAnswer(this.socket, localReply(failure, detail, requestId), isToHead);
  }
}

/**
 * llhttp stops behind such a request, and Node drops what its segment holds there: what comes next need not be the start of a request. So
 * the connection ends with its answer.
 */
function asksForUpgrade({ rawHeaders }: IncomingMessage): boolean {
  if (!rawHeaders.some((text) => isNamed(text, 'upgrade'))) return false;
  const headers = headerList(rawHeaders);
  return (
    fieldValue(headers, fieldIds.upgrade) !== undefined &&
    joinedFieldValue(headers, fieldIds.connection)?.toLowerCase().includes('upgrade') === true
  );
}

/** Without the prefix by which an IPv6 socket shows an IPv4 peer; empty at a unix socket. */
function peerAddress(socket: Socket): string {
  const address = socket.remoteAddress ?? '';
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}
