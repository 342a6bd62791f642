/** The addresses of stores, read without loading a driver. */
import { isEtcdUrl, parseEtcdUrl, shownEtcdUrl } from './etcd-location.ts';
import { StoreError } from './store-error.ts';

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
