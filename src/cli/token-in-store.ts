/** Makes an API token in the store itself: for the first admin of a control plane that other machines are to reach, and when the last is lost. */

import { randomBytes } from 'node:crypto';
import { AccessControl, type TokenWish } from '../control/access/access-control.ts';
import { openStore } from '../control/store/open-store.ts';
import { systemClock } from '../sidecar/clock.ts';
import { actor, type MadeApiToken } from './client.ts';
import { type EtcdFlags, readEtcdAccess } from './etcd-flags.ts';
import { openProcessLogger } from './log-level.ts';
import { CliError } from './terminal.ts';

/** Whoever can write the store needs no token. Rejects with CliError. */
export async function createTokenInStore(url: string, etcdFlags: EtcdFlags, wish: TokenWish): Promise<MadeApiToken> {
  try {
    const logger = openProcessLogger('token');
    const onBackgroundError = (error: Error) => logger.error({ error: error.message }, 'the store failed');
    const etcdAccess = await readEtcdAccess(etcdFlags, [url], process.env);
    const store = await openStore(url, { etcdAccess, clock: systemClock, onBackgroundError });
    try {
      const access = new AccessControl({ store, clock: systemClock, randomBytes });
      const { text, token } = await access.create(wish, `${actor()} (at the store)`);
      const { id, name, role, createdAt, createdBy, expiresAt } = token;
      const namespaces = role.tag === 'editor' ? role.namespaces : [];
      return { token: text, id, name, role: role.tag, namespaces, createdAt, createdBy, expiresAt };
    } finally {
      await store.close();
    }
  } catch (error) {
    // What has a code was said for people.
    if (error instanceof Error && 'code' in error) throw new CliError(error.message, undefined, { cause: error });
    throw error;
  }
}
