/** A control plane with its state in a directory: killed in the middle of transactions, and with a disk that is full. */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, type Running } from '../e2e/harness.ts';
import { countsOf, StoreLoad, startPlane, timedCall } from './store-mesh.ts';

const seed = Number(process.env.WEFT_STORE_SEED ?? Date.now() % 1_000_000);
const transactions = 1_000;
const kills = 20;

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

const start = (directory: string, like?: Running): Promise<Running> => {
  const addresses = like === undefined ? {} : { api: like.ready.api, push: like.ready.push };
  return startPlane(bench, { name: 'ca', store: `embedded:${directory}`, ...addresses });
};

describe('a control plane with its state in a directory', () => {
  it(`is killed ${kills} times in ${transactions} transactions: each acknowledged one is there, none twice, none half`, async () => {
    const directory = bench.path('store');
    let plane = await start(directory);
    const load = new StoreLoad(bench, [plane], { seed, clients: 8, pauseMsMax: 10 });
    const unavailableMs: number[] = [];
    for (let kill = 1; kill <= kills; kill++) {
      await load.more(Math.ceil(transactions / kills));
      await plane.kill('SIGKILL');
      const killedAtMs = performance.now();
      plane = await start(directory, plane);
      unavailableMs.push(performance.now() - killedAtMs);
      await load.logs[0]!.collect();
    }
    const log = await load.check();
    const { done, unknown, retried, repeated } = countsOf(load.clients);
    const longestMs = Math.round(Math.max(...unavailableMs));
    console.log(JSON.stringify({ store: 'embedded', seed, kills, done, unknown, retried, repeated, longestMs }));
    expect(done).toBeGreaterThanOrEqual(transactions);
    expect(log.length).toBeGreaterThanOrEqual(done);
    expect(retried).toBeGreaterThan(0);
  });

  const room = mountRoom();
  it.skipIf('reason' in room)(
    'refuses writes while its disk is full, reads on, and goes on when there is room',
    async () => {
      const directory = (room as { mount: (at: string) => string }).mount(bench.path('disk'));
      const plane = await start(`${directory}/store`);
      const put = (name: string, fill: number) =>
        timedCall(plane, `/v1/services/default/${name}`, {
          method: 'PUT',
          body: {
            ...{ apiVersion: 'weft.mesh/v1', kind: 'Service', spec: {} },
            metadata: { name, annotations: { fill: `${name} `.padEnd(fill, 'x') } },
          },
        });
      const names = async (at: Running): Promise<string[]> => {
        const { status, body } = await timedCall(at, '/v1/services');
        expect(status).toBe(200);
        return (JSON.parse(body) as { items: { metadata: { name: string } }[] }).items.map(
          ({ metadata }) => metadata.name,
        );
      };
      const written: string[] = [];
      for (let index = 0; index < 5; index++) {
        expect((await put(`before-${index}`, 1_000)).status).toBe(201);
        written.push(`before-${index}`);
      }
      const filler = `${directory}/filler`;
      fill(filler);
      let refusals = 0;
      for (let index = 0; refusals < 3; index++) {
        expect(index).toBeLessThan(100);
        const { status, body } = await put(`full-${index}`, 100_000);
        if (status === 201) {
          written.push(`full-${index}`);
          continue;
        }
        refusals++;
        expect([status, JSON.parse(body).detail]).toEqual([
          503,
          expect.stringMatching(
            /The store in .* could not write: .*Nothing was changed.*Check that its disk has room and is writable, then try again/,
          ),
        ]);
      }
      // What was refused is not there, and what is there is read as ever.
      expect((await names(plane)).sort()).toEqual([...written].sort());
      expect((await call(plane.ready.api, plane.ready.api, '/healthz')).status).toBe(200);
      expect(plane.process.exitCode).toBeNull();

      rmSync(filler);
      expect((await put('after', 100_000)).status).toBe(201);
      await plane.kill('SIGKILL');
      const again = await start(`${directory}/store`, plane);
      expect((await names(again)).sort()).toEqual([...written, 'after'].sort());
      await again.kill('SIGTERM');
    },
  );

  it.skipIf('reason' in room)(
    'starts on a full disk only where it can still write, and says what is wrong',
    async () => {
      const directory = (room as { mount: (at: string) => string }).mount(bench.path('disk'));
      const plane = await start(`${directory}/store`);
      await plane.kill('SIGTERM');
      fill(`${directory}/filler`);
      const starting = bench.begin([
        ...['control-plane', '--store', `embedded:${directory}/store`, '--ca-dir', bench.path('ca')],
        ...['--listen', '127.0.0.1:0', '--push', '127.0.0.1:0'],
      ]);
      expect(await starting.exited).toEqual({ code: 1, signal: null });
      expect(starting.logs()).toMatch(/The store in .* cannot be used: .*(full|ENOSPC|no space).*/i);
      rmSync(`${directory}/filler`);
      await start(`${directory}/store`);
    },
  );
  if ('reason' in room) console.warn(`No disk is filled: ${room.reason}`);

  /** A file system of a few MiB, where this process may mount one. */
  function mountRoom(): { readonly mount: (at: string) => string } | { readonly reason: string } {
    const mount = (at: string) => {
      mkdirSync(at, { recursive: true });
      return spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=0700', 'tmpfs', at], { encoding: 'utf8' });
    };
    const unmount = (at: string) => spawnSync('umount', [at]);
    const trial = new Bench();
    const { status, stderr, error } = mount(trial.path('trial'));
    unmount(trial.path('trial'));
    void trial.close();
    if (status !== 0)
      return { reason: `a small file system can only be mounted by root (${error?.message ?? stderr.trim()})` };
    return {
      mount: (at) => {
        expect(mount(at).status).toBe(0);
        bench.onClose(() => void unmount(at));
        return at;
      },
    };
  }
});

/** Takes all the room that there is. */
function fill(path: string): void {
  const descriptor = openSync(path, 'w');
  for (const bytes of [Buffer.alloc(64 * 1024), Buffer.alloc(1024)]) while (hasWritten(descriptor, bytes)) {}
  closeSync(descriptor);
}

function hasWritten(descriptor: number, bytes: Buffer): boolean {
  try {
    return writeSync(descriptor, bytes) === bytes.length;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') return false;
    throw error;
  }
}
