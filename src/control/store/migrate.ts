/** Carries a store from one place to another: objects, revisions as far as they are kept, and the number of the newest one. */
import { existsSync } from 'node:fs';
import { limits } from '../../model/limits.ts';
import type { EtcdCalls } from './etcd-calls.ts';
import { EtcdClient } from './etcd-client.ts';
import { EtcdKeys } from './etcd-keys.ts';
import { type EtcdAccess, isEtcdUrl, parseEtcdUrl, shownEtcdUrl } from './etcd-location.ts';
import { EtcdWriter } from './etcd-writer.ts';
import type { StoreClock } from './store.ts';
import { StoreError } from './store-error.ts';
import { type ImageStore, openEmbeddedImage, openEtcdImage } from './store-image.ts';
import { embeddedDirectory, unknownStore } from './store-location.ts';

export interface MigrateOptions {
  readonly fromUrl: string;
  readonly toUrl: string;
  readonly etcdAccess: EtcdAccess;
  readonly clock: StoreClock;
  /** Looks whether it could be done, and writes nothing. */
  readonly isDryRun: boolean;
  readonly onProgress: (done: number, all: number) => void;
}

export interface Migrated {
  readonly revision: number;
  readonly objects: number;
  readonly revisions: number;
}

/** Rejects with StoreError: its message says what to do, and the target has nothing of it then. */
export async function migrateStore(options: MigrateOptions): Promise<Migrated> {
  const { fromUrl, toUrl, isDryRun, onProgress } = options;
  const source = await openImage(fromUrl, options);
  try {
    const target = await openImage(toUrl, options);
    try {
      const image = await source.read();
      const occupied = await target.occupied();
      if (occupied !== null)
        throw new StoreError(
          'store-in-use',
          `The target is not empty (${occupied}): nothing was copied. Name an empty directory, or an etcd prefix where nothing is.`,
        );
      if (!isDryRun) await target.write(image, (done) => onProgress(done, image.revisions.length));
      return { revision: image.revision, objects: image.objects.length, revisions: image.revisions.length };
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

/** Of a directory that a dry run does not make. */
const emptyImage: ImageStore = {
  read: async () => ({ revision: 0, objects: [], revisions: [] }),
  occupied: async () => null,
  write: async () => {},
  close: async () => {},
};

async function openImage(url: string, { etcdAccess, clock, isDryRun }: MigrateOptions): Promise<ImageStore> {
  const directory = embeddedDirectory(url);
  if (directory !== null) return isDryRun && !existsSync(directory) ? emptyImage : openEmbeddedImage(directory);
  if (!isEtcdUrl(url)) throw unknownStore();
  const location = parseEtcdUrl(url);
  const client = new EtcdClient(location, etcdAccess);
  const writer = new EtcdWriter({
    calls: client,
    keys: new EtcdKeys(location.prefix),
    clock,
    name: shownEtcdUrl(location),
  });
  const persist = <T>(run: () => Promise<T>): Promise<T> => writer.persist(run, clock.nowMs() + limits.etcdOpenMs);
  // Of all that a migration does, each call may be done twice.
  const calls: Pick<EtcdCalls, 'read' | 'write' | 'close'> = {
    read: (range) => persist(() => client.read(range)),
    write: (conditions, operations) => persist(() => client.write(conditions, operations)),
    close: () => client.close(),
  };
  return openEtcdImage(calls, new EtcdKeys(location.prefix));
}
