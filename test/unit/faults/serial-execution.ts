/** Histories that are right by construction: a store that really does one operation after the other, and clients that hear of it early or late. */
import fc from 'fast-check';
import type { LoggedWrite, StoreOperation, Values, WriteOperation } from '../../fixtures/store-history.ts';

export const groups: readonly (readonly string[])[] = [['a'], ['b'], ['left', 'right']];

/** What a client does. Times are in steps: an operation takes effect at its own step. */
export interface Deed {
  readonly group: number;
  readonly what: 'read' | 'read-all' | 'put' | 'replace' | 'delete';
  /** Whether a condition is what is there, or what was there before. */
  readonly isCurrent: boolean;
  readonly stepsBefore: number;
  readonly stepsAfter: number;
  /** When a write without an answer happens: now, so many steps later, or never (null). */
  readonly answer: 'comes' | { readonly happensIn: number | null };
}

const steps = fc.double({ min: 0, max: 6, noNaN: true });

export const deeds: fc.Arbitrary<readonly Deed[]> = fc.array(
  fc.record({
    group: fc.nat(groups.length - 1),
    what: fc.constantFrom('read', 'read-all', 'put', 'put', 'replace', 'replace', 'delete'),
    isCurrent: fc.boolean(),
    stepsBefore: steps,
    stepsAfter: steps,
    answer: fc.oneof(
      { weight: 9, arbitrary: fc.constant('comes' as const) },
      { weight: 1, arbitrary: fc.record({ happensIn: fc.option(fc.nat(12)) }) },
    ),
  }),
  { minLength: 1, maxLength: 60 },
);

export interface Execution {
  readonly operations: readonly StoreOperation[];
  readonly log: readonly LoggedWrite[];
}

export function execute(all: readonly Deed[]): Execution {
  const store = new SerialStore();
  const operations: StoreOperation[] = [];
  const late: { readonly step: number; readonly write: WriteOperation }[] = [];
  for (const [step, deed] of all.entries()) {
    for (const one of late) if (one.step === step) store.write(one.write);
    const keys = groups[deed.group]!;
    const isAnswered = deed.answer === 'comes' || deed.what === 'read' || deed.what === 'read-all';
    const [calledAtMs, answeredAtMs] = [step - deed.stepsBefore, isAnswered ? step + deed.stepsAfter : null];
    const call = { id: `op-${step}`, calledAtMs, answeredAtMs };
    if (deed.what === 'read' || deed.what === 'read-all') {
      const saw = store.values(deed.what === 'read' ? keys : groups.flat());
      operations.push({ ...call, tag: 'read', saw, at: deed.what === 'read' ? null : store.revision });
      continue;
    }
    const sets = new Map(keys.map((key) => [key, deed.what === 'delete' ? null : `${key}-${step}`]));
    const expects = deed.what === 'put' ? new Map() : deed.isCurrent ? store.values(keys) : store.earlier(keys);
    const write: WriteOperation = { ...call, tag: 'write', expects, sets, outcome: { tag: 'unknown' } };
    if (!isAnswered) {
      operations.push(write);
      const { happensIn } = deed.answer as Exclude<Deed['answer'], 'comes'>;
      if (happensIn === 0) store.write(write);
      else if (happensIn !== null) late.push({ step: step + happensIn, write });
      continue;
    }
    operations.push({ ...write, outcome: store.write(write) });
  }
  return { operations, log: store.log };
}

class SerialStore {
  readonly log: LoggedWrite[] = [];
  readonly #state = new Map<string, string | null>();
  readonly #before = new Map<string, string | null>();

  get revision(): number {
    return this.log.length;
  }

  values(keys: readonly string[]): Values {
    return new Map(keys.map((key) => [key, this.#state.get(key) ?? null]));
  }

  /** As they were before their last change. */
  earlier(keys: readonly string[]): Values {
    return new Map(keys.map((key) => [key, this.#before.get(key) ?? null]));
  }

  write({ id, expects, sets }: WriteOperation): Exclude<WriteOperation['outcome'], { tag: 'unknown' }> {
    for (const [key, value] of expects) if ((this.#state.get(key) ?? null) !== value) return { tag: 'refused' };
    const changes = new Map<string, string | null>();
    for (const [key, value] of sets) {
      this.#before.set(key, this.#state.get(key) ?? null);
      this.#state.set(key, value);
      changes.set(key, value);
    }
    this.log.push({ revision: this.log.length + 1, who: id, changes });
    return { tag: 'done', revision: this.log.length };
  }
}
