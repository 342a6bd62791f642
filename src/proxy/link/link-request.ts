/** A request on a link, at the caller's end: what the proxy asks of a way to an endpoint, as one stream. */
import { type Failure, failures } from '../failure.ts';
import { isOfHop } from '../field-names.ts';
import type { HeaderList } from '../headers.ts';
import { noTrailers } from '../trailers.ts';
import type { UpstreamHandler, UpstreamRequest, UpstreamStream } from '../upstream/upstream.ts';
import { type ResetReason, resetReason } from './frames.ts';
import { type EndPayload, encodeEnd, type HeadPayload, payloadBytesMax } from './head-codec.ts';
import { LinkStream } from './link-stream.ts';

/** Who holds a request that has no link yet. */
export interface RequestOwner {
  leave(request: LinkRequest): void;
}

export class LinkRequest extends LinkStream implements UpstreamStream {
  readonly request: UpstreamRequest;
  /** Of the payload of OPEN. */
  readonly openBytesMax: number;
  readonly openedAtMs: number;
  private readonly owner: RequestOwner;
  private readonly handler: UpstreamHandler;
  private readonly hasBody: boolean;
  private readonly isHeadRequest: boolean;
  private isHeaded = false;

  constructor(owner: RequestOwner, request: UpstreamRequest, handler: UpstreamHandler, openedAtMs: number) {
    super();
    this.owner = owner;
    this.handler = handler;
    this.openedAtMs = openedAtMs;
    this.hasBody = request.bodyBytes !== 0;
    this.isHeadRequest = request.method === 'HEAD';
    this.request = request;
    this.openBytesMax = payloadBytesMax(request.method.length + request.target.length, request.headers);
    if (!this.hasBody) this.endWithOpen();
  }

  // --- From the proxy -----------------------------------------------------------------------------------------------------------------

  write(chunk: Uint8Array): boolean {
    return this.sendData(chunk);
  }

  end(trailers: HeaderList = noTrailers): void {
    if (this.hasBody) this.sendEnd(encodeEnd(trailers, null));
  }

  destroy(): void {
    if (this.isOver) return;
    if (this.channel === null) this.owner.leave(this);
    this.reset(resetReason.cancelled);
  }

  pauseReading(): void {
    this.pause();
  }

  resumeReading(): void {
    this.resume();
  }

  // --- From the link ------------------------------------------------------------------------------------------------------------------

  /** OPEN leaves with this turn. */
  assigned(queueMs: number, connectMs: number, tlsMs: number, nowMs: number): void {
    if (!this.isOver) this.handler.onAssigned(queueMs, connectMs, connectMs + tlsMs === 0, nowMs, tlsMs);
  }

  /** It never got a link. */
  fail(failure: Failure, detail: string): void {
    if (this.isOver) return;
    this.finish();
    this.handler.onFailure(failure, false, detail);
  }

  /** HEAD came. */
  takeHead(head: HeadPayload): void {
    if (this.isHeaded || hasHopField(head.headers) || !this.mayHaveBody(head)) {
      this.breakOff(failures['upstream-garbage']);
      return;
    }
    this.isHeaded = true;
    // Clients that know that a 205 has no content would take it for the next answer (RFC 9110 section 15.3.6).
    this.bodyBytesLeft = head.hasBody && head.status !== 205 ? head.bodyBytes : 0;
    this.handler.onHead(head);
  }

  protected onData(piece: Uint8Array): void {
    const { bodyBytesLeft } = this;
    if (!this.isHeaded || (bodyBytesLeft >= 0 && piece.length > bodyBytesLeft)) {
      this.breakOff(failures['upstream-garbage']);
      return;
    }
    if (bodyBytesLeft > 0) this.bodyBytesLeft = bodyBytesLeft - piece.length;
    this.handler.onBody(piece);
  }

  protected onEnd({ trailers, timing }: EndPayload): void {
    if (!this.isHeaded || this.bodyBytesLeft > 0) {
      this.breakOff(failures[this.isHeaded ? 'answer-cut' : 'upstream-garbage']);
      return;
    }
    // The answer is complete; what is left of the request is not wanted any more.
    this.reset(resetReason.done);
    this.handler.onEnd(trailers, timing);
  }

  override takeReset(reason: ResetReason): void {
    // The answer is whole, and waits for its reader.
    if (reason === resetReason.done && this.heldEnd !== null) this.stopSending();
    else super.takeReset(reason);
  }

  onReset(reason: ResetReason): void {
    if (reason === resetReason.refused) this.refused('it takes no more requests on this link');
    else this.handler.onFailure(failures['upstream-reset'], true);
  }

  /** The peer says that it did not look at it: not to be believed of one who has begun to answer. */
  refused(detail: string): void {
    this.handler.onFailure(failures[this.isHeaded ? 'upstream-reset' : 'link-refused'], true, detail);
  }

  onLost(hasLeft: boolean, reason: string): void {
    this.handler.onFailure(hasLeft ? failures['link-lost'] : failures['connect-failed'], true, reason);
  }

  protected onWritable(): void {
    this.handler.onWritable();
  }

  protected onSentWhole(): void {}

  /** Whether a body follows must be the same for everybody who frames the answer anew (RFC 9110 section 6.4.1). */
  private mayHaveBody({ status, bodyBytes, hasBody }: HeadPayload): boolean {
    const isBodiless = this.isHeadRequest || status === 204 || status === 304;
    if (isBodiless) return !hasBody || bodyBytes === 0;
    return hasBody && (status !== 205 || bodyBytes <= 0);
  }

  /** The peer speaks another HTTP than we do. */
  private breakOff(failure: Failure): void {
    this.reset(resetReason.cancelled);
    this.handler.onFailure(failure, true);
  }
}

/**
 * Framing and what is of one hop are never among the fields on the link: passed on they would frame the answer anew, or speak of another
 * connection. Whether names and values can be sent at all is judged by the listener, which looks at each of their characters anyway.
 */
function hasHopField(headers: HeaderList): boolean {
  for (let i = 0; i < headers.length; i++) if (isOfHop[headers[i]!.id]!) return true;
  return false;
}
