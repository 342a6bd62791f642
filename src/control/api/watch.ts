/**
 * Watching for changes: server-sent events (WHATWG HTML, section 9.2). A watcher gets `put` and `delete` for each object and
 * `revision` after the last of each revision; only that one carries an id, so that whoever comes back with it misses no half of one.
 */

import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import { limits } from '../../model/limits.ts';
import type { Kind, Resource } from '../../model/resources.ts';
import type { Revision, Store } from '../store/store.ts';
import { ApiError } from './api-error.ts';

/** A reader that is this far behind is told to begin anew instead of being waited for. */
const unsentBytesMax = 1024 * 1024;
const heartbeatMs = 15_000;

export interface WatchRequest {
  /** Null: all kinds. */
  readonly kind: Kind | null;
  readonly namespace: string | null;
  /** The last revision that the watcher has; null begins with the next. */
  readonly from: number | null;
}

export class Watchers {
  readonly #store: Store;
  readonly #open = new Map<ServerResponse, WatchRequest>();
  readonly #unsubscribe: () => void;
  readonly #heartbeat: NodeJS.Timeout;

  constructor(store: Store) {
    this.#store = store;
    this.#unsubscribe = store.subscribe((event) => {
      if (event.tag === 'revision')
        for (const [response, request] of this.#open) this.#send(response, eventsOf(event.revision, request));
    });
    this.#heartbeat = setInterval(() => {
      for (const response of this.#open.keys()) this.#send(response, ': still here\n\n');
    }, heartbeatMs).unref();
  }

  get count(): number {
    return this.#open.size;
  }

  /** Takes over the reply. @throws ApiError when there are too many, or when `from` is no longer kept. */
  watch(reply: FastifyReply, request: WatchRequest): void {
    if (this.#open.size >= limits.watchersMax)
      throw new ApiError('too-many-watchers', `There are ${limits.watchersMax} watchers already.`);
    const newest = this.#store.revision;
    const from = request.from ?? newest;
    if (from > newest) throw new ApiError('bad-request', `Revision ${from} is in the future: the newest is ${newest}.`);
    const missed = this.#store.revisionsAfter(from);
    if (missed === null)
      throw new ApiError(
        'revision-gone',
        `Revision ${from} is no longer kept: list the objects, then watch from the revision of the list.`,
      );
    reply.hijack();
    const response = reply.raw;
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    this.#open.set(response, request);
    response.once('close', () => this.#open.delete(response));
    response.on('error', () => this.#open.delete(response));
    this.#send(
      response,
      `event: revision\nid: ${from}\ndata: {"revision":${from}}\n\n${missed.map((revision) => eventsOf(revision, request)).join('')}`,
    );
  }

  /** Ends all of them. */
  close(): void {
    this.#unsubscribe();
    clearInterval(this.#heartbeat);
    for (const response of this.#open.keys()) response.end();
    this.#open.clear();
  }

  #send(response: ServerResponse, text: string): void {
    if (text === '') return;
    if (response.writableLength > unsentBytesMax) {
      this.#open.delete(response);
      response.end('event: relist\ndata: {"code":"too-slow"}\n\n');
      return;
    }
    response.write(text);
  }
}

function eventsOf({ revision, changes }: Revision, { kind, namespace }: WatchRequest): string {
  let text = '';
  for (const { key, after } of changes) {
    const [keyKind, keyNamespace, name] = key.split('/') as [Kind, string, string];
    if ((kind !== null && kind !== keyKind) || (namespace !== null && namespace !== keyNamespace)) continue;
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
