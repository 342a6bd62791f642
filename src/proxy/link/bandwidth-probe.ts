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
/** A probe that finds the window far from full is followed by the next one after twice as much, up to this: each wakes both loops once more. */
const probeBytesMax = 4 * 1024 * 1024;

export class BandwidthProbe {
  /** What the peer may have under way on the link, bytes. */
  windowBytes = linkCreditFirst;
  private receivedBytes = 0;
  /** Received just before the PING under way: part of the same windowful. */
  private beforeBytes = 0;
  private isUnderWay = false;
  /** The next probe is sent when so much has arrived. */
  private probeBytes = probeBytesMin;
  private sentAtMs = 0;
  private bytesPerMs = 0;

  /** Counts what arrived. True: send a PING now, and say `sent`. */
  receive(bytes: number): boolean {
    this.receivedBytes += bytes;
    return !this.isUnderWay && this.receivedBytes >= this.probeBytes && this.windowBytes < limits.linkWindowBytesMax;
  }

  sent(nowMs: number): void {
    this.isUnderWay = true;
    this.sentAtMs = nowMs;
    this.beforeBytes = Math.min(this.receivedBytes, 2 * probeBytesMin);
    this.receivedBytes = 0;
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
    this.probeBytes = isFull ? probeBytesMin : Math.min(probeBytesMax, this.probeBytes * 2);
    if (!isFull || bytesPerMs <= this.bytesPerMs) return 0;
    this.bytesPerMs = bytesPerMs;
    const before = this.windowBytes;
    this.windowBytes = Math.min(limits.linkWindowBytesMax, Math.max(before, 2 * windowful));
    return this.windowBytes - before;
  }
}
