/**
 * How a link's connection is made: TCP, and TLS 1.3 in which both sides prove who they are. No session is ever resumed: links live long,
 * and a full handshake is the only one in which both certificates are looked at.
 */
import type { X509Certificate } from 'node:crypto';
import net from 'node:net';
import tls from 'node:tls';
import { parseSpiffeId, type ServiceIdentity, spiffeIdOf } from '../../model/identity.ts';
import { type Failure, type FailureCode, failures } from '../failure.ts';
import type { LinkCredentials, LinkIdentity } from './link-identity.ts';

/** Both sides must say the same. */
export type LinkSecurity =
  /** Plain TCP, no identity: for benchmarks, and for files without certificates. */
  { readonly tag: 'insecure' } | { readonly tag: 'mutual-tls'; readonly identity: LinkIdentity };

/** What an operator is told who meets a peer of the other kind. */
export const insecureHint = '--insecure-link must be said by both sides';

/** In TLS's ALPN: a TLS client of something else is refused in the handshake. */
export const linkProtocol = 'weft/1';

export interface DialTarget {
  readonly host: string;
  readonly port: number;
  /** What the peer must be: a SPIFFE ID, or a path within our own trust domain. */
  readonly identity: string;
}

export interface DialEvents {
  /** TCP is there and the TLS handshake begins; not called without TLS. */
  readonly onConnected: () => void;
  /** `expiresAtMs`: when the first of the two certificates expires, ms since the epoch; infinity without TLS. */
  readonly onOpen: (expiresAtMs: number) => void;
  /** At most once, and not after `onOpen`. `detail` is for people. */
  readonly onFailed: (failure: Failure, detail: string) => void;
  readonly onRead: (bytes: Buffer, length: number) => void;
}

const readBytesMax = 288 * 1024;
/** Shared by all links: libuv fills it and the callback empties it before anything else runs on this loop. */
const readBuffer = Buffer.allocUnsafeSlow(readBytesMax);

/** Null: there is no identity to dial with yet. */
export function dial(security: LinkSecurity, target: DialTarget, events: DialEvents): net.Socket | null {
  const { host, port } = target;
  const onread = {
    buffer: readBuffer,
    callback: (length: number) => {
      events.onRead(readBuffer, length);
      return true;
    },
  };
  let isDone = false;
  const fail = (code: FailureCode, detail: string) => {
    if (isDone) return;
    isDone = true;
    events.onFailed(failures[code], detail);
  };
  const open = (expiresAtMs: number) => {
    isDone = true;
    events.onOpen(expiresAtMs);
  };
  const socket =
    security.tag === 'insecure'
      ? net.connect({ host, port, noDelay: true, onread }, () => open(Number.POSITIVE_INFINITY))
      : dialTls(security.identity, target, onread, events.onConnected, open, fail);
  socket?.on('error', (error: NodeJS.ErrnoException) => fail(failureOf(error), dialErrorText(error)));
  socket?.on('close', () =>
    fail(security.tag === 'insecure' ? 'connect-failed' : 'link-handshake-failed', 'it was closed'),
  );
  return socket;
}

function dialTls(
  identity: LinkIdentity,
  { host, port, identity: wanted }: DialTarget,
  onread: net.OnReadOpts,
  onConnected: () => void,
  open: (expiresAtMs: number) => void,
  fail: (code: FailureCode, detail: string) => void,
): tls.TLSSocket | null {
  const credentials = identity.current;
  if (credentials === null) return null;
  const options: tls.ConnectionOptions & { onread: net.OnReadOpts } = {
    host,
    port,
    servername: '',
    secureContext: contextOf(credentials),
    ALPNProtocols: [linkProtocol],
    minVersion: 'TLSv1.3',
    rejectUnauthorized: true,
    // Names mean nothing here; the identity is looked at below.
    checkServerIdentity: () => undefined,
    onread,
  };
  const socket = tls.connect(options, () => {
    const certificate = socket.getPeerX509Certificate();
    const peer = certificate === undefined ? null : identityIn(certificate);
    const expected = wanted.startsWith('spiffe://') ? wanted : `spiffe://${credentials.trustDomain}${wanted}`;
    if (peer === null || certificate === undefined || certificate.ca || spiffeIdOf(peer) !== expected) {
      fail(
        'wrong-identity',
        `it is ${peer === null ? 'nobody that has a name here' : spiffeIdOf(peer)}, not ${expected}`,
      );
      socket.destroy();
      return;
    }
    open(Math.min(credentials.expiresAtMs, Date.parse(certificate.validTo)));
  });
  socket.once('connect', onConnected);
  socket.setNoDelay(true);
  return socket;
}

const contexts = new WeakMap<LinkCredentials, tls.SecureContext>();

/** Made once for each certificate: it takes about a millisecond. */
function contextOf(credentials: LinkCredentials): tls.SecureContext {
  let context = contexts.get(credentials);
  if (context === undefined) {
    context = tls.createSecureContext(secureOptionsOf(credentials));
    contexts.set(credentials, context);
  }
  return context;
}

export function secureOptionsOf({ certificatePem, keyPem, bundlePem }: LinkCredentials): tls.SecureContextOptions {
  return { cert: certificatePem, key: keyPem, ca: bundlePem, minVersion: 'TLSv1.3' };
}

/** The one SPIFFE ID of a Service that a certificate carries (X.509-SVID section 2: exactly one URI); null for anything else. */
export function identityIn(certificate: X509Certificate): ServiceIdentity | null {
  const names = certificate.subjectAltName ?? '';
  // Node quotes a name that holds a comma: taken apart it could look like several.
  if (names.includes('"')) return null;
  const uris = names.split(', ').filter((name) => name.startsWith('URI:'));
  return uris.length === 1 ? parseSpiffeId(uris[0]!.slice(4)) : null;
}

/** What is wrong with the certificate of the far side, by the codes of OpenSSL's verification (X509_V_ERR, as Node names them). */
const certificateFaults: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet: do the clocks agree?',
};
const isOfNoRoot = /^(UNABLE_TO_(GET_ISSUER|VERIFY)|SELF_SIGNED|DEPTH_ZERO_SELF_SIGNED|CERT_SIGNATURE_FAILURE)/;

function dialErrorText(error: NodeJS.ErrnoException): string {
  const { code = '' } = error;
  if (isOfNoRoot.test(code)) return `its certificate is of no root that is believed here (${code})`;
  return certificateFaults[code] ?? tlsErrorText(error);
}

/** In words. OpenSSL's own message names a thread and a line of its source; what is meant is in `reason`. */
export function tlsErrorText(error: NodeJS.ErrnoException & { readonly reason?: string }): string {
  if (error.code === 'ERR_SSL_WRONG_VERSION_NUMBER') return `the peer does not speak TLS: ${insecureHint}`;
  return error.reason ?? error.message;
}

function failureOf({ code = '' }: NodeJS.ErrnoException): FailureCode {
  if (code === 'ECONNREFUSED') return 'connect-refused';
  return code.startsWith('E') && !code.startsWith('ERR_') ? 'connect-failed' : 'link-handshake-failed';
}
