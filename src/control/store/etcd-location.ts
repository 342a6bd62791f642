/** Where a store on etcd is: `etcd://[USER@]HOST:PORT,...[/PREFIX]`, `etcds://` with TLS. */
import { StoreError } from './store-error.ts';

export interface EtcdLocation {
  /** `HOST:PORT` of each. */
  readonly members: readonly string[];
  /** Of all keys, without slashes at its ends. */
  readonly prefix: string;
  readonly isTls: boolean;
  readonly user: string | null;
  /** From the address. Null: it names none. */
  readonly password: string | null;
}

/** What belongs to an address and is no part of it. */
export interface EtcdAccess {
  /** PEM. Null: what the system trusts. */
  readonly caPem: string | null;
  /** A client certificate and its key, PEM; both or neither. */
  readonly certificatePem: string | null;
  readonly keyPem: string | null;
  readonly password: string | null;
}

export const noAccess: EtcdAccess = { caPem: null, certificatePem: null, keyPem: null, password: null };

const defaultPrefix = 'weft';
const membersMax = 16;
const form = /^(etcds?):\/\/(?:([^@/]*)@)?([^@/]+)(?:\/(.*))?$/;
const member = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?):([0-9]{1,5})$/;
const prefixForm = /^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/;

export const isEtcdUrl = (url: string): boolean => /^etcds?:/.test(url);

/** @throws StoreError `bad-store` whose message says what was expected. */
export function parseEtcdUrl(url: string): EtcdLocation {
  const found = form.exec(url);
  if (found === null) throw misunderstood('it is not etcd://HOST:PORT,HOST:PORT,HOST:PORT');
  const [, scheme, credentials, hosts = '', path = ''] = found;
  const members = hosts.split(',');
  if (members.length > membersMax) throw misunderstood(`it names ${members.length} members, ${membersMax} at most`);
  for (const address of members) {
    const port = Number(member.exec(address)?.[2]);
    if (!(port >= 1 && port <= 65_535)) throw misunderstood(`"${address.slice(0, 80)}" is not HOST:PORT`);
  }
  const prefix = path.replace(/^\/+|\/+$/g, '') || defaultPrefix;
  if (!prefixForm.test(prefix))
    throw misunderstood('a prefix has letters, digits, ".", "_", "-", and "/" between them');
  const { user, password } = parseCredentials(credentials);
  return { members, prefix, isTls: scheme === 'etcds', user, password };
}

/** The address for logs and answers: without the password. */
export function shownEtcdUrl({ members, prefix, isTls, user }: EtcdLocation): string {
  const path = prefix === defaultPrefix ? '' : `/${prefix}`;
  return `${isTls ? 'etcds' : 'etcd'}://${user === null ? '' : `${user}@`}${members.join(',')}${path}`;
}

function parseCredentials(text: string | undefined): { user: string | null; password: string | null } {
  if (text === undefined || text === '') return { user: null, password: null };
  const colon = text.indexOf(':');
  try {
    if (colon === -1) return { user: decodeURIComponent(text), password: null };
    return { user: decodeURIComponent(text.slice(0, colon)), password: decodeURIComponent(text.slice(colon + 1)) };
  } catch {
    throw misunderstood('its user or password has a % that is no escape');
  }
}

/** Without the address itself: it may hold a password. */
const misunderstood = (what: string): StoreError =>
  new StoreError(
    'bad-store',
    `The address of the store on etcd is not understood: ${what}. For instance: etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379, etcds://USER@HOST:2379/PREFIX.`,
  );
