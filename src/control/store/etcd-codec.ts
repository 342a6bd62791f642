/** Between the store's words for etcd and those of the package etcd3: requests, answers, and what an error means. */
import { strict as assert } from 'node:assert';
import type {
  ICompare,
  IEvent,
  IKeyValue,
  IRangeRequest,
  IRangeResponse,
  IRequestOp,
  IResponseOp,
  ITxnRequest,
  ITxnResponse,
} from 'etcd3';
import {
  type EtcdCondition,
  type EtcdEntry,
  type EtcdEvent,
  EtcdFailure,
  type EtcdFailureCode,
  type EtcdOperation,
} from './etcd-calls.ts';

export const entryOf = ({ key, value, mod_revision, create_revision }: IKeyValue): EtcdEntry => ({
  key: key.toString('utf8'),
  bytes: value,
  modRevision: Number(mod_revision),
  createRevision: Number(create_revision),
});

export function eventOf({ type, kv }: IEvent): EtcdEvent {
  if (type === 'Put') return { tag: 'put', entry: entryOf(kv) };
  return { tag: 'delete', key: kv.key.toString('utf8'), modRevision: Number(kv.mod_revision) };
}

export const compareOf = ({ key, at, is }: EtcdCondition): ICompare => ({
  result: 'Equal',
  key: Buffer.from(key),
  ...(at === 'modRevision' ? { target: 'Mod', mod_revision: is } : { target: 'Create', create_revision: is }),
});

/** One with a condition of its own becomes a transaction within the transaction. */
export function operationOf(operation: EtcdOperation): IRequestOp {
  const request = requestOf(operation);
  if (operation.tag === 'delete-range' || operation.ifModRevision === undefined) return request;
  const condition = compareOf({ key: operation.key, at: 'modRevision', is: operation.ifModRevision });
  return { request_txn: { compare: [condition], success: [request] } };
}

function requestOf(operation: EtcdOperation): IRequestOp {
  switch (operation.tag) {
    case 'put': {
      const { key, value, lease } = operation;
      const of = { key: Buffer.from(key), value: Buffer.from(value as string) };
      return { request_put: lease === undefined ? of : { ...of, lease } };
    }
    case 'delete':
      return { request_delete_range: { key: Buffer.from(operation.key) } };
    case 'delete-range':
      return { request_delete_range: { key: Buffer.from(operation.from), range_end: Buffer.from(operation.to) } };
    default:
      return operation satisfies never;
  }
}

/**
 * A read that goes through etcd's log: a transaction that would delete, under a condition that never holds (no revision is below 0), and reads
 * otherwise. What only reads would be answered like any other read (etcd, v3_server.go `isTxnReadonly`).
 */
export const asWrite = (range: IRangeRequest & { readonly key: Buffer }): ITxnRequest => ({
  compare: [{ result: 'Equal', key: range.key, target: 'Mod', mod_revision: -1 }],
  success: [{ request_delete_range: { key: range.key } }],
  failure: [{ request_range: range }],
});

export function rangeOf({ responses }: ITxnResponse): IRangeResponse {
  const range = responses[0]?.response_range;
  assert(range, 'the condition does not hold, and the transaction reads');
  return range;
}

/** Whether an operation has changed anything. */
export function wasChanged({ response_put, response_delete_range, response_txn }: IResponseOp): boolean {
  if (response_txn) return response_txn.succeeded && response_txn.responses.every(wasChanged);
  if (response_delete_range) return Number(response_delete_range.deleted) > 0;
  return Boolean(response_put);
}

/** Of etcd's own errors, by what they say: its codes tell less. */
const bySaying: readonly (readonly [RegExp, EtcdFailureCode])[] = [
  [/required revision has been compacted/, 'compacted'],
  [/database space exceeded/, 'no-space'],
  [/requested lease not found/, 'no-such-lease'],
  // A new token, or the rights as they are now, come with the next call.
  [/invalid auth token|auth store is old/, 'unavailable'],
  [/authentication failed|permission denied|user name is empty|authentication is not enabled/, 'refused'],
  [/too many requests|no leader|leader changed|request timed out|not capable/, 'unavailable'],
];
/** Status codes of gRPC that come and go: cancelled, unknown, deadline exceeded, aborted, internal, unavailable. */
const passing: ReadonlySet<number> = new Set([1, 2, 4, 10, 13, 14]);
/** The errors that etcd3 makes of those. */
const passingNames: ReadonlySet<string> = new Set([
  'GRPCCancelledError',
  'GRPCUnknownError',
  'GRPCDeadlineExceededError',
  'GRPCAbortedError',
  'GRPCInternalError',
  'GRPCUnavailableError',
  'GRPCGenericError',
]);

export function failureCodeOf(error: unknown): EtcdFailureCode {
  if (!(error instanceof Error)) return 'other';
  for (const [saying, code] of bySaying) if (saying.test(error.message)) return code;
  const status = (error as { readonly code?: unknown }).code;
  const isPassing = passingNames.has(error.constructor.name) || (typeof status === 'number' && passing.has(status));
  return isPassing ? 'unavailable' : 'other';
}

/** How a connection was not made, as the system names it. */
const connectionCode = /\b(ECONN\w+|EHOST\w+|ENET\w+|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EPIPE)\b/;
const deadlineStatus = 4;

/** What went wrong with a member, for people: gRPC tells of its own innards. */
export function sayingOf(address: string, error: unknown): string {
  if (error instanceof EtcdFailure) return error.message;
  if (!(error instanceof Error)) return `${address}: ${String(error)}`;
  const { message, code } = error as Error & { readonly code?: unknown };
  const isLate = code === deadlineStatus || error.constructor.name === 'GRPCDeadlineExceededError';
  if (isLate) return `${address} did not answer in time`;
  const connection = connectionCode.exec(message)?.[1];
  if (connection !== undefined) return `${address} cannot be connected to (${connection})`;
  if (/no leader|leader changed/.test(message)) return `${address} has no leader`;
  if (/request timed out/.test(message)) return `${address} had no answer from most of the members in time`;
  const plain = message
    .replace(/^\d+ [A-Z_]+: /, '')
    .replace(/^No connection established\. Last error: /, 'no connection: ')
    .replace(/\s*Resolution note:.*$/s, '')
    .replace(/[\s.]+$/, '');
  return `${address}: ${plain === '' ? 'it failed and does not say why' : plain}`;
}
