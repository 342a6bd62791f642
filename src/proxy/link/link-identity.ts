/**
 * By whom a link is dialled and accepted: what the link needs of an identity. Keys and certificates are made and renewed elsewhere
 * (identity/, sidecar/); the proxy is handed what is current.
 */
export interface LinkCredentials {
  /** Own trust domain: a peer of another one is refused. */
  readonly trustDomain: string;
  /** Own SPIFFE ID. */
  readonly spiffeId: string;
  /** Own certificate with what stands between it and a root, PEM. */
  readonly certificatePem: string;
  readonly keyPem: string;
  /** The roots that are believed, PEM. */
  readonly bundlePem: string;
  /** End of the certificate's validity, ms since the epoch. */
  readonly expiresAtMs: number;
}

export interface LinkIdentity {
  /** Null: there is none yet. A new certificate or a new bundle is a new object. */
  readonly current: LinkCredentials | null;
  /** Calls back after `current` was replaced; the answer ends that. */
  onChange(listener: () => void): () => void;
}
