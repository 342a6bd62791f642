/** The one kind of key and signature that Weft's identities use: ECDSA on P-256 with SHA-256, in WebCrypto's words. */

export const ecdsaP256 = { name: 'ECDSA', namedCurve: 'P-256' } as const;
export const signatureP256 = { name: 'ECDSA', hash: 'SHA-256' } as const;
