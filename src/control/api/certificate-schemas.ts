/** The shapes of what the API asks and answers about certificates and tokens, for /openapi.json. */
import Type from 'typebox';
import { limits } from '../../model/limits.ts';

const owner = { service: Type.String(), namespace: Type.String() };
const time = (description: string) => Type.String({ description: `${description}, RFC 3339` });
const sha256 = Type.String({ description: 'SHA-256 of the DER of a root, lower-case hex' });

export const CertificateRequest = Type.Object({
  csr: Type.String({ description: 'PKCS #10 in PEM; only its public key (ECDSA on P-256) is used' }),
  ...owner,
});
export const Certificate = Type.Object({
  certificate: Type.String({ description: 'X.509-SVID in PEM' }),
  bundle: Type.String({ description: 'all roots that the mesh believes, in PEM' }),
  token: Type.String({ description: 'JWT for the push channel and for the next certificate' }),
  expiresAt: time('end of the certificate and of the token'),
  trustDomain: Type.String(),
  spiffeId: Type.String(),
});
export const JoinTokenRequest = Type.Object({
  ...owner,
  ttlSeconds: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: limits.joinTokenTtlMsMax / 1000,
      default: limits.joinTokenTtlMs / 1000,
    }),
  ),
});
export const JoinToken = Type.Object({
  token: Type.String({ description: 'JWT: whoever has it may join as this Service' }),
  expiresAt: time('end of the token'),
  spiffeId: Type.String(),
});
export const Authority = Type.Object({
  trustDomain: Type.String(),
  certificateTtlSeconds: Type.Number(),
  requiresJoinToken: Type.Boolean(),
  signing: Type.Union([sha256, Type.Null()]),
  roots: Type.Array(
    Type.Object({
      sha256,
      subject: Type.String(),
      notBefore: time('start of its validity'),
      notAfter: time('end of its validity'),
      addedAt: time('when it joined the trust bundle'),
      retiresAt: Type.Union([time('when it leaves the trust bundle'), Type.Null()]),
      isSigning: Type.Boolean(),
    }),
  ),
  waitingFor: Type.Array(Type.Object({ sidecar: Type.String(), ...owner })),
});
