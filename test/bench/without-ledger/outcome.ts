/** Stands in for src/proxy/outcome.ts in a build without the ledger: requests and failures are counted and timed as a whole, and nothing is kept of one. */
import type { Exchange } from '../../../src/proxy/exchange.ts';
import type { Failure } from '../../../src/proxy/failure.ts';
import type { OutcomeSinks } from '../../../src/proxy/outcome.ts';

export const closeTotal = (_exchange: Exchange, _nowMs: number): number => 0;

export function recordOutcome(
  { head, destination, service, action, status, attempts, partsMs }: Exchange,
  failure: Failure | null,
  _detail: string,
  nowMs: number,
  { recorder, direction, source }: OutcomeSinks,
): void {
  recorder
    .series(direction, head.source === '' ? source : head.source, destination ?? service, action, status)
    .record(nowMs - head.readAtMs, partsMs, failure !== null, attempts);
  if (failure !== null) recorder.countFailure(direction, failure.code);
}
