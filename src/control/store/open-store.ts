/** From the address of a store to the store: which driver it is. */
import { openEmbeddedStore } from './embedded.ts';
import { type EtcdAccess, isEtcdUrl, parseEtcdUrl, shownEtcdUrl } from './etcd-location.ts';
import { defaultRetention, type Retention } from './revision-log.ts';
import type { Store, StoreClock } from './store.ts';
import { StoreError } from './store-error.ts';

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
  if (directory !== null) return openEmbeddedStore({ directory, retention, clock, onBackgroundError });
  if (!isEtcdUrl(url)) throw unknownStore();
  const location = parseEtcdUrl(url);
  // Who keeps the state in a directory does not pay for loading gRPC.
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

/** Null: it is no address of an embedded store. */
export const embeddedDirectory = (url: string): string | null => /^embedded:(.+)$/.exec(url)?.[1] ?? null;

/** For logs and answers: without a password. @throws StoreError as `openStore` rejects. */
export function shownStoreUrl(url: string): string {
  return isEtcdUrl(url) ? shownEtcdUrl(parseEtcdUrl(url)) : url;
}

export const unknownStore = (): StoreError =>
  new StoreError(
    'bad-store',
    'The address of the store is not understood: use embedded:DIR, or etcd://HOST:PORT,HOST:PORT,HOST:PORT.',
  );
