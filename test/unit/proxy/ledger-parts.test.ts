/** Whatever happens to a request, and in which order: its parts sum to its total, and none is negative. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { failures } from '../../../src/proxy/failure.ts';
import { partIndex, parts } from '../../../src/telemetry/recorder.ts';
import { FakeClient, FakeEndpoint, type FakeStream, fakeHead, fakeMesh } from './proxy-fakes.ts';

/** What can happen next, each after a while: who acts, and on what is decided by what is possible then. */
const steps = ['assign', 'connect', 'body', 'request-end', 'head', 'far-head', 'chunk', 'end', 'far-end'] as const;
const ends = ['refused', 'reset', 'client-gone'] as const;
const event = fc.record({
  step: fc.constantFrom(...steps, ...ends),
  afterMs: fc.double({ min: 0, max: 50, noNaN: true }),
  farMs: fc.double({ min: 0, max: 80, noNaN: true }),
});

const farOf = (totalMs: number) => ({ partsMs: parts.map((part) => (part === 'wait' ? totalMs : 0)), totalMs });

describe('the parts of a request', () => {
  it('sum to its total for any order of events', () => {
    let finished = 0;
    fc.assert(
      fc.property(
        fc.array(event, { minLength: 1, maxLength: 14 }),
        fc.boolean(),
        fc.double({ min: 0, max: 5, noNaN: true }),
        (events, hasBody, loopMs) => {
          const endpoints = [new FakeEndpoint('a:1', 0, true, ['a:2']), new FakeEndpoint('b:1', 1, true, ['b:2'])];
          const mesh = fakeMesh(endpoints);
          const client = new FakeClient();
          const head = fakeHead({ method: 'PUT', bodyBytes: hasBody ? -1 : 0, loopMs });
          const receiver = mesh.proxy.accept(head, client);
          let isEnded = false;
          const opened: FakeStream[] = [];
          let phase = { isAssigned: false, hasHead: false };
          for (const { step, afterMs, farMs } of events) {
            mesh.clock.nowMs += afterMs;
            if (mesh.recorded.length > 0) break;
            // An event opens one at most.
            const fresh = endpoints.flatMap(({ streams }) => streams).filter((each) => !opened.includes(each));
            if (fresh.length > 0) phase = { isAssigned: false, hasHead: false };
            opened.push(...fresh);
            const stream = opened.at(-1)!;
            const { handler, openedAtMs } = stream;
            const waitedMs = mesh.clock.nowMs - openedAtMs;
            if ((step === 'assign' || step === 'connect') && !phase.isAssigned) {
              phase.isAssigned = true;
              const connectMs = step === 'connect' ? waitedMs * 0.6 : 0;
              handler.onAssigned(waitedMs - connectMs, connectMs / 2, false, mesh.clock.nowMs, connectMs / 2);
            } else if (step === 'body' && hasBody && !isEnded) receiver.onRequestBody(Buffer.from('x'));
            else if (step === 'request-end' && !isEnded) {
              isEnded = true;
              receiver.onRequestEnd([]);
            } else if ((step === 'head' || step === 'far-head') && phase.isAssigned && !phase.hasHead) {
              phase.hasHead = true;
              const far = step === 'head' ? null : farOf(farMs);
              handler.onHead({ status: 200, reason: '', headers: [], bodyBytes: -1, hasBody: true, far });
            } else if (step === 'chunk' && phase.hasHead) handler.onBody(Buffer.from('y'));
            else if ((step === 'end' || step === 'far-end') && phase.hasHead)
              handler.onEnd([], step === 'end' ? null : farOf(farMs));
            else if (step === 'refused' && !phase.isAssigned) stream.fail(failures['connect-refused']);
            else if (step === 'reset' && phase.isAssigned) stream.fail(failures['upstream-reset']);
            else if (step === 'client-gone') receiver.onClientGone();
          }
          if (mesh.recorded.length === 0) receiver.onClientGone();
          finished++;
          expect(mesh.recorded).toHaveLength(1);
          const { totalMs, partsMs } = mesh.recorded[0]!;
          expect(Math.min(...partsMs)).toBeGreaterThanOrEqual(0);
          expect(partsMs.reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(totalMs, 6);
          expect(totalMs).toBeLessThanOrEqual(loopMs + mesh.clock.nowMs - head.readAtMs + 1e-6);
        },
      ),
      { numRuns: 500 },
    );
    expect(finished).toBeGreaterThanOrEqual(500);
  });

  it('have what a client waited for that left before a rule was chosen in decide', () => {
    const mesh = fakeMesh([], undefined, { discovery: { discover: () => {} } });
    const receiver = mesh.proxy.accept(fakeHead({ host: 'unknown' }), new FakeClient());
    mesh.clock.nowMs += 30;
    receiver.onClientGone();
    expect(mesh.recorded[0]).toMatchObject({ totalMs: 30, status: 499 });
    expect(mesh.recorded[0]!.partsMs[partIndex.decide]).toBe(30);
    expect(mesh.recorded[0]!.partsMs[partIndex.own]).toBe(0);
  });

  it.each([
    ['of an endpoint in transfer', '', [13, 10, 3, 0]],
    ['from here in own', 'unknown', [3, 0, 0, 3]],
  ])('have what it took to write an answer %s', (_, host, expected) => {
    const endpoint = new FakeEndpoint('a:1', 0, true);
    const mesh = fakeMesh([endpoint]);
    const client = new FakeClient();
    const end = client.end.bind(client);
    client.end = (trailers, timing) => {
      mesh.clock.nowMs += 3;
      end(trailers, timing);
    };
    const receiver = mesh.proxy.accept(fakeHead(host === '' ? {} : { host }), client);
    receiver.onRequestEnd([]);
    if (host === '') {
      endpoint.last.assign();
      mesh.clock.nowMs += 10;
      endpoint.last.answer(200);
    }
    const [{ totalMs, partsMs }] = mesh.recorded as [(typeof mesh.recorded)[0]];
    expect([totalMs, ...(['wait', 'transfer', 'own'] as const).map((part) => partsMs[partIndex[part]])]).toEqual(
      expected,
    );
  });

  it('split only the last attempt from the network, also where the far side says its time in a field', () => {
    const endpoint = new FakeEndpoint('a:1', 0, true);
    const second = new FakeEndpoint('b:1', 1, true);
    const mesh = fakeMesh([endpoint, second]);
    const client = new FakeClient();
    const receiver = mesh.proxy.accept(fakeHead({ headers: ['Weft-Timing', '1'] }), client);
    receiver.onRequestEnd([]);
    endpoint.last.assign();
    mesh.clock.nowMs += 10;
    // Waited for, and lost before anything was answered: an idempotent request goes elsewhere.
    endpoint.last.fail(failures['stale-connection'], true);
    second.last.assign();
    mesh.clock.nowMs += 7;
    second.last.answer(200, ['Server-Timing', 'wait;dur=5, total;dur=5']);
    const { partsMs } = mesh.recorded[0]!;
    expect([partsMs[partIndex.wait], partsMs[partIndex.network]]).toEqual([15, 2]);
  });
});
