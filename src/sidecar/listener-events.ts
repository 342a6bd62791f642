/** What one listener of a sidecar reports beyond its requests: heads that it refused, connections that it ended. */
import type { Failure } from '../proxy/failure.ts';
import type { ConnectionEnd, RefusedHeadFacts } from '../proxy/request.ts';
import type { Direction, Recorder } from '../telemetry/recorder.ts';
import type { RefusalLog } from '../telemetry/refusal-log.ts';

export class ListenerEvents {
  /** Connections that have had all the requests that they may have: as it was asked for, so no failure. */
  connectionsUsedUp = 0;

  constructor(
    private readonly direction: Direction,
    private readonly recorder: Recorder,
    /** Null: there is no access log. */
    private readonly refusalLog: RefusalLog | null,
  ) {}

  /** Functions of their own, so that they can be handed over. */
  readonly onRefused = ({ code, status, message }: Failure, head?: RefusedHeadFacts): void => {
    this.recorder.countFailure(this.direction, code);
    if (head === undefined) return;
    this.refusalLog?.log({ source: '', request: null, ...head, status, failure: code, reason: message });
  };

  readonly onConnectionEnded = (end: ConnectionEnd): void => {
    if (end === 'connection-used-up') this.connectionsUsedUp++;
    else this.recorder.countFailure(this.direction, end);
  };
}
