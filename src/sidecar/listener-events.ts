/** What one listener of a sidecar reports beyond its requests: heads that it refused, connections that it ended. */
import type { Failure } from '../proxy/failure.ts';
import type { ConnectionEnd } from '../proxy/request.ts';
import type { Direction, Recorder } from '../telemetry/recorder.ts';

export class ListenerEvents {
  /** Connections that have had all the requests that they may have: as it was asked for, so no failure. */
  connectionsUsedUp = 0;

  constructor(
    private readonly direction: Direction,
    private readonly recorder: Recorder,
  ) {}

  /** A function of its own, so that it can be handed over. */
  readonly onRefused = ({ code }: Failure): void => this.recorder.countFailure(this.direction, code);

  readonly onConnectionEnded = (end: ConnectionEnd): void => {
    if (end === 'connection-used-up') this.connectionsUsedUp++;
    else this.recorder.countFailure(this.direction, end);
  };
}
