/**
 * A copy of a request whose answer nobody reads (Gateway API HTTPRequestMirrorFilter). It may never slow down or fail the request it
 * copies: it is dropped, and counted, as soon as it cannot keep up.
 */

import { limits } from '../model/limits.ts';
import type { Direction, Recorder } from '../telemetry/recorder.ts';
import type { Deadlined, Deadlines } from './deadlines.ts';
import type { Failure } from './failure.ts';
import type { HeaderList } from './headers.ts';
import type { LiveState, LoopEndpoint } from './tables.ts';
import type { UpstreamHandler, UpstreamRequest, UpstreamStream } from './upstream/upstream.ts';

export class Mirror implements UpstreamHandler, Deadlined {
  private static inFlight = 0;
  private stream: UpstreamStream | null = null;
  private readonly deadlineMs: number;
  /** Bytes written since there was last room. */
  private backlogBytes = 0;
  private isBehind = false;
  nextInSweep: Deadlined | null = null;
  previousInSweep: Deadlined | null = null;

  private constructor(
    private readonly endpoint: LoopEndpoint,
    private readonly live: LiveState,
    private readonly deadlines: Deadlines,
    private readonly recorder: Recorder,
    private readonly direction: Direction,
    private readonly openedAtMs: number,
  ) {
    this.deadlineMs = openedAtMs + limits.mirrorTimeoutMs;
  }

  /** Null when `limits.mirrorsMax` copies are under way already. */
  static open(
    endpoint: LoopEndpoint,
    request: UpstreamRequest,
    live: LiveState,
    deadlines: Deadlines,
    recorder: Recorder,
    direction: Direction,
    nowMs: number,
  ): Mirror | null {
    if (Mirror.inFlight >= limits.mirrorsMax) {
      recorder.countFailure(direction, 'mirror-dropped');
      return null;
    }
    const mirror = new Mirror(endpoint, live, deadlines, recorder, direction, nowMs);
    Mirror.inFlight++;
    live.begin(endpoint.slot);
    deadlines.add(mirror);
    mirror.stream = endpoint.upstream!.open(request, mirror, nowMs);
    return mirror;
  }

  write(chunk: Uint8Array): void {
    if (this.stream === null) return;
    if (this.isBehind) this.backlogBytes += chunk.byteLength;
    // Beyond this the copy is given up: waiting would hold back the request itself.
    if (this.backlogBytes > limits.mirrorBacklogBytesMax) this.drop();
    else if (!this.stream.write(chunk)) this.isBehind = true;
  }

  endRequest(trailers: HeaderList): void {
    this.stream?.end(trailers);
  }

  /** The original was cut off: an incomplete copy must not look complete. */
  drop(): void {
    if (this.stream === null) return;
    this.stream.destroy();
    this.recorder.countFailure(this.direction, 'mirror-dropped');
    this.settle('ok');
  }

  onAssigned(): void {}
  onHead(): void {}
  onBody(): void {}

  onWritable(): void {
    this.isBehind = false;
    this.backlogBytes = 0;
  }

  onEnd(): void {
    this.settle('ok');
  }

  onFailure(_failure: Failure): void {
    this.recorder.countFailure(this.direction, 'mirror-failed');
    this.settle('failed');
  }

  onSweep(nowMs: number): void {
    if (nowMs >= this.deadlineMs) this.drop();
  }

  private settle(outcome: 'ok' | 'failed'): void {
    this.stream = null;
    Mirror.inFlight--;
    this.deadlines.remove(this);
    this.live.end(this.endpoint.slot, this.deadlines.coarseNowMs - this.openedAtMs, outcome);
  }
}
