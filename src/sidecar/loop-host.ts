/** An event loop in another thread, from that thread's side: a serving loop whose cold half is at the other end of a port. */
import { performance } from 'node:perf_hooks';
import { PatternQueue } from '../decisions/pattern-queue.ts';
import type { PatternBatch } from '../decisions/tasks.ts';
import { threadCpuMs } from '../decisions/thread-cpu.ts';
import { limits } from '../model/limits.ts';
import type { Discovery } from '../proxy/discovery.ts';
import { monotonicMs, SharedLiveState } from '../proxy/live-state.ts';
import { LimitedLog } from '../telemetry/limited-log.ts';
import type { Logger } from '../telemetry/logger.ts';
import { type Clock, systemClock } from './clock.ts';
import { HeldCredentials } from './identity/held-credentials.ts';
import { Instruments } from './instruments.ts';
import {
  type FromLoop,
  faultOf,
  type LoopCall,
  type LoopCallTypes,
  type LoopStart,
  type ToLoop,
} from './loop-messages.ts';
import { type DiscoveryAnswer, PendingHosts } from './pending-hosts.ts';
import { ServingLoop } from './serving-loop.ts';

/** How often it is looked whether the last lines have left. */
const lookMs = 5;

export type PostFromLoop = (message: FromLoop, transfer?: readonly ArrayBuffer[]) => void;

export class LoopHost {
  readonly #post: PostFromLoop;
  readonly #identity = new HeldCredentials();
  readonly #discovery: RemoteDiscovery;
  readonly #patterns: PatternQueue;
  readonly #matching = new Map<number, { resolve: (verdicts: Uint8Array) => void; reject: (error: Error) => void }>();
  readonly #instruments: Instruments;
  readonly #loop: ServingLoop;
  #lastBatch = 0;
  #linesWritten: (error: Error | null) => void = () => {};
  #spansTaken: () => void = () => {};
  /** Resolves after the message that closes it, when everything is closed. */
  readonly closed: Promise<void>;
  #resolveClosed: () => void = () => {};

  constructor({ options, live, own }: LoopStart, post: PostFromLoop) {
    this.#post = post;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    const logger = loggerOver(post);
    this.#discovery = new RemoteDiscovery(systemClock, (host) => post({ tag: 'discover', host }));
    this.#patterns = new PatternQueue({
      run: (batch, signal) => this.#match(batch, signal),
      onError: (error) => logger.error({ error: String(error) }, 'a worker failed'),
      nowMs: monotonicMs,
      threadCpuMs,
    });
    this.#instruments = new Instruments(options, {
      writeAccessLog:
        options.accessLog === null
          ? null
          : (bytes, done) => {
              this.#linesWritten = done;
              // A copy with memory of its own, which can be handed over: that of small buffers is shared with others.
              const lines = new Uint8Array(bytes);
              post({ tag: 'lines', bytes: lines }, [lines.buffer]);
            },
      takeSpans:
        options.tracing === null
          ? null
          : ({ bytes, spans }, taken) => {
              this.#spansTaken = taken;
              const copy = new Uint8Array(bytes);
              post({ tag: 'spans', batch: { bytes: copy, spans } }, [copy.buffer]);
            },
      onRow: (row) => post({ tag: 'row', row }),
    });
    this.#loop = new ServingLoop({
      options,
      instruments: this.#instruments,
      log: new LimitedLog(systemClock, logger),
      identity: this.#identity,
      discovery: this.#discovery,
      slowDecisions: this.#patterns,
      live: new SharedLiveState(monotonicMs, true, live),
      own: own === null ? null : { unit: own.unit, live: new SharedLiveState(monotonicMs, true, own.live) },
      onHostsUsed: (hosts) => post({ tag: 'hosts-used', hosts }),
      random: Math.random,
    });
  }

  onMessage(message: ToLoop): void {
    switch (message.tag) {
      case 'call':
        void this.#answer(message);
        break;
      case 'credentials':
        this.#identity.replace(message.credentials);
        break;
      case 'discovered':
        this.#discovery.answered(message.host, message.answer);
        break;
      case 'matched': {
        const { id, verdicts, reason } = message;
        const waiting = this.#matching.get(id);
        this.#matching.delete(id);
        if (verdicts === null) waiting?.reject(new Error(reason));
        else waiting?.resolve(verdicts);
        break;
      }
      case 'lines-written':
        this.#linesWritten(message.reason === null ? null : new Error(message.reason));
        break;
      case 'spans-taken':
        this.#spansTaken();
        break;
      case 'drain-links':
        this.#loop.drainLinks();
        break;
      case 'close':
        void this.#close();
        break;
      default:
        message satisfies never;
    }
  }

  async #answer(call: LoopCall): Promise<void> {
    const { id } = call;
    try {
      this.#post({ tag: 'answer', id, output: await this.#run(call) });
    } catch (error) {
      this.#post({ tag: 'refusal', id, fault: faultOf(error) });
    }
  }

  async #run(call: LoopCall): Promise<LoopCallTypes[LoopCall['name']]['output']> {
    switch (call.name) {
      case 'listen':
        return await this.#loop.listen(call.input);
      case 'swap':
        this.#loop.swapNow(call.input);
        return null;
      case 'read':
        return await this.#loop.readings();
      case 'requests':
        return await this.#loop.requests(call.input);
      case 'hops':
        return await this.#loop.hops(call.input);
      case 'drain-inbound':
        return await this.#loop.drainInbound(call.input);
      case 'settle':
        await this.#loop.settle(call.input);
        return null;
      default:
        return call satisfies never;
    }
  }

  /** For a `PatternQueue`, which has one batch at a time under way. */
  #match(batch: PatternBatch, signal: AbortSignal): Promise<Uint8Array> {
    const id = ++this.#lastBatch;
    return new Promise((resolve, reject) => {
      this.#matching.set(id, { resolve, reject });
      signal.addEventListener(
        'abort',
        () => {
          this.#matching.delete(id);
          this.#post({ tag: 'unmatch', id });
          reject(signal.reason);
        },
        { once: true },
      );
      this.#post({ tag: 'match', id, batch });
    });
  }

  async #close(): Promise<void> {
    await this.#loop.close();
    this.#patterns.close();
    this.#discovery.close();
    await this.#lastLines();
    this.#resolveClosed();
  }

  /** The lines of the last requests have left when this resolves, unless nobody takes them. */
  async #lastLines(): Promise<void> {
    const { accessLog } = this.#instruments;
    const endsAtMs = performance.now() + limits.loopCloseMs / 2;
    while (accessLog !== null && !accessLog.isIdle && performance.now() < endsAtMs)
      await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
}

/** Asks for each host once, however many requests wait for it; each of them waits as long as it would in the cold half. */
export class RemoteDiscovery implements Discovery {
  readonly #pending: PendingHosts;
  readonly #ask: (host: string) => void;

  constructor(clock: Clock, ask: (host: string) => void) {
    this.#pending = new PendingHosts(clock);
    this.#ask = ask;
  }

  discover(host: string, done: (answer: DiscoveryAnswer) => void): void {
    if (this.#pending.isFull) {
      done('discovery-full');
      return;
    }
    const isAsked = this.#pending.has(host);
    this.#pending.add(host, done);
    if (!isAsked) this.#ask(host);
  }

  /** A timeout there is that of a request that has timed out here, too; who waits now may have asked again. */
  answered(host: string, answer: DiscoveryAnswer): void {
    if (answer !== 'discovery-timeout') this.#pending.answer(host, answer);
  }

  close(): void {
    this.#pending.answerAll('discovery-timeout');
  }
}

/** Lines are written by the cold half, which writes whole ones; how many there are is limited on this side. */
function loggerOver(post: PostFromLoop): Logger {
  const log = (level: keyof Logger) => (fields: object, message: string) =>
    post({ tag: 'log', level, fields, message });
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error'), fatal: log('fatal') };
}
