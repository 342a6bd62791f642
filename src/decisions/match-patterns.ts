/** Evaluates users' regular expressions in a worker, where a catastrophic one stalls nobody's event loop. */
import { monotonicMs } from '../proxy/live-state.ts';
import { type PatternBatch, Progress } from './tasks.ts';
import { kernelThreadId, threadCpuMs } from './thread-cpu.ts';

const threadId = kernelThreadId();

/** Built expressions, by source. Emptied when full: configuration that changes for ever must not fill the worker. */
const expressions = new Map<string, RegExp>();
const expressionsMax = 4_096;

export function matchPatterns({ sources, patternOf, subjects, progress }: PatternBatch): Uint8Array {
  const witness = new Progress(progress);
  const batch = sources.map(expressionOf);
  const verdicts = new Uint8Array(subjects.length);
  witness.start(threadId, threadCpuMs(threadId));
  for (let i = 0; i < subjects.length; i++) {
    witness.begin(i, monotonicMs());
    verdicts[i] = batch[patternOf[i]!]!.test(subjects[i]!) ? 1 : 0;
  }
  witness.end();
  return verdicts;
}

/** The whole subject must match, as in Envoy, for paths, headers and query parameters alike (Gateway API leaves it open). */
function expressionOf(source: string): RegExp {
  const known = expressions.get(source);
  if (known !== undefined) return known;
  if (expressions.size >= expressionsMax) expressions.clear();
  const expression = new RegExp(`^(?:${source})$`);
  expressions.set(source, expression);
  return expression;
}
