/** A request on a link, at the callee's end: how the proxy answers it, and how it hears of what the caller does. */
import type { HopTiming } from '../../telemetry/ledger.ts';
import type { HeaderList } from '../headers.ts';
import type { AnswerHead, Downstream, RequestReceiver } from '../request.ts';
import { frameType, resetReason } from './frames.ts';
import { type EndPayload, encodeEnd, encodeHead } from './head-codec.ts';
import { LinkStream } from './link-stream.ts';

export class LinkAnswer extends LinkStream implements Downstream {
  readonly wantsTiming = true;
  receiver: RequestReceiver | null = null;
  /** The request was complete with its OPEN. */
  private readonly isWholeWithOpen: boolean;

  constructor(isWholeWithOpen: boolean) {
    super();
    this.isWholeWithOpen = isWholeWithOpen;
    this.isRemoteEnded = isWholeWithOpen;
  }

  /** The proxy has taken the request. */
  accepted(receiver: RequestReceiver): void {
    this.receiver = receiver;
    if (this.isWholeWithOpen) receiver.onRequestEnd([]);
  }

  // --- From the proxy -----------------------------------------------------------------------------------------------------------------

  head({ status, reason, headers, bodyBytes, hasBody }: AnswerHead, timing: HopTiming | null): void {
    const { channel } = this;
    if (channel === null) return;
    channel.sendFrame(frameType.head, this.id, encodeHead(status, reason, headers, bodyBytes, hasBody, timing));
  }

  body(chunk: Uint8Array): boolean {
    return this.sendData(chunk);
  }

  end(trailers: HeaderList, timing: HopTiming | null): void {
    this.sendEnd(encodeEnd(trailers, timing));
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

  protected onData(piece: Buffer): void {
    this.receiver?.onRequestBody(piece);
  }

  protected onEnd({ trailers }: EndPayload): void {
    this.receiver?.onRequestEnd(trailers);
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
