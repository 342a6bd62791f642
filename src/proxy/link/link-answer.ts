/** A request on a link, at the callee's end: how the proxy answers it, and how it hears of what the caller does. */
import { limits } from '../../model/limits.ts';
import type { HopTiming } from '../../telemetry/ledger.ts';
import type { HeaderList } from '../headers.ts';
import type { AnswerHead, Downstream, RequestReceiver } from '../request.ts';
import { noTrailers } from '../trailers.ts';
import { headPayloadMax, resetReason } from './frames.ts';
import { type EndPayload, encodeEnd, type OpenPayload, payloadBytesMax } from './head-codec.ts';
import { LinkStream } from './link-stream.ts';

export class LinkAnswer extends LinkStream implements Downstream {
  readonly wantsTiming = true;
  receiver: RequestReceiver | null = null;
  /** The request was complete with its OPEN. */
  private readonly isWholeWithOpen: boolean;

  constructor({ endsStream, bodyBytes }: OpenPayload) {
    super();
    this.isWholeWithOpen = endsStream;
    this.isRemoteEnded = endsStream;
    this.bodyBytesLeft = bodyBytes;
  }

  /** The proxy has taken the request. */
  accepted(receiver: RequestReceiver): void {
    this.receiver = receiver;
    if (this.isWholeWithOpen) receiver.onRequestEnd(noTrailers);
  }

  // --- From the proxy -----------------------------------------------------------------------------------------------------------------

  head(head: AnswerHead, timing: HopTiming | null): void {
    const { channel } = this;
    if (channel === null) return;
    const { reason, headers } = head;
    const bytesMax = payloadBytesMax(reason.length, headers);
    // Possible only by what filters add to a head of the largest size.
    if (headers.length > limits.linkFieldsMax || bytesMax > headPayloadMax) this.breakOff();
    else channel.sendHead(this.id, head, timing, bytesMax);
  }

  body(chunk: Uint8Array): boolean {
    return this.joinBody(chunk) || this.sendData(chunk);
  }

  end(trailers: HeaderList, timing: HopTiming | null): void {
    this.sendEnd(encodeEnd(trailers, timing));
  }

  /** Its HEAD may have left; where it has not, RESET leaves with it, and the caller takes back what it has made of it. */
  retract(): boolean {
    return false;
  }

  abort(): void {
    this.reset(resetReason.broken);
  }

  pauseRequest(): void {
    this.pause();
  }

  resumeRequest(): void {
    this.resume();
  }

  // --- From the link ------------------------------------------------------------------------------------------------------------------

  protected onData(piece: Uint8Array): void {
    if (this.bodyBytesLeft >= 0) {
      // Bytes beyond the length said would be read as the next request by whoever gets them behind a Content-Length.
      if (piece.length > this.bodyBytesLeft) {
        this.breakOff();
        return;
      }
      this.bodyBytesLeft -= piece.length;
    }
    this.receiver?.onRequestBody(piece);
  }

  protected onEnd({ trailers }: EndPayload): void {
    if (this.bodyBytesLeft > 0) this.breakOff();
    else this.receiver?.onRequestEnd(trailers);
  }

  /** The request is not what its head said. */
  private breakOff(): void {
    this.reset(resetReason.broken);
    this.receiver?.onClientGone();
  }

  onReset(): void {
    this.receiver?.onClientGone();
  }

  onLost(): void {
    this.receiver?.onClientGone();
  }

  protected onWritable(): void {
    this.receiver?.onDownstreamWritable();
  }

  /** Answered before the request was complete: the caller need not send the rest. */
  protected onSentWhole(): void {
    this.reset(resetReason.done);
  }
}
