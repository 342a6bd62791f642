/**
 * Watching for changes: server-sent events (WHATWG HTML, section 9.2). A watcher gets `put` and `delete` for each object and
 * `revision` after the last of each revision; only that one carries an id, so that whoever comes back with it misses no half of one.
 */

import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import { limits } from '../../model/limits.ts';
import { isObjectKey, type Kind, type Resource } from '../../model/resources.ts';
import type { Revision, Store, StoreClock } from '../store/store.ts';
import { ApiError } from './api-error.ts';

const heartbeatMs = 15_000;

export interface WatchersOptions {
  readonly store: Store;
  readonly clock: StoreClock;
  /** Default `limits.watchersMax`. */
  readonly watchersMax?: number;
  /** A reader that is this far behind is told to begin anew instead of being waited for. Default 1 MiB. */
  readonly unsentBytesMax?: number;
  /** Of all readers together; beyond it, those that are behind lose their connections. Default `limits.watchUnsentBytesMax`. */
  readonly unsentBytesMaxOfAll?: number;
}

export interface WatchRequest {
  /** Null: all kinds. */
  readonly kind: Kind | null;
  readonly namespace: string | null;
  /** The last revision that the watcher has; null begins with the next. */
  readonly from: number | null;
  /** Asked now and then: a token may be revoked, or expire. */
  readonly isAllowed: () => boolean;
}

export class Watchers {
  readonly #store: Store;
  readonly #clock: StoreClock;
  readonly #watchersMax: number;
  readonly #unsentBytesMax: number;
  readonly #unsentBytesMaxOfAll: number;
  readonly #open = new Map<ServerResponse, WatchRequest>();
  /** Told to begin anew; until their connection ends they hold memory, and count. */
  readonly #ending = new Set<ServerResponse>();
  readonly #unsubscribe: () => void;
  #cancelHeartbeat: () => void;

  constructor({
    store,
    clock,
    watchersMax = limits.watchersMax,
    unsentBytesMax = 1024 * 1024,
    unsentBytesMaxOfAll = limits.watchUnsentBytesMax,
  }: WatchersOptions) {
    this.#store = store;
    this.#clock = clock;
    this.#watchersMax = watchersMax;
    this.#unsentBytesMax = unsentBytesMax;
    this.#unsentBytesMaxOfAll = unsentBytesMaxOfAll;
    this.#unsubscribe = store.subscribe((event) => {
      if (event.tag === 'revision') this.#publish(event.revision);
    });
    const beat = () => {
      this.#cancelHeartbeat = clock.after(heartbeatMs, beat);
      for (const [response, { isAllowed }] of this.#open) {
        if (isAllowed()) this.#send(response, ': still here\n\n');
        // It comes back, and hears why not.
        else this.#end(response, '');
      }
    };
    this.#cancelHeartbeat = clock.after(heartbeatMs, beat);
  }

  get count(): number {
    return this.#open.size;
  }

  /** Takes over the reply. @throws ApiError when there are too many, or when `from` is no longer kept. */
  watch(reply: FastifyReply, request: WatchRequest): void {
    if (this.#open.size + this.#ending.size >= this.#watchersMax)
      throw new ApiError(
        'too-many-watchers',
        `There are ${this.#watchersMax} watchers already: come back later, or ask for what you need now and then.`,
      );
    const newest = this.#store.revision;
    const from = request.from ?? newest;
    if (from > newest) throw new ApiError('bad-request', `Revision ${from} is in the future: the newest is ${newest}.`);
    const missed = this.#store.revisionsAfter(from);
    if (missed === null)
      throw new ApiError(
        'revision-gone',
        `Revision ${from} is no longer kept: list the objects, then watch from the revision of the list.`,
      );
    if (charsOf(missed, request) > limits.watchCatchUpCharsMax)
      throw new ApiError(
        'revision-gone',
        `Since revision ${from} more was changed than is told again: list the objects, then watch from the revision of the list.`,
      );
    reply.hijack();
    const response = reply.raw;
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      // Nothing follows a stream on its connection.
      connection: 'close',
    });
    // HEAD asks what GET would answer, and not for the stream.
    if (reply.request.method === 'HEAD') {
      response.end();
      return;
    }
    this.#open.set(response, request);
    response.once('close', () => this.#open.delete(response));
    // What breaks a connection also closes it.
    response.on('error', () => {});
    this.#send(
      response,
      `event: revision\nid: ${from}\ndata: {"revision":${from}}\n\n${missed.map((revision) => eventsOf(revision, request)).join('')}`,
    );
    this.#cutBacklog();
  }

  /** Ends all of them. */
  close(): void {
    this.#unsubscribe();
    this.#cancelHeartbeat();
    for (const response of this.#open.keys()) response.end();
    for (const response of this.#ending) response.destroy();
    this.#open.clear();
  }

  #publish(revision: Revision): void {
    // Most watch the same things: what they are sent is put together once.
    const texts = new Map<string, string>();
    for (const [response, request] of this.#open) {
      const scope = `${request.kind ?? ''}/${request.namespace ?? ''}`;
      let text = texts.get(scope);
      if (text === undefined) {
        text = eventsOf(revision, request);
        texts.set(scope, text);
      }
      this.#send(response, text);
    }
    this.#cutBacklog();
  }

  /** A large revision waits for each reader that is not yet ready for it: what one may have behind it is too much for a thousand. */
  #cutBacklog(): void {
    let unsent = 0;
    for (const response of [...this.#ending, ...this.#open.keys()]) {
      unsent += response.writableLength;
      if (unsent <= this.#unsentBytesMaxOfAll || response.writableLength === 0) continue;
      unsent -= response.writableLength;
      // It comes back with the last id that it has had.
      response.destroy();
    }
  }

  #send(response: ServerResponse, text: string): void {
    if (response.writableLength > this.#unsentBytesMax)
      this.#end(response, 'event: relist\ndata: {"code":"too-slow"}\n\n');
    else response.write(text);
  }

  /** It may read to the end and come back; if it does not read at all, its connection must not stay. */
  #end(response: ServerResponse, lastText: string): void {
    this.#open.delete(response);
    this.#ending.add(response);
    const cancel = this.#clock.after(limits.slowReaderMs, () => response.destroy());
    response.once('close', () => {
      cancel();
      this.#ending.delete(response);
    });
    response.end(lastText);
  }
}

/** Of the objects that would be told, without telling them. */
function charsOf(revisions: readonly Revision[], request: WatchRequest): number {
  let chars = 0;
  for (const { changes } of revisions)
    for (const { key, after } of changes) if (isAskedFor(key, request)) chars += after?.length ?? 0;
  return chars;
}

function isAskedFor(key: string, { kind, namespace }: WatchRequest): boolean {
  if (!isObjectKey(key)) return false;
  const [keyKind, keyNamespace] = key.split('/') as [Kind, string];
  return (kind === null || kind === keyKind) && (namespace === null || namespace === keyNamespace);
}

function eventsOf({ revision, changes }: Revision, request: WatchRequest): string {
  let text = '';
  for (const { key, after } of changes) {
    if (!isAskedFor(key, request)) continue;
    const [keyKind, keyNamespace, name] = key.split('/') as [Kind, string, string];
    const data =
      after === null
        ? { revision, kind: keyKind, namespace: keyNamespace, name }
        : { revision, object: withRevision(JSON.parse(after) as Resource, revision) };
    text += `event: ${after === null ? 'delete' : 'put'}\ndata: ${JSON.stringify(data)}\n\n`;
  }
  return `${text}event: revision\nid: ${revision}\ndata: {"revision":${revision}}\n\n`;
}

const withRevision = (resource: Resource, revision: number) => ({
  ...resource,
  metadata: { ...resource.metadata, resourceVersion: String(revision) },
});
