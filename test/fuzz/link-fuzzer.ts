/** The loop of the fuzzer: makes inputs, runs them, keeps those that led somewhere new, and names the one that broke a promise. */
import { createHash } from 'node:crypto';
import { Inputs, randomFrom } from './link-inputs.ts';
import { runInput, sweep, type Trail } from './link-target.ts';

export interface FuzzOptions {
  readonly seed: number;
  readonly milliseconds: number;
  /** Inputs to begin with. */
  readonly corpus: readonly Buffer[];
  readonly onProgress?: (report: FuzzReport) => void;
}

export interface FuzzReport {
  executions: number;
  /** Distinct steps of behaviour: pairs of events that followed each other, of one target. */
  behaviours: number;
  /** Inputs that reached one of them first, smallest first. */
  kept: Buffer[];
  fault: { input: Buffer; error: Error } | null;
}

const batchInputs = 64;
const keptBytesMax = 128 * 1024 * 1024;
const progressMs = 30_000;
const distilledBytesMax = 4 * 1024;

export const nameOf = (input: Uint8Array): string => createHash('sha256').update(input).digest('hex').slice(0, 16);

export async function fuzz({ seed, milliseconds, corpus, onProgress }: FuzzOptions): Promise<FuzzReport> {
  const random = randomFrom(seed);
  const inputs = new Inputs(random);
  const seen = new Set<string>();
  const report: FuzzReport = { executions: 0, behaviours: 0, kept: [], fault: null };
  const pick = (): Buffer => report.kept[Math.floor(random() * report.kept.length)] ?? inputs.session();
  const startedAtMs = performance.now();
  let saidAtMs = startedAtMs;
  let keptBytes = 0;
  const next = [...corpus];
  for (;;) {
    const batch = next.splice(0, batchInputs);
    while (batch.length < batchInputs) batch.push(random() < 0.1 ? inputs.session() : inputs.changed(pick(), pick()));
    const results = await Promise.all(batch.map((input) => attempt(input)));
    results.forEach((result, i) => {
      report.executions++;
      if (result instanceof Error) report.fault ??= { input: batch[i]!, error: result };
      else if (newSteps(result, seen) > 0 && keptBytes < keptBytesMax) {
        report.kept.push(Buffer.from(batch[i]!));
        keptBytes += batch[i]!.length;
      }
    });
    report.behaviours = seen.size;
    sweep();
    const nowMs = performance.now();
    if (report.fault !== null || (nowMs - startedAtMs >= milliseconds && next.length === 0)) break;
    if (nowMs - saidAtMs >= progressMs) {
      saidAtMs = nowMs;
      onProgress?.(report);
    }
  }
  report.kept.sort((a, b) => a.length - b.length);
  return report;
}

async function attempt(input: Buffer): Promise<Trail | Error> {
  try {
    return await runInput(input);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function stepsOf(trail: Trail): string[] {
  return trail.slice(1).map((event, i) => `${trail[0]}|${trail[i]}|${event}`);
}

/** Adds the steps of a trail to those that were seen. Answers how many were not. */
function newSteps(trail: Trail, seen: Set<string>): number {
  const before = seen.size;
  for (const step of stepsOf(trail)) seen.add(step);
  return seen.size - before;
}

/** Few and small inputs that show much of what all show together: each time the one that adds most. */
export async function distilled(kept: readonly Buffer[], count: number): Promise<Buffer[]> {
  const small = kept.filter(({ length }) => length <= distilledBytesMax);
  const left = new Map<Buffer, Set<string>>();
  for (const input of small) left.set(input, new Set(stepsOf(await runInput(input))));
  const chosen: Buffer[] = [];
  while (chosen.length < count && left.size > 0) {
    const [best, steps] = [...left].reduce((most, one) => (one[1].size > most[1].size ? one : most));
    if (steps.size === 0) break;
    chosen.push(best);
    left.delete(best);
    const found = [...steps];
    for (const others of left.values()) for (const step of found) others.delete(step);
  }
  return chosen;
}
