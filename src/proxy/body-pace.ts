/**
 * Whether a request body arrives at all, and not a byte now and then: an idle timeout alone lets a client hold a request for as long as
 * it likes. Time in which the client may not send (the endpoint takes nothing more) is not held against it.
 */
import { limits } from '../model/limits.ts';

export class BodyPace {
  private readonly windowBytesMin: number;
  private windowEndsAtMs: number;
  private bytesBefore = 0;

  /** `rateMin`: bytes a second, more than 0. `startedAtMs` and all other times: `performance.now()`. */
  constructor(
    readonly rateMin: number,
    startedAtMs: number,
  ) {
    this.windowBytesMin = (rateMin * limits.bodyWindowMs) / 1000;
    // The head may have come long before the body: a client that waits for 100 Continue, a cold connection.
    this.windowEndsAtMs = startedAtMs + limits.bodyGraceMs + limits.bodyWindowMs;
  }

  /** To be asked now and then. True: the window that is over has brought too little. `bytes`: arrived since the start. */
  isTooSlow(nowMs: number, bytes: number, isClientsTurn: boolean): boolean {
    if (isClientsTurn && nowMs < this.windowEndsAtMs) return false;
    const isTooSlow = isClientsTurn && bytes - this.bytesBefore < this.windowBytesMin;
    // While it is not the client's turn the window begins anew, but never ends sooner.
    this.windowEndsAtMs = Math.max(this.windowEndsAtMs, nowMs + limits.bodyWindowMs);
    this.bytesBefore = bytes;
    return isTooSlow;
  }
}
