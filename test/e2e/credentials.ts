/** Certificates for callers of a link port, of the mesh's own root and of others: good ones, and all that must not be believed. */
import { makeCertificateRequest } from '../../src/identity/certificate-request.ts';
import type { SigningRoot } from '../../src/identity/root.ts';
import { RootDirectory } from '../../src/identity/root-directory.ts';
import { issueSvid } from '../../src/identity/svid.ts';

export interface Credentials {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export interface Wish {
  readonly service: string;
  readonly trustDomain?: string;
  /** When it was issued, and for how long. */
  readonly nowMs?: number;
  readonly ttlMs?: number;
}

/** The root of a `--ca-dir`, or a new one where there is none. */
export const rootIn = (path: string): Promise<SigningRoot> =>
  new RootDirectory({ path, trustDomain: 'weft.local', nowMs: () => Date.now() }).open('root');

/** Signed by `root` whatever is asked for, as whoever has its key can. */
export async function credentialsFrom(
  root: SigningRoot,
  { service, trustDomain = 'weft.local', nowMs = Date.now(), ttlMs = 600_000 }: Wish,
): Promise<Credentials> {
  const { csrPem, keyPem } = await makeCertificateRequest();
  const identity = { trustDomain, namespace: 'default', service };
  const { certificatePem } = await issueSvid(root, { csrPem, identity, nowMs, ttlMs });
  return { cert: certificatePem, key: keyPem, ca: root.certificatePem };
}
