/** Clients that write and read a few objects through the REST APIs of several control planes at once, and keep what they did and were told. */
import { seededRandom } from '../fixtures/service-unit.ts';
import type { StoreOperation, Values, WriteOperation } from '../fixtures/store-history.ts';

export const registers: readonly string[] = ['r0', 'r1', 'r2'];
/** Written and deleted together, always with the same value. */
export const pairs: readonly (readonly [string, string])[] = [
  ['p0-left', 'p0-right'],
  ['p1-left', 'p1-right'],
];
export const groups: readonly (readonly string[])[] = [...registers.map((name) => [name]), ...pairs];
const names: readonly string[] = groups.flat();

export interface StoreClientsOptions {
  /** API addresses, HOST:PORT. */
  readonly planes: readonly string[];
  readonly seed: number;
  readonly clients: number;
  /** Each client pauses so long at most between two operations. */
  readonly pauseMsMax: number;
}

/** How long one try may take; an impatient client gives it up soon, and asks another control plane under the same request id. */
const tryMs = 8_000;
const impatientMs = 150;
const giveUpMs = 40_000;
const retryPauseMs = 30;

interface Known {
  readonly value: string | null;
  /** 0: it does not exist. */
  readonly revision: number;
}

interface Wish {
  readonly expects: Values;
  readonly sets: Values;
  readonly method: 'PUT' | 'DELETE' | 'POST';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: (id: string) => object;
}

type Answer =
  | { readonly tag: 'done'; readonly revision: number }
  | { readonly tag: 'refused' }
  /** No answer, or 503: done or not. */
  | { readonly tag: 'unclear'; readonly why: string };

export class StoreClients {
  readonly operations: StoreOperation[] = [];
  /** When each write was acknowledged, ascending. */
  readonly acknowledgedAtMs: number[] = [];
  /** Answers that no fault explains. */
  readonly surprises: string[] = [];
  /** Writes that were sent more than once until they had an answer; and those that were sent once more after it, which must get the same. */
  readonly counts = { retried: 0, repeated: 0 };
  /** Why tries had no clear answer, and how often. */
  readonly unclear = new Map<string, number>();
  readonly #options: StoreClientsOptions;
  readonly #random: () => number;
  readonly #known = new Map<string, Known>(names.map((name) => [name, { value: null, revision: 0 }]));
  #next = 0;
  #isStopped = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: StoreClientsOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
  }

  start(): void {
    const work = async () => {
      while (!this.#isStopped) {
        await this.#act();
        await pause(this.#random() * this.#options.pauseMsMax);
      }
    };
    this.#running = Promise.all(Array.from({ length: this.#options.clients }, work));
  }

  /** Resolves when each has its last answer, or has given up waiting for it. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
  }

  /** All objects, as one control plane has them. Null: no answer. */
  async readAll(plane: string): Promise<number | null> {
    const calledAtMs = performance.now();
    const answer = await ask(plane, 'GET', '/v1/services?namespace=default&consistent=1', {}, undefined, tryMs);
    if (answer.tag !== 'answer' || answer.status !== 200) {
      this.#noteUnclear(answer);
      return null;
    }
    const { items, revision } = answer.body as { items: readonly Shown[]; revision: number };
    const found = new Map(items.map((item) => [item.metadata.name, knownOf(item)]));
    const saw = new Map(names.map((name) => [name, found.get(name)?.value ?? null]));
    const answeredAtMs = performance.now();
    this.operations.push({ tag: 'read', id: `read-${this.#next++}`, calledAtMs, answeredAtMs, saw, at: revision });
    for (const name of names) this.#known.set(name, found.get(name) ?? { value: null, revision: 0 });
    return revision;
  }

  async #act(): Promise<void> {
    const kind = this.#random();
    if (kind < 0.25) await this.readAll(this.#plane());
    else if (kind < 0.4) await this.#readOne(this.#one(registers));
    else if (kind < 0.75) await this.#write(this.#registerWish(this.#one(registers)));
    else await this.#write(this.#pairWish(this.#one(pairs)));
  }

  async #readOne(name: string): Promise<void> {
    const calledAtMs = performance.now();
    const path = `/v1/services/default/${name}?consistent=1`;
    const answer = await ask(this.#plane(), 'GET', path, {}, undefined, tryMs);
    if (answer.tag !== 'answer' || (answer.status !== 200 && answer.status !== 404)) {
      this.#noteUnclear(answer);
      return;
    }
    const known = answer.status === 404 ? { value: null, revision: 0 } : knownOf(answer.body as Shown);
    const answeredAtMs = performance.now();
    const saw = new Map([[name, known.value]]);
    this.operations.push({ tag: 'read', id: `read-${this.#next++}`, calledAtMs, answeredAtMs, saw, at: null });
    this.#known.set(name, known);
  }

  /** What is known may be long out of date: then the condition does not hold. */
  #registerWish(name: string): Wish {
    const { value, revision } = this.#known.get(name)!;
    const path = `/v1/services/default/${name}`;
    const expects = new Map([[name, value]]);
    const how = this.#random();
    if (revision > 0 && how < 0.2)
      return {
        ...{ method: 'DELETE', path, expects, sets: new Map([[name, null]]) },
        headers: { 'if-match': `"${revision}"` },
      };
    const sets = new Map([[name, 'own id']]);
    const body = (id: string) => service(name, id);
    if (how < 0.4) return { method: 'PUT', path, expects: new Map(), sets, body };
    const headers = revision === 0 ? { 'if-none-match': '*' } : { 'if-match': `"${revision}"` };
    return { method: 'PUT', path, expects, sets, headers, body };
  }

  #pairWish(pair: readonly [string, string]): Wish {
    const known = pair.map((name) => ({ name, ...this.#known.get(name)! }));
    const expects = new Map(known.map(({ name, value }) => [name, value]));
    const base = { method: 'POST', path: '/v1/transactions' } as const;
    const how = this.#random();
    if (known.every(({ revision }) => revision > 0) && how < 0.25) {
      const removed = known.map(({ name, revision }) => ({ kind: 'Service', name, resourceVersion: `${revision}` }));
      return { ...base, expects, sets: new Map(pair.map((name) => [name, null])), body: () => ({ delete: removed }) };
    }
    const sets = new Map(pair.map((name) => [name, 'own id']));
    if (how < 0.5) {
      const body = (id: string) => ({ apply: pair.map((name) => service(name, id)) });
      return { ...base, expects: new Map(), sets, body };
    }
    const body = (id: string) => ({ apply: known.map(({ name, revision }) => service(name, id, revision)) });
    return { ...base, expects, sets, body };
  }

  async #write(wish: Wish): Promise<void> {
    const id = `write-${this.#next++}`;
    const sets = new Map([...wish.sets].map(([name, value]) => [name, value === null ? null : id]));
    const calledAtMs = performance.now();
    const record = (outcome: WriteOperation['outcome'], answeredAtMs: number | null) =>
      this.operations.push({ tag: 'write', id, calledAtMs, answeredAtMs, expects: wish.expects, sets, outcome });
    const isImpatient = this.#random() < 0.3;
    const triesMax = this.#random() < 0.1 ? 1 : Number.POSITIVE_INFINITY;
    for (let tries = 1; tries <= triesMax && performance.now() < calledAtMs + giveUpMs; tries++) {
      const answer = await this.#send(wish, id, isImpatient && tries === 1 ? impatientMs : tryMs);
      const answeredAtMs = performance.now();
      if (answer.tag === 'unclear') {
        await pause(retryPauseMs);
        continue;
      }
      if (tries > 1) this.counts.retried++;
      record(answer, answeredAtMs);
      if (answer.tag === 'refused') return;
      this.acknowledgedAtMs.push(answeredAtMs);
      for (const [name, value] of sets)
        this.#known.set(name, { value, revision: value === null ? 0 : answer.revision });
      if (this.#random() < 0.1) await this.#repeat(wish, id, answer.revision);
      return;
    }
    record({ tag: 'unknown' }, null);
  }

  /** A request that arrives twice gets the answer of the first, from whichever control plane. */
  async #repeat(wish: Wish, id: string, revision: number): Promise<void> {
    const again = await this.#send(wish, id, tryMs);
    if (again.tag === 'unclear') return;
    this.counts.repeated++;
    if (again.tag !== 'done' || again.revision !== revision)
      this.surprises.push(`${id} was revision ${revision}, and sent again it was ${JSON.stringify(again)}`);
  }

  async #send({ method, path, headers, body }: Wish, id: string, timeoutMs: number): Promise<Answer> {
    const all = { ...headers, 'idempotency-key': id, 'weft-actor': id };
    const answer = await ask(this.#plane(), method, path, all, body?.(id), timeoutMs);
    if (answer.tag === 'answer') {
      const { status } = answer;
      // A PUT says it in its ETag, what may be about several objects in its body.
      const revision = method === 'PUT' ? answer.etag : (answer.body as { revision: number }).revision;
      if (status === 200 || status === 201) return { tag: 'done', revision };
      if (status === 412) return { tag: 'refused' };
      if (status !== 503) this.surprises.push(`${method} ${path} (${id}): ${status} ${JSON.stringify(answer.body)}`);
    }
    return { tag: 'unclear', why: this.#noteUnclear(answer) };
  }

  #noteUnclear(answer: HttpAnswer): string {
    const why = answer.tag === 'none' ? answer.why : `${answer.status} ${(answer.body as { detail?: string }).detail}`;
    this.unclear.set(why, (this.unclear.get(why) ?? 0) + 1);
    return why;
  }

  readonly #plane = (): string => this.#one(this.#options.planes);

  #one<T>(all: readonly T[]): T {
    return all[Math.floor(this.#random() * all.length)]!;
  }
}

interface Shown {
  readonly metadata: {
    readonly name: string;
    readonly resourceVersion: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

const knownOf = ({ metadata }: Shown): Known => ({
  value: metadata.annotations?.['written-by'] ?? 'nobody',
  revision: Number(metadata.resourceVersion),
});

/** `revision` is what it is expected to be at; 0: not to exist. */
const service = (name: string, id: string, revision?: number) => ({
  apiVersion: 'weft.mesh/v1',
  kind: 'Service',
  metadata: {
    ...{ name, namespace: 'default', annotations: { 'written-by': id } },
    ...(revision === undefined ? {} : { resourceVersion: `${revision}` }),
  },
  spec: {},
});

/** The value of an object that a client here has written, as the API shows it. */
export const writerOf = (object: object): string | null => knownOf(object as Shown).value;

type HttpAnswer =
  | { readonly tag: 'answer'; readonly status: number; readonly etag: number; readonly body: unknown }
  | { readonly tag: 'none'; readonly why: string };

async function ask(
  plane: string,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body: object | undefined,
  timeoutMs: number,
): Promise<HttpAnswer> {
  const content = body === undefined ? {} : { body: JSON.stringify(body) };
  const type = body === undefined ? {} : { 'content-type': 'application/json' };
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(`http://${plane}${path}`, {
      method,
      headers: { ...headers, ...type },
      ...content,
      signal,
    });
    const etag = Number(/\d+/.exec(response.headers.get('etag') ?? '')?.[0]);
    return { tag: 'answer', status: response.status, etag, body: await response.json() };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const { cause } = error as { cause?: { code?: string } };
    return { tag: 'none', why: cause?.code ?? error.name };
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** The longest time without an acknowledgement between two moments, the last one before the first of them included, ms. */
export function longestGap(acknowledgedAtMs: readonly number[], sinceMs: number, untilMs: number): number {
  const first = Math.max(
    0,
    acknowledgedAtMs.findLastIndex((atMs) => atMs <= sinceMs),
  );
  let longest = 0;
  let before = acknowledgedAtMs[first] ?? sinceMs;
  for (let index = first + 1; index < acknowledgedAtMs.length && before < untilMs; index++) {
    const atMs = acknowledgedAtMs[index]!;
    longest = Math.max(longest, atMs - before);
    before = atMs;
  }
  return longest;
}
