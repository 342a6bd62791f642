/**
 * The closed table of ways in which a request can fail inside Weft. A local reply carries the code in `Weft-Failure`, the log and
 * the metrics use the same word, and a retry is decided by `isSafeToRetry` here and nowhere else.
 */
export interface Failure {
  readonly code: FailureCode;
  readonly status: number;
  /** Who is at fault: the caller's request, this mesh's configuration or limits, or what lies upstream. */
  readonly source: 'downstream' | 'mesh' | 'upstream';
  /** True when no byte of the request can have been acted upon, whatever its method. */
  readonly isSafeToRetry: boolean;
  /** One sentence for the person who reads the reply. */
  readonly message: string;
}

const table = {
  'bad-request': [400, 'downstream', false, 'The request is not valid HTTP.'],
  'path-not-normal': [400, 'downstream', false, 'The path is not in normal form, and the listener takes no other.'],
  'length-required': [411, 'downstream', false, 'The request needs a Content-Length.'],
  'body-too-large': [413, 'downstream', false, 'The request body is larger than the limit.'],
  'target-too-long': [414, 'downstream', false, 'The request target is longer than the limit.'],
  'expectation-failed': [417, 'downstream', false, 'Only the expectation 100-continue is understood.'],
  'headers-too-large': [431, 'downstream', false, 'The header fields are larger than the limit.'],
  'method-not-supported': [501, 'downstream', false, 'The method is not supported.'],
  'version-not-supported': [505, 'downstream', false, 'Only HTTP/1.1 and HTTP/1.0 are spoken here.'],
  'client-gone': [499, 'downstream', false, 'The client went away before the answer was complete.'],
  'request-head-timeout': [408, 'downstream', false, 'The head of the request did not arrive in time.'],
  'request-body-timeout': [408, 'downstream', false, 'The request body stopped arriving.'],
  'request-body-too-slow': [408, 'downstream', false, 'The request body arrived more slowly than the limit.'],
  'answer-unread': [
    499,
    'downstream',
    false,
    'The client took nothing of the answer for longer than the idle timeout.',
  ],

  'unknown-service': [404, 'mesh', false, 'No Service or route claims this host.'],
  'no-route': [404, 'mesh', false, 'The Service has routes, and none of them matches this request.'],
  'no-configuration': [503, 'mesh', true, 'The sidecar has no configuration yet.'],
  'discovery-timeout': [503, 'mesh', true, 'The control plane did not answer in time what this host is.'],
  'discovery-full': [503, 'mesh', true, 'Too many requests wait for the configuration of new hosts.'],
  'backend-not-found': [500, 'mesh', false, 'The route names a backend that does not exist.'],
  'no-backend': [500, 'mesh', false, 'All backends of the route have weight 0, or it has none.'],
  'pattern-failed': [503, 'mesh', false, 'A regular expression of the route could not be evaluated in time.'],
  'pool-full': [503, 'mesh', true, 'The limit of connections and waiting requests to the endpoint is reached.'],
  draining: [503, 'mesh', true, 'The far sidecar is draining, and takes no new link.'],
  'connection-limit': [503, 'mesh', true, 'The limit of connections to this listener is reached.'],
  'internal-error': [500, 'mesh', false, 'The sidecar failed; its log has more.'],

  'no-endpoint': [503, 'upstream', true, 'The Service has no endpoint.'],
  'connect-refused': [503, 'upstream', true, 'The endpoint refused the connection.'],
  'connect-failed': [503, 'upstream', true, 'The endpoint could not be reached.'],
  'connect-timeout': [503, 'upstream', true, 'The endpoint did not accept the connection in time.'],
  'no-identity': [
    503,
    'mesh',
    true,
    'This sidecar has no certificate to prove who it is: its log says what the control plane answers; without one it needs --identity-dir.',
  ],
  'wrong-identity': [503, 'upstream', true, 'The endpoint proved to be somebody else than it should be.'],
  'link-handshake-failed': [503, 'upstream', true, 'The TLS handshake of the link to the far sidecar failed.'],
  'link-refused': [503, 'upstream', true, 'The far sidecar refused the link or the request before it looked at it.'],
  'link-lost': [502, 'upstream', false, 'The link to the far sidecar broke before it had answered.'],
  'stale-connection': [502, 'upstream', false, 'A kept connection was closed by the endpoint as the request was sent.'],
  'pipeline-lost': [
    502,
    'upstream',
    false,
    'The connection was given up, or was held up for too long, before an answer to an earlier request on it was complete.',
  ],
  'upstream-reset': [502, 'upstream', false, 'The endpoint closed the connection before it had answered.'],
  'upstream-garbage': [502, 'upstream', false, 'The endpoint answered with something that is not valid HTTP.'],
  'upstream-head-too-large': [502, 'upstream', false, "The answer's header fields are larger than the limit."],
  'answer-cut': [502, 'upstream', false, 'The endpoint closed the connection in the middle of its answer.'],
  'per-try-timeout': [504, 'upstream', false, 'The attempt took longer than its timeout.'],
  'request-timeout': [504, 'upstream', false, 'The request took longer than its timeout.'],
  'idle-timeout': [504, 'upstream', false, 'No byte moved for longer than the idle timeout.'],
} as const satisfies Record<string, readonly [number, Failure['source'], boolean, string]>;

export type FailureCode = keyof typeof table;

export const failures = Object.fromEntries(
  Object.entries(table).map(([code, [status, source, isSafeToRetry, message]]) => [
    code,
    { code, status, source, isSafeToRetry, message },
  ]),
) as Readonly<Record<FailureCode, Failure>>;
