/** `weft get KIND -w`: what there is, then every change, across lost connections and restarts of the control plane, until Ctrl-C. */
import { limits } from '../model/limits.ts';
import { type Kind, keyOf, type Resource } from '../model/resources.ts';
import { type ControlPlaneClient, RefusedError } from './client.ts';
import type { StreamEvent } from './event-stream.ts';
import { formatValue, type Output } from './output-flag.ts';
import { headOf, type Registrations, registrations, rowOf } from './resource-table.ts';
import type { Cell } from './table.ts';
import { CliError, type Terminal } from './terminal.ts';

export interface WatchOptions {
  readonly client: Pick<ControlPlaneClient, 'list' | 'watch' | 'sidecars' | 'server'>;
  readonly kind: Kind;
  /** Only this one. */
  readonly name: string | undefined;
  /** Undefined: all. */
  readonly namespace: string | undefined;
  readonly output: Output;
  /** How long to wait after a failure, ms; default: a clock's. */
  readonly pause?: (ms: number) => Promise<void>;
}

/** `is`: it was there when the watch began. */
type Happening = 'is' | 'put' | 'deleted';

/** The revision is no longer kept, or (a store that was put back from a backup) not there yet. */
const listsAnew: ReadonlySet<string> = new Set(['revision-gone', 'bad-request']);

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Never resolves. @throws CliError when there is nothing to begin with, or when the control plane refuses the watch for good. */
export async function watchResources(options: WatchOptions, terminal: Terminal): Promise<never> {
  const { client, pause = sleep } = options;
  const view = new WatchedView(options, terminal);
  await view.list();
  let waitMs: number = limits.reconnectFirstMs;
  for (;;) {
    try {
      if (view.from === null) await view.list();
      for await (const event of client.watch(options.kind, options.namespace, view.from ?? 0)) {
        waitMs = limits.reconnectFirstMs;
        await view.take(event);
        if (view.from === null) break;
      }
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      view.takeFailure(error);
    }
    await pause(waitMs);
    waitMs = Math.min(2 * waitMs, limits.reconnectMsMax);
  }
}

/** What was shown so far, and of which revision it is. */
class WatchedView {
  /** The last revision of which everything was shown; null: it is not kept, list anew. */
  from: number | null = null;
  readonly #options: WatchOptions;
  readonly #terminal: Terminal;
  /** By key. What is repeated after a lost connection is not shown again. */
  readonly #shown = new Map<string, Resource>();
  #registered: Registrations = new Map();
  #widths: readonly number[] | null = null;
  #isLost = false;

  constructor(options: WatchOptions, terminal: Terminal) {
    this.#options = options;
    this.#terminal = terminal;
  }

  /** Shows what is new compared with what was shown. */
  async list(): Promise<void> {
    const { client, kind, namespace } = this.#options;
    const isFirst = this.#widths === null;
    const { items, revision } = await client.list(kind, namespace);
    this.#registered =
      this.#options.output === 'table' ? await registrations(client as ControlPlaneClient, kind) : new Map();
    if (isFirst) this.#begin(items);
    const there = new Set(items.map(keyOf));
    for (const [key, resource] of this.#shown) if (!there.has(keyOf(resource))) await this.#remove(key);
    for (const item of items) await this.#put(item, isFirst ? 'is' : 'put');
    this.from = revision;
  }

  async take({ event, data }: StreamEvent): Promise<void> {
    const { object, kind, namespace, name, revision } = data as {
      readonly object?: Resource;
      readonly kind?: string;
      readonly namespace?: string;
      readonly name?: string;
      readonly revision?: number;
    };
    if (this.#isLost) this.#terminal.err(`the control plane at ${this.#options.client.server} answers again`);
    this.#isLost = false;
    if (event === 'put' && object !== undefined) await this.#put(object, 'put');
    if (event === 'delete') await this.#remove(`${kind}/${namespace}/${name}`, revision);
    if (event === 'revision' && revision !== undefined) this.from = revision;
    if (event === 'relist') this.from = null;
  }

  /** @throws what no second try can mend. */
  takeFailure(error: CliError): void {
    if (error instanceof RefusedError && listsAnew.has(error.refusal.code ?? '')) {
      this.from = null;
      return;
    }
    if (error instanceof RefusedError && error.refusal.status < 500) throw error;
    if (!this.#isLost) this.#terminal.err(`${error.message} Trying again.`);
    this.#isLost = true;
  }

  async #put(resource: Resource, happening: Happening): Promise<void> {
    const { name } = this.#options;
    const key = keyOf(resource);
    if (name !== undefined && resource.metadata.name !== name) return;
    if (this.#shown.get(key)?.metadata.resourceVersion === resource.metadata.resourceVersion) return;
    this.#shown.set(key, resource);
    await this.#show(resource, happening);
  }

  /** `revision`: the one that deleted it; where that is not known the last one that it had is shown. */
  async #remove(key: string, revision?: number): Promise<void> {
    const resource = this.#shown.get(key);
    if (resource === undefined) return;
    this.#shown.delete(key);
    const { metadata } = resource;
    const last =
      revision === undefined
        ? resource
        : ({ ...resource, metadata: { ...metadata, resourceVersion: String(revision) } } as Resource);
    await this.#show(last, 'deleted');
  }

  async #show(resource: Resource, event: Happening): Promise<void> {
    const { output } = this.#options;
    if (output === 'json') return this.#terminal.out(JSON.stringify({ event, object: resource }));
    if (output === 'yaml') return this.#terminal.out(`${await formatValue({ event, object: resource }, 'yaml')}\n---`);
    this.#row([event, ...rowOf(resource, this.#terminal.nowMs(), this.#registered)]);
  }

  /** Widths are those of what there is at first: rows that come later cannot move those above them. */
  #begin(items: readonly Resource[]): void {
    const head = ['EVENT', ...headOf(this.#options.kind)];
    const rows = items.map((item) => ['deleted', ...rowOf(item, this.#terminal.nowMs(), this.#registered)]);
    this.#widths = head.map((name, column) =>
      Math.max(name.length, 'deleted'.length, ...rows.map((row) => String(row[column]).length)),
    );
    if (this.#options.output === 'table') this.#row(head);
  }

  #row(cells: readonly Cell[]): void {
    const padded = cells.map((cell, column) => String(cell).padEnd(this.#widths?.[column] ?? 0));
    this.#terminal.out(padded.join('  ').trimEnd());
  }
}
