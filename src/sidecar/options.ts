/** What one sidecar was asked to be: the command line, parsed and checked. Everything is resolved; nothing here has a default left. */
import type { HostPort, LocalAddress } from '../model/host-port.ts';
import type { ListenerLimits, ListenerName } from '../model/listener-limits.ts';
import type { ForwardingPolicy } from '../proxy/forwarding.ts';
import type { PathPolicy } from '../proxy/path.ts';
import type { AccessLogPolicy } from '../telemetry/access-log.ts';

/** A local port that leads to one service whatever the Host says: `--upstream cart=127.0.0.1:9101`. */
export interface UpstreamListener {
  /** The service as an outbound call would name it in Host: `cart`, `cart.default`, or a hostname that a route claims. */
  readonly name: string;
  readonly address: HostPort;
}

/** What a listener makes of a request before it is routed. */
export interface ListenerPolicy {
  readonly paths: PathPolicy;
  readonly forwarding: ForwardingPolicy;
}

/** Where the configuration comes from: one of the two, never both. */
export type ConfigSource =
  /** Base addresses of the API (`http://127.0.0.1:7070`), no trailing slash; at least one, tried in turn. */
  | { readonly tag: 'control-plane'; readonly urls: readonly string[] }
  /** Absolute path of a file of resources, read again when it changes. */
  | { readonly tag: 'file'; readonly path: string };

/** Which HTTP core serves a listener: uWebSockets.js (fast, loopback only) or Node's own (llhttp, strict). */
export type HttpCore = 'uws' | 'node';

/** Which spans go where. */
export interface TracingOptions {
  /** What is posted to, `/v1/traces` and all. */
  readonly url: string;
  /** Sent along. A secret: not for the log. */
  readonly headers: Readonly<Record<string, string>>;
  /** Bodies are compressed with gzip. */
  readonly isCompressed: boolean;
  /** Of traces that begin here, 0 to 1; others are sampled as their parent says. */
  readonly sampleRatio: number;
  /** Requests that took this long are exported whether sampled or not, ms; 0: none is for that. */
  readonly slowMs: number;
}

export interface SidecarOptions {
  readonly service: string;
  readonly namespace: string;
  /** The app beside it; null for a sidecar that only calls others. */
  readonly app: LocalAddress | null;
  readonly outbound: LocalAddress;
  /** Who may connect to `outbound` where it is a unix socket: its mode, such as 0o600. */
  readonly outboundMode: number;
  readonly outboundHttp: HttpCore;
  /** Null: nobody can call the app through this sidecar in plain HTTP; without a link either, no endpoint is registered. */
  readonly inbound: HostPort | null;
  readonly inboundHttp: HttpCore;
  /** Where other sidecars reach the app over the link; null: they do not. */
  readonly link: HostPort | null;
  readonly listenerPolicies: Readonly<Record<ListenerName, ListenerPolicy>>;
  /** Links in both directions are plain TCP and prove nobody's identity; there is no identity directory then, and a join token only opens the push channel. */
  readonly isLinkInsecure: boolean;
  /** Shown to a control plane for the first certificate, and the push token with it. A secret: not for the log. */
  readonly joinToken: string | null;
  /** Absolute path of the file that `joinToken` came from, which may hold another one later; null: it did not come from a file. */
  readonly joinTokenFile: string | null;
  /** Absolute path of a directory with svid.pem, key.pem and bundle.pem; null: the identity comes from the control plane, if there is one. */
  readonly identityDir: string | null;
  readonly admin: HostPort;
  readonly source: ConfigSource;
  /** Absolute path; null keeps nothing on disk. */
  readonly stateDir: string | null;
  /** Host that others are told; null takes the inbound or link listener's, or for a wildcard the local address of the control-plane connection. */
  readonly advertise: string | null;
  readonly upstreams: readonly UpstreamListener[];
  /** Empty: none. */
  readonly zone: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Those of `outbound` hold for each listener of an upstream too. */
  readonly limits: Readonly<Record<ListenerName, ListenerLimits>>;
  /** Event loops that serve requests, 1 to `limits.loopsMax`. */
  readonly loops: number;
  /** Lines of requests on standard error; null: none. */
  readonly accessLog: AccessLogPolicy | null;
  /** Patterns of paths that leave neither in the access log nor in a span as they came (telemetry/path-redaction.ts). */
  readonly redactedPaths: readonly string[];
  /** Spans to a collector; null: none. */
  readonly tracing: TracingOptions | null;
  /** How long a drain waits for requests that run, ms. */
  readonly drainMs: number;
}
