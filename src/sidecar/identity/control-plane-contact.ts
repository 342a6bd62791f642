/**
 * A TLS connection to a control plane that has proved to be one. Nothing was sent on it when it is handed over: a token goes only to
 * somebody whose certificate was issued by a root that is known, at the first contact from the join token, later from the bundle.
 */

import type { X509Certificate } from 'node:crypto';
import { connect, type TLSSocket } from 'node:tls';
import { fingerprintOf } from '../../identity/root.ts';
import { controlPlaneServerName } from '../../model/identity.ts';
import { limits } from '../../model/limits.ts';
import { certificatesIn, isIssuedBy, spiffeIdIn, timeFault } from './credentials-check.ts';

export interface ControlPlaneTrust {
  /** Null: any, where a root says who is meant. */
  readonly trustDomain: string | null;
  /** Lower-case hex SHA-256 of roots that are believed when the control plane shows one of them. */
  readonly rootsSha256: readonly string[];
  /** Roots that are believed, PEM; null: none. */
  readonly bundlePem: string | null;
}

/** Whoever answers has a certificate, of a root that nobody has told this sidecar of. */
export class OtherRootError extends Error {
  override readonly name = 'OtherRootError';
}

const chainLengthMax = 8;

/** Rejects with OtherRootError, and when the handshake fails, when whoever answers is not a control plane of the trust domain, or when the signal aborts. */
export function connectToControlPlane(
  { host, port }: { readonly host: string; readonly port: number },
  trust: ControlPlaneTrust,
  nowMs: number,
  signal: AbortSignal,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const socket = connect({
      host,
      port,
      // Whatever it is called here: people may be shown a certificate of another CA under that name.
      servername: controlPlaneServerName,
      minVersion: 'TLSv1.3',
      // Who it is, is decided below, before anything is sent: at the first contact there is no root to give to OpenSSL.
      rejectUnauthorized: false,
    });
    const fail = (error: Error) => {
      signal.removeEventListener('abort', abort);
      socket.destroy();
      reject(error);
    };
    const abort = () => fail(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    // Its listener stays: what breaks later breaks the request on it, which hears of it too.
    socket.on('error', fail);
    socket.once('close', () => fail(new Error('it closed the connection during the TLS handshake')));
    socket.once('secureConnect', () => {
      const fault = controlPlaneFault(socket.getPeerX509Certificate() ?? null, trust, nowMs);
      if (fault !== null) {
        fail(fault);
        return;
      }
      signal.removeEventListener('abort', abort);
      resolve(socket);
    });
  });
}

/** What is wrong when a certificate with its chain is not the one of a control plane that is believed; else null. */
export function controlPlaneFault(
  certificate: X509Certificate | null,
  trust: ControlPlaneTrust,
  nowMs: number,
): Error | null {
  if (certificate === null) return new Error('it shows no certificate');
  const known =
    trust.bundlePem === null ? [] : certificatesIn(trust.bundlePem, 'the trust bundle', limits.trustRootsMax);
  const isNamed = (sha256: string) => trust.rootsSha256.includes(sha256);
  const pinned = chainOf(certificate).filter((shown) => isNamed(fingerprintOf(shown)));
  const root = [...known, ...pinned].find((candidate) => isIssuedBy(certificate, candidate));
  if (root === undefined)
    return trust.rootsSha256.length === 0
      ? new Error('its certificate was not issued by a root of the trust bundle')
      : new OtherRootError('its certificate was not issued by a root that the join token names');
  const fault = timeFault(certificate, nowMs) ?? timeFault(root, nowMs);
  if (fault !== null) return new Error(`its certificate ${fault}`);
  const expected = `spiffe://${trust.trustDomain ?? '*'}/control-plane`;
  const actual = spiffeIdIn(certificate);
  const isExpected = trust.trustDomain === null ? isControlPlaneId(actual) : actual === expected;
  return isExpected ? null : new Error(`its certificate is the one of ${actual ?? 'nobody'}, not of ${expected}`);
}

/** Of whatever trust domain. */
export const isControlPlaneId = (spiffeId: string | null): boolean =>
  /^spiffe:\/\/[^/]+\/control-plane$/.test(spiffeId ?? '');

function chainOf(certificate: X509Certificate): readonly X509Certificate[] {
  const chain: X509Certificate[] = [];
  let above = certificate.issuerCertificate;
  while (above !== undefined && chain.length < chainLengthMax) {
    chain.push(above);
    above = above.issuerCertificate;
  }
  return chain;
}
