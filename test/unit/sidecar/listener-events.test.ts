/** What becomes of what a listener reports beyond its requests. */
import { describe, expect, it } from 'vitest';
import { failures } from '../../../src/proxy/failure.ts';
import { ListenerEvents } from '../../../src/sidecar/listener-events.ts';
import { RefusalRing } from '../../../src/telemetry/refusal-ring.ts';
import { SeriesRecorder } from '../../../src/telemetry/series.ts';

describe('the events of a listener', () => {
  it('count a refused head and an unread answer among the failures, and a connection that was used up beside them', () => {
    const recorder = new SeriesRecorder();
    const refusals = new RefusalRing('inbound', 'inbound', () => 0);
    const events = new ListenerEvents('inbound', recorder, null, refusals);
    events.onRefused(failures['bad-request']);
    events.onConnectionEnded('answer-unread');
    events.onConnectionEnded('connection-used-up');
    events.onConnectionEnded('connection-used-up');
    expect(recorder.failures()).toEqual([
      { direction: 'inbound', code: 'bad-request', count: 1 },
      { direction: 'inbound', code: 'answer-unread', count: 1 },
    ]);
    expect(events.connectionsUsedUp).toBe(2);
  });
});
