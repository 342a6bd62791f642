/**
 * How much a link should let its peer have under way: the bandwidth times the round trip, as measured. A PING is sent into the stream of
 * data and what arrives until its PONG is counted; when that fills the window, the window doubles (the estimator of gRPC, A43 and "BDP
 * estimation and dynamic flow control window", 2017). Bytes in the kernel cannot be overtaken, so a window is no larger than it needs to be.
 * Pure: clock readings in, windows out.
 */
import { limits } from '../../model/limits.ts';
import { linkCreditFirst } from './frames.ts';

/** Less than this since the last probe is no traffic worth measuring. */
const probeBytesMin = 64 * 1024;
/**
 * After a probe that found the window far from full none is sent for so long, ms: each wakes both loops once more, and on a short way an answer
 * would bring the next. A long way, the only one that wants a wider window, has longer round trips than this.
 */
const probePauseMs = 5;

export class BandwidthProbe {
  /** What the peer may have under way on the link, bytes. */
  windowBytes = linkCreditFirst;
  private receivedBytes = 0;
  /** Received just before the PING under way: part of the same windowful. */
  private beforeBytes = 0;
  private isUnderWay = false;
  private pausedUntilMs = Number.NEGATIVE_INFINITY;
  private sentAtMs = 0;
  private bytesPerMs = 0;

  /** Counts what arrived. True: it is enough to `begin` a probe. */
  receive(bytes: number): boolean {
    this.receivedBytes += bytes;
    return !this.isUnderWay && this.receivedBytes >= probeBytesMin && this.windowBytes < limits.linkWindowBytesMax;
  }

  /** After `receive` said so. True: send a PING now. */
  begin(nowMs: number): boolean {
    if (nowMs < this.pausedUntilMs) return false;
    this.isUnderWay = true;
    this.sentAtMs = nowMs;
    this.beforeBytes = Math.min(this.receivedBytes, 2 * probeBytesMin);
    this.receivedBytes = 0;
    return true;
  }

  /** The PONG is there. Answers by how many bytes the window has grown; 0 mostly. */
  answered(nowMs: number): number {
    if (!this.isUnderWay) return 0;
    this.isUnderWay = false;
    const bytes = this.receivedBytes;
    this.receivedBytes = 0;
    const bytesPerMs = bytes / Math.max(nowMs - this.sentAtMs, 0.05);
    // A fuller window without more bandwidth is a longer queue, not a faster link.
    const windowful = this.beforeBytes + bytes;
    const isFull = windowful * 3 >= this.windowBytes * 2;
    if (!isFull) this.pausedUntilMs = nowMs + probePauseMs;
    if (!isFull || bytesPerMs <= this.bytesPerMs) return 0;
    this.bytesPerMs = bytesPerMs;
    const before = this.windowBytes;
    this.windowBytes = Math.min(limits.linkWindowBytesMax, Math.max(before, 2 * windowful));
    return this.windowBytes - before;
  }
}
