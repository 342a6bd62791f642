/** From the address of a store to the store: which driver it is. */
import { type EtcdAccess, isEtcdUrl, parseEtcdUrl, shownEtcdUrl } from './etcd-location.ts';
import { defaultRetention, type Retention } from './revision-log.ts';
import type { Store, StoreClock } from './store.ts';
import { embeddedDirectory, unknownStore } from './store-location.ts';

export interface OpenStoreOptions {
  readonly etcdAccess: EtcdAccess;
  /** How far back history goes; default `defaultRetention`. */
  readonly retention?: Retention;
  readonly clock: StoreClock;
  readonly onBackgroundError: (error: Error) => void;
}

/** Rejects with StoreError; its message says what to do. */
export async function openStore(
  url: string,
  { etcdAccess, retention = defaultRetention, clock, onBackgroundError }: OpenStoreOptions,
): Promise<Store> {
  const directory = embeddedDirectory(url);
  // Each driver is loaded by who uses it: who asks for `--help` loads neither LMDB nor gRPC.
  if (directory !== null) {
    const { openEmbeddedStore } = await import('./embedded.ts');
    return openEmbeddedStore({ directory, retention, clock, onBackgroundError });
  }
  if (!isEtcdUrl(url)) throw unknownStore();
  const location = parseEtcdUrl(url);
  const [{ EtcdClient }, { openEtcdStore }] = await Promise.all([import('./etcd-client.ts'), import('./etcd.ts')]);
  return openEtcdStore({
    calls: new EtcdClient(location, etcdAccess),
    prefix: location.prefix,
    retention,
    clock,
    networkClock: clock,
    name: shownEtcdUrl(location),
    onBackgroundError,
  });
}
