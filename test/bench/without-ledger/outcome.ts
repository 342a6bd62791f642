/** Stands in for src/proxy/outcome.ts in a build without the ledger: failures are counted, and nothing is kept of a request. */
import type { Exchange } from '../../../src/proxy/exchange.ts';
import type { Failure } from '../../../src/proxy/failure.ts';
import type { OutcomeSinks } from '../../../src/proxy/outcome.ts';

export const closeParts = (_exchange: Exchange, _nowMs: number): number => 0;

export function recordOutcome(
  _exchange: Exchange,
  failure: Failure | null,
  _detail: string,
  _nowMs: number,
  sinks: OutcomeSinks,
): void {
  if (failure !== null) sinks.recorder.countFailure(sinks.direction, failure.code);
}
