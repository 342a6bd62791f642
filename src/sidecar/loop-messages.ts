/**
 * What crosses between the cold half of a sidecar and an event loop in a thread. The cold half calls, and each call is answered once; both
 * tell each other things besides, in order. Both ends are of one build, so what arrives is what was sent.
 */
import type { PatternBatch } from '../decisions/tasks.ts';
import type { RecentQuery } from '../model/recent-request.ts';
import type { CompiledUnit } from '../proxy/compiled-unit.ts';
import type { LinkCredentials } from '../proxy/link/link-identity.ts';
import { ListenError, type ListenErrorCode } from '../proxy/listener/listen-error.ts';
import type { HopRows } from '../telemetry/breakdown.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { NewRow } from '../telemetry/series.ts';
import type { LoopChange, LoopOptions, LoopReadings, LoopRequests, WantedListener } from './loop.ts';
import type { DiscoveryAnswer } from './pending-hosts.ts';
import type { SpanBatch } from './span-exporter.ts';

/** What a thread is started with. */
export interface LoopStart {
  readonly options: LoopOptions;
  /** Memory of the live state of the outbound side. */
  readonly live: SharedArrayBuffer;
  /** Null: there is no app. */
  readonly own: { readonly unit: CompiledUnit; readonly live: SharedArrayBuffer } | null;
}

/** By name: what a loop is given, and what it answers. */
export interface LoopCallTypes {
  readonly listen: { readonly input: WantedListener; readonly output: string };
  readonly swap: { readonly input: LoopChange; readonly output: null };
  readonly read: { readonly input: null; readonly output: LoopReadings };
  readonly requests: { readonly input: RecentQuery; readonly output: LoopRequests };
  /** Of which Service; empty: all. */
  readonly hops: { readonly input: string; readonly output: readonly HopRows[] };
  /** `waitMs` */
  readonly 'drain-inbound': { readonly input: number; readonly output: number };
  /** `waitMs` */
  readonly settle: { readonly input: number; readonly output: null };
}
export type LoopCallName = keyof LoopCallTypes;
export type LoopCall = {
  readonly [Name in LoopCallName]: {
    readonly tag: 'call';
    readonly id: number;
    readonly name: Name;
    readonly input: LoopCallTypes[Name]['input'];
  };
}[LoopCallName];

/** To the loop. */
export type ToLoop =
  | LoopCall
  | { readonly tag: 'credentials'; readonly credentials: LinkCredentials }
  | { readonly tag: 'discovered'; readonly host: string; readonly answer: DiscoveryAnswer }
  /** `verdicts` null: the batch failed, for this reason. */
  | { readonly tag: 'matched'; readonly id: number; readonly verdicts: Uint8Array | null; readonly reason: string }
  /** The lines that came last were written (or why not): the next ones may come. */
  | { readonly tag: 'lines-written'; readonly reason: string | null }
  /** The spans that came last were taken: the next ones may come. */
  | { readonly tag: 'spans-taken' }
  | { readonly tag: 'drain-links' }
  /** The last message: the loop closes everything, and its thread ends by itself. */
  | { readonly tag: 'close' };

/** From the loop. */
export type FromLoop =
  | { readonly tag: 'answer'; readonly id: number; readonly output: LoopCallTypes[LoopCallName]['output'] }
  | { readonly tag: 'refusal'; readonly id: number; readonly fault: CallFault }
  /** A new row of the loop's table; `block`: new memory that holds it, null: it lies in the last one. */
  | { readonly tag: 'row'; readonly row: NewRow }
  | { readonly tag: 'discover'; readonly host: string }
  | { readonly tag: 'match'; readonly id: number; readonly batch: PatternBatch }
  /** Nobody waits for this batch any more: whatever evaluates it is ended. */
  | { readonly tag: 'unmatch'; readonly id: number }
  | { readonly tag: 'hosts-used'; readonly hosts: readonly string[] }
  | { readonly tag: 'log'; readonly level: keyof Logger; readonly fields: object; readonly message: string }
  /** Whole lines of the access log. No more of them come before `lines-written`. */
  | { readonly tag: 'lines'; readonly bytes: Uint8Array }
  /** Encoded. No more of them come before `spans-taken`. */
  | { readonly tag: 'spans'; readonly batch: SpanBatch }
  /** An error that nobody has handled: the loop is in a state that nobody thought of. */
  | { readonly tag: 'fault'; readonly text: string };

/** An error as it crosses: the class of one would not. */
export type CallFault =
  | { readonly tag: 'listen'; readonly code: ListenErrorCode; readonly address: string; readonly message: string }
  | { readonly tag: 'other'; readonly message: string };

export function faultOf(error: unknown): CallFault {
  if (error instanceof ListenError) {
    const { code, address, message } = error;
    return { tag: 'listen', code, address, message };
  }
  return { tag: 'other', message: error instanceof Error ? error.message : String(error) };
}

export function errorOf(fault: CallFault): Error {
  if (fault.tag === 'other') return new Error(fault.message);
  const error = new ListenError(fault.code, fault.address);
  // What was said there, which may name the flag.
  error.message = fault.message;
  return error;
}
