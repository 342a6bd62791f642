/** An event loop in another thread, from the cold half's side: calls become messages, and what the loop cannot decide is answered here. */

import type { PatternBatch } from '../decisions/tasks.ts';
import { limits } from '../model/limits.ts';
import type { RecentQuery } from '../model/recent-request.ts';
import type { CompiledUnit } from '../proxy/compiled-unit.ts';
import type { Discovery } from '../proxy/discovery.ts';
import type { LinkIdentity } from '../proxy/link/link-identity.ts';
import type { AccessLogWriter } from '../telemetry/access-log.ts';
import type { HopRows } from '../telemetry/breakdown.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { SeriesLabels, SeriesTable } from '../telemetry/series.ts';
import type { Clock } from './clock.ts';
import type { Loop, LoopChange, LoopReadings, LoopRequests, WantedListener } from './loop.ts';
import {
  errorOf,
  type FromLoop,
  type LoopCall,
  type LoopCallName,
  type LoopCallTypes,
  type ToLoop,
} from './loop-messages.ts';
import type { TakeSpans } from './span-exporter.ts';

/** What the cold half answers a loop, and does for it. */
export interface LoopServices {
  readonly identity: LinkIdentity;
  readonly discovery: Discovery;
  /** Evaluates a batch in the worker pool. An abort ends that, and rejects. */
  readonly matchPatterns: (batch: PatternBatch, signal: AbortSignal) => Promise<Uint8Array>;
  readonly writeAccessLog: AccessLogWriter | null;
  /** Null: no spans come. */
  readonly takeSpans: TakeSpans | null;
  readonly logger: Logger;
  readonly onHostsUsed: (hosts: readonly string[]) => void;
  /** The loop met an error that nobody handled: it must not go on. */
  readonly onFault: (error: Error) => void;
  readonly clock: Clock;
}

export interface RemoteLoopOptions extends LoopServices {
  /** From 1: the first loop is the cold half's own. */
  readonly loop: number;
  readonly post: (message: ToLoop) => void;
  /** Resolves when its thread has ended. */
  readonly ended: Promise<void>;
}

interface Waiting {
  /** The output of the call that it waits for. */
  readonly resolve: (output: never) => void;
  readonly reject: (error: Error) => void;
  readonly cancelTimer: () => void;
}

/** Of a loop that has answered nothing yet. */
const noReadings: LoopReadings = {
  upstreams: [],
  listeners: [],
  failures: [],
  retries: [],
  loop: { longestTurnMs: 0, utilization: 0 },
  requests: 0,
  overflowed: 0,
  accessLogLinesDropped: 0,
  accessLogLinesLeftOut: 0,
  spansDropped: { 'queue-full': 0, 'over-rate': 0 },
  revision: 0,
};

export class RemoteLoop implements Loop {
  readonly #options: RemoteLoopOptions;
  readonly #waiting = new Map<number, Waiting>();
  readonly #matching = new Map<number, AbortController>();
  readonly #blocks: SharedArrayBuffer[] = [];
  readonly #labels: SeriesLabels[] = [];
  readonly #generations: number[] = [];
  readonly #stopFollowing: () => void;
  #lastId = 0;
  #readings = noReadings;
  #postedOwn: CompiledUnit | null = null;

  constructor(options: RemoteLoopOptions) {
    this.#options = options;
    const { identity, post } = options;
    const follow = () => {
      if (identity.current !== null) post({ tag: 'credentials', credentials: identity.current });
    };
    follow();
    this.#stopFollowing = identity.onChange(follow);
    void options.ended.then(() => this.#ended());
  }

  table(): SeriesTable {
    return { blocks: this.#blocks, labels: this.#labels, generations: this.#generations };
  }

  // --- Calls ---------------------------------------------------------------------------------------------------------------------

  listen(wanted: WantedListener): Promise<string> {
    return this.#call('listen', wanted, limits.loopAnswerMs);
  }

  async swap(change: LoopChange): Promise<void> {
    const own = change.own === this.#postedOwn ? null : change.own;
    this.#postedOwn = change.own;
    await this.#call('swap', { ...change, own }, limits.loopAnswerMs);
  }

  async readings(): Promise<LoopReadings> {
    try {
      this.#readings = await this.#call('read', null, limits.loopReadingMs);
    } catch {
      // It is too busy to say, or ending: what it said last is better than no metrics of all the others.
    }
    return this.#readings;
  }

  /** Null is said to whoever asks. */
  requests(query: RecentQuery): Promise<LoopRequests | null> {
    return this.#call('requests', query, limits.loopReadingMs).catch(() => null);
  }

  hops(service: string): Promise<readonly HopRows[] | null> {
    return this.#call('hops', service, limits.loopReadingMs).catch(() => null);
  }

  drainLinks(): void {
    this.#options.post({ tag: 'drain-links' });
  }

  async drainInbound(waitMs: number): Promise<number> {
    try {
      return await this.#call('drain-inbound', waitMs, waitMs + limits.loopCloseMs);
    } catch (error) {
      this.#warn(error, 'an event loop did not drain');
      return 0;
    }
  }

  async settle(waitMs: number): Promise<void> {
    try {
      await this.#call('settle', waitMs, waitMs + limits.loopCloseMs);
    } catch (error) {
      this.#warn(error, 'an event loop did not finish its calls');
    }
  }

  async close(): Promise<void> {
    const { clock, ended, post } = this.#options;
    post({ tag: 'close' });
    let cancelTimer = () => {};
    const isLate = new Promise<true>((resolve) => {
      cancelTimer = clock.after(limits.loopCloseMs, () => resolve(true));
    });
    if ((await Promise.race([ended, isLate])) === true)
      this.#warn(new Error(`it has not ended after ${limits.loopCloseMs} ms`), 'an event loop did not close');
    cancelTimer();
  }

  #warn(error: unknown, message: string): void {
    const { logger, loop } = this.#options;
    logger.warn({ loop, reason: error instanceof Error ? error.message : String(error) }, message);
  }

  #call<Name extends LoopCallName>(
    name: Name,
    input: LoopCallTypes[Name]['input'],
    withinMs: number,
  ): Promise<LoopCallTypes[Name]['output']> {
    const { clock, loop, post } = this.#options;
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const cancelTimer = clock.after(withinMs, () => {
        this.#waiting.delete(id);
        reject(new Error(`event loop ${loop} did not answer "${name}" within ${withinMs} ms`));
      });
      this.#waiting.set(id, { resolve, reject, cancelTimer });
      // Name and input belong together; TypeScript does not follow that through a union.
      post({ tag: 'call', id, name, input } as LoopCall);
    });
  }

  // --- From the loop -------------------------------------------------------------------------------------------------------------

  onMessage(message: FromLoop): void {
    const { discovery, logger, loop, onFault, onHostsUsed, post, takeSpans } = this.#options;
    switch (message.tag) {
      case 'answer':
        // A loop answers a call by the type of its name.
        this.#take(message.id)?.resolve(message.output as never);
        break;
      case 'refusal':
        this.#take(message.id)?.reject(errorOf(message.fault));
        break;
      case 'row':
        if (message.row.block !== null) this.#blocks.push(message.row.block);
        this.#labels[message.row.index] = message.row.labels;
        this.#generations[message.row.index] = message.row.generation;
        break;
      case 'discover': {
        const { host } = message;
        discovery.discover(host, (answer) => post({ tag: 'discovered', host, answer }));
        break;
      }
      case 'match':
        this.#match(message.id, message.batch);
        break;
      case 'unmatch':
        this.#matching.get(message.id)?.abort();
        break;
      case 'hosts-used':
        onHostsUsed(message.hosts);
        break;
      case 'log':
        logger[message.level]({ ...message.fields, loop }, message.message);
        break;
      case 'lines':
        this.#writeLines(message.bytes);
        break;
      case 'spans':
        takeSpans?.(message.batch, () => post({ tag: 'spans-taken' }));
        break;
      case 'fault':
        onFault(new Error(`event loop ${loop} failed, and with it this sidecar: ${message.text}`));
        break;
      default:
        message satisfies never;
    }
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    waiting?.cancelTimer();
    return waiting;
  }

  #match(id: number, batch: PatternBatch): void {
    const { matchPatterns, post } = this.#options;
    const abort = new AbortController();
    this.#matching.set(id, abort);
    const answer = (verdicts: Uint8Array | null, reason: string) => {
      this.#matching.delete(id);
      post({ tag: 'matched', id, verdicts, reason });
    };
    matchPatterns(batch, abort.signal).then(
      (verdicts) => answer(verdicts, ''),
      (error: unknown) => answer(null, String(error)),
    );
  }

  #writeLines(bytes: Uint8Array): void {
    const { post, writeAccessLog } = this.#options;
    writeAccessLog?.(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), (error) =>
      post({ tag: 'lines-written', reason: error === null ? null : error.message }),
    );
  }

  #ended(): void {
    this.#stopFollowing();
    for (const id of [...this.#waiting.keys()])
      this.#take(id)!.reject(new Error(`event loop ${this.#options.loop} has ended`));
    for (const abort of this.#matching.values()) abort.abort();
  }
}
