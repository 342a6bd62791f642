/** A registered endpoint: what a sidecar with an app tells the mesh about itself, kept under its lease. */
export interface Registration {
  /** `NAME/NAMESPACE` of the Service is the lease's; here is where others reach it: the sidecar's inbound listener. */
  readonly address: string;
  readonly zone: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly weight: number;
  /** `HOST:PORT` of the sidecar's link listeners, at most `limits.linkAddressesMax`; empty: it has none, or does not say. */
  readonly link: readonly string[];
}

/** What the mesh keeps of one living sidecar for `limits.leaseMs` after it was last heard. */
export interface SidecarLease {
  readonly sidecar: string;
  readonly service: string;
  readonly namespace: string;
  /** Hosts that the sidecar subscribed to: they decide which changes concern it, connected or not. */
  readonly subscriptions: readonly string[];
  /** Null while its app does not accept connections, and for a sidecar without an app. */
  readonly registration: Registration | null;
  /** It runs with --insecure-link: it dials and accepts links without knowing who is at the other end. */
  readonly isLinkInsecure: boolean;
}

/** The registered endpoints of one Service, as pushed to sidecars. Sorted by address. */
export interface EndpointSet {
  readonly kind: 'EndpointSet';
  readonly namespace: string;
  readonly service: string;
  readonly endpoints: readonly Registration[];
}
