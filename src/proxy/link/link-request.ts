/** A request on a link, at the caller's end: what the proxy asks of a way to an endpoint, as one stream. */
import { type Failure, failures } from '../failure.ts';
import type { HeaderList } from '../headers.ts';
import type { UpstreamHandler, UpstreamRequest, UpstreamStream } from '../upstream/upstream.ts';
import { type ResetReason, resetReason } from './frames.ts';
import { type EndPayload, encodeOpen, type HeadPayload } from './head-codec.ts';
import { LinkStream } from './link-stream.ts';

/** Who holds a request that has no link yet. */
export interface RequestOwner {
  leave(request: LinkRequest): void;
}

export class LinkRequest extends LinkStream implements UpstreamStream {
  /** Encoded OPEN. */
  readonly payload: string;
  readonly openedAtMs: number;
  private readonly owner: RequestOwner;
  private readonly handler: UpstreamHandler;
  private readonly hasBody: boolean;
  private isHeaded = false;

  constructor(owner: RequestOwner, request: UpstreamRequest, handler: UpstreamHandler, openedAtMs: number) {
    super();
    this.owner = owner;
    this.handler = handler;
    this.openedAtMs = openedAtMs;
    this.hasBody = request.bodyBytes !== 0;
    this.payload = encodeOpen(request.method, request.target, request.headers, request.bodyBytes);
    if (!this.hasBody) this.endWithOpen();
  }

  // --- From the proxy -----------------------------------------------------------------------------------------------------------------

  write(chunk: Uint8Array): boolean {
    return this.sendData(chunk);
  }

  end(): void {
    if (this.hasBody) this.sendEnd('');
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
  assigned(queueMs: number, connectMs: number): void {
    if (!this.isOver) this.handler.onAssigned(queueMs, connectMs, connectMs === 0);
  }

  /** It never got a link. */
  fail(failure: Failure): void {
    if (this.isOver) return;
    this.finish();
    this.handler.onFailure(failure, false);
  }

  /** HEAD came; null: it cannot be read. */
  takeHead(head: HeadPayload | null): void {
    if (head === null || this.isHeaded || hasFraming(head.headers)) {
      this.breakOff();
      return;
    }
    this.isHeaded = true;
    const { status, reason, headers, bodyBytes, hasBody, timing } = head;
    this.handler.onHead({ status, reason, headers, bodyBytes, hasBody, far: timing });
  }

  protected onData(piece: Buffer): void {
    if (this.isHeaded) this.handler.onBody(piece);
    else this.breakOff();
  }

  protected onEnd({ trailers, timing }: EndPayload): void {
    if (!this.isHeaded) {
      this.breakOff();
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
    this.handler.onFailure(
      reason === resetReason.refused ? failures['link-refused'] : failures['upstream-reset'],
      true,
    );
  }

  /** The peer said that it did not look at it. */
  refused(): void {
    this.handler.onFailure(failures['link-refused'], true);
  }

  onLost(hasLeft: boolean): void {
    this.handler.onFailure(hasLeft ? failures['link-lost'] : failures['connect-failed'], true);
  }

  protected onWritable(): void {
    this.handler.onWritable();
  }

  protected onSentWhole(): void {}

  /** The peer speaks another HTTP than we do. */
  private breakOff(): void {
    this.reset(resetReason.cancelled);
    this.handler.onFailure(failures['upstream-garbage'], true);
  }
}

/** How a message is framed is never among its fields on the link; taken for one of them it would frame the answer anew. */
function hasFraming(headers: HeaderList): boolean {
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    if (name.length === 14 && name.toLowerCase() === 'content-length') return true;
    if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') return true;
    if (name.length === 10 && name.toLowerCase() === 'connection') return true;
  }
  return false;
}
