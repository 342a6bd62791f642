/** Every revision as one control plane tells it: what has changed from its watch, who has written it from its history. */
import { AssertionError, strict as assert } from 'node:assert';
import type { LoggedWrite } from '../fixtures/store-history.ts';
import { EventReader } from '../integration/api-harness.ts';
import { writerOf } from './store-clients.ts';

const pageItems = 1_000;

interface ShownRevision {
  readonly revision: number;
  readonly who: string;
  readonly changes: readonly { readonly object: string; readonly action: string }[];
}

export class ReplicaLog {
  readonly #api: string;
  /** Of Services, by revision, from 1 on. */
  readonly #changes: Map<string, string | null>[] = [];
  readonly #shown: ShownRevision[] = [];
  #reader: EventReader | null = null;
  #isClosed = false;
  /** Of the watch, beyond the first. */
  #reconnects = 0;
  /** What it has told wrongly: nothing is read any more. */
  #lie: Error | null = null;

  /** Begins with the first revision. @param api HOST:PORT */
  constructor(api: string) {
    this.#api = api;
    void this.#follow();
  }

  get api(): string {
    return this.#api;
  }

  get revision(): number {
    return this.#changes.length;
  }

  get reconnects(): number {
    return this.#reconnects;
  }

  /** Takes what its history has that was not taken yet. To be called before the history forgets it. */
  async collect(): Promise<void> {
    const known = this.#shown.length;
    const found: ShownRevision[] = [];
    for (let before = Number.POSITIVE_INFINITY; before > known + 1; before = found.at(-1)!.revision) {
      const query = Number.isFinite(before) ? `&before=${before}` : '';
      const response = await fetch(`http://${this.#api}/v1/revisions?limit=${pageItems}${query}`);
      assert.equal(response.status, 200);
      const { items } = (await response.json()) as { items: readonly ShownRevision[] };
      if (items.length === 0) break;
      found.push(...items.filter(({ revision }) => revision > known));
      if (items.some(({ revision }) => revision <= known)) break;
    }
    this.#shown.push(...found.reverse());
  }

  /** Up to the newest that its watch has told. @throws AssertionError when watch and history disagree. */
  entries(): readonly LoggedWrite[] {
    if (this.#lie !== null) throw this.#lie;
    return this.#changes.map((changes, index) => {
      const shown = this.#shown[index];
      assert(
        shown !== undefined,
        `${this.#api} has told revision ${index + 1} to those who watch, and not in its history`,
      );
      assert.equal(shown.revision, index + 1, `the history of ${this.#api} has a gap`);
      const services = shown.changes
        .filter(({ object }) => object.startsWith('Service/default/'))
        .map(({ object, action }) => `${object.slice('Service/default/'.length)} ${action === 'deleted'}`);
      const watched = [...changes].map(([name, value]) => `${name} ${value === null}`);
      assert.deepEqual(watched.sort(), services.sort(), `revision ${index + 1} of ${this.#api}`);
      return { revision: index + 1, who: shown.who, changes };
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#reader?.close();
  }

  async #follow(): Promise<void> {
    while (!this.#isClosed && this.#lie === null) {
      try {
        this.#reader = await EventReader.open(`http://${this.#api}/v1/watch?from=${this.revision}`);
        await this.#read(this.#reader);
      } catch (error) {
        if (error instanceof AssertionError) this.#lie = error;
        // It was cut, or could not begin: it goes on where it was.
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      this.#reconnects++;
    }
  }

  async #read(reader: EventReader): Promise<void> {
    let changes = new Map<string, string | null>();
    for (let event = await reader.next(); event !== null; event = await reader.next()) {
      const told = event.data as {
        revision: number;
        kind?: string;
        name?: string;
        object?: { kind: string; metadata: { name: string } };
      };
      if (event.event === 'put' && told.object?.kind === 'Service')
        changes.set(told.object.metadata.name, writerOf(told.object));
      else if (event.event === 'delete' && told.kind === 'Service') changes.set(told.name!, null);
      // The first one says where the watch begins.
      if (event.event !== 'revision' || told.revision === this.revision) continue;
      assert.equal(told.revision, this.revision + 1, `${this.#api} has left out a revision`);
      this.#changes.push(changes);
      changes = new Map();
    }
  }
}
