/** Carries a store from one place to another: objects, revisions as far as they are kept, and the number of the newest one. */
import { limits } from '../../model/limits.ts';
import type { EtcdCalls } from './etcd-calls.ts';
import { EtcdClient } from './etcd-client.ts';
import { EtcdKeys } from './etcd-keys.ts';
import { type EtcdAccess, isEtcdUrl, parseEtcdUrl, shownEtcdUrl } from './etcd-location.ts';
import { EtcdOutage } from './etcd-outage.ts';
import { EtcdWriter } from './etcd-writer.ts';
import type { StoreClock } from './store.ts';
import { StoreError } from './store-error.ts';
import { hasEmbeddedStore, type ImageStore, openEmbeddedImage, openEtcdImage, type StoreImage } from './store-image.ts';
import { embeddedDirectory, shownStoreUrl, unknownStore } from './store-location.ts';

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
  const fromDirectory = embeddedDirectory(fromUrl);
  if (fromDirectory !== null && !hasEmbeddedStore(fromDirectory)) throw noStore(fromUrl);
  const source = await openImage(fromUrl, options);
  try {
    const image = await source.read();
    if (image.revision === 0) throw noStore(fromUrl);
    await copyTo(await openTarget(toUrl, options), image, { isDryRun, onProgress });
    return { revision: image.revision, objects: image.objects.length, revisions: image.revisions.length };
  } finally {
    await source.close();
  }
}

async function copyTo(
  target: ImageStore,
  image: StoreImage,
  { isDryRun, onProgress }: Pick<MigrateOptions, 'isDryRun' | 'onProgress'>,
): Promise<void> {
  try {
    const occupied = await target.occupied();
    if (occupied !== null)
      throw new StoreError(
        'store-in-use',
        `The target is not empty (${occupied}): nothing was copied. Name an empty directory, or an etcd prefix where nothing is.`,
      );
    if (!isDryRun) await target.write(image, (done) => onProgress(done, image.revisions.length));
  } finally {
    await target.close();
  }
}

/** Also where a control plane has opened one and never written: its first start writes the roots of its authority. */
const noStore = (url: string): StoreError =>
  new StoreError(
    'bad-store',
    `There is no store in ${shownStoreUrl(url)}, or nothing was ever written to it: nothing was copied, and the target is as it was. Name in --from what the control plane was started with in --store.`,
  );

/** Of a directory in which a dry run makes no store. */
const emptyImage: ImageStore = {
  read: async () => ({ revision: 0, objects: [], revisions: [] }),
  occupied: async () => null,
  write: async () => {},
  close: async () => {},
};

async function openTarget(url: string, options: MigrateOptions): Promise<ImageStore> {
  const directory = embeddedDirectory(url);
  return options.isDryRun && directory !== null && !hasEmbeddedStore(directory) ? emptyImage : openImage(url, options);
}

async function openImage(url: string, { etcdAccess, clock }: MigrateOptions): Promise<ImageStore> {
  const directory = embeddedDirectory(url);
  if (directory !== null) return openEmbeddedImage(directory);
  if (!isEtcdUrl(url)) throw unknownStore();
  const location = parseEtcdUrl(url);
  const client = new EtcdClient(location, etcdAccess);
  const writer = new EtcdWriter({
    calls: client,
    keys: new EtcdKeys(location.prefix),
    clock,
    name: shownEtcdUrl(location),
    outage: new EtcdOutage(clock),
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
