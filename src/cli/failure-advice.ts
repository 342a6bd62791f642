/** What to change so that a failure does not happen again: one line for each code of the closed table. */
import type { FailureCode } from '../proxy/failure.ts';

const client = 'Mend the client: ';

const advice: Readonly<Record<FailureCode, string>> = {
  'bad-request': `${client}what it sends is not valid HTTP/1.1; the detail says where.`,
  'path-not-normal': `${client}send the path in normal form, or let the sidecar take it: --paths LISTENER=normalise (docs/http.md).`,
  'length-required': `${client}send Content-Length.`,
  'body-too-large': 'Send less, or raise the limit that the detail names (docs/limits.md).',
  'target-too-long': 'Shorten the path and query, or raise the limit that the detail names (docs/limits.md).',
  'expectation-failed': `${client}leave out every Expect but 100-continue.`,
  'headers-too-large':
    'Send fewer or smaller header fields (cookies?), or raise the limit that the detail names (docs/limits.md).',
  'method-not-supported': `${client}use another method.`,
  'version-not-supported': `${client}speak HTTP/1.1 or HTTP/1.0.`,
  'client-gone':
    "Look at the client's own timeout: it left before the answer was complete. `weft trace` shows what it waited for.",
  'request-head-timeout': `${client}it opens connections and sends its heads late; or raise the limit (docs/limits.md).`,
  'request-body-timeout': `${client}its body stopped; or raise timeouts.idle in a TrafficPolicy.`,
  'request-body-too-slow': 'Send the body faster, or lower the limit that the detail names (docs/limits.md).',
  'answer-unread': `${client}it does not read the answer; or raise timeouts.idle in a TrafficPolicy.`,
  'unknown-service': 'Call a name that `weft get services` lists, or add the host to the hostnames of an HTTPRoute.',
  'no-route': 'Add a rule that matches to an HTTPRoute of the Service: with any route, what none matches is refused.',
  'no-configuration':
    'Let the sidecar reach its control plane, or give it --config or --state-dir; `/ready` of its admin port says why.',
  'discovery-timeout':
    'Look whether the control plane answers; --upstream NAME=HOST:PORT asks for a host ahead of its first request.',
  'discovery-full':
    'Too many unknown hosts at once: look at who calls names that do not exist, and whether the control plane answers.',
  'backend-not-found': 'Correct the backendRef of the route, or apply the Service that it names.',
  'no-backend': 'Give the rule a backendRef with a weight above 0.',
  'pattern-failed':
    'Simplify the regular expression of the route, or match by prefix; several at once may be too much for its deadline.',
  'pool-full':
    'Add endpoints, or find out why they answer slowly: their connections and the queue for them are all in use.',
  draining:
    'Start another instance before one is ended: it was the only endpoint left, and its sidecar is ending as it was told to.',
  'connection-limit': 'Reuse connections in the client, or raise --limit LISTENER.connections.',
  'internal-error':
    "Look into this sidecar's log, and report it: this is a fault of Weft or of what its filters were told to write.",
  'no-endpoint':
    'Start an instance of the Service beside a sidecar, or write endpoints into it; `weft status` lists who is registered.',
  'connect-refused': 'Start what should listen at that address, or correct the endpoint.',
  'connect-failed': 'Look whether the address of the endpoint is right and can be reached from here.',
  'connect-timeout':
    'Look for a firewall or a machine that is down; an endpoint that accepts nobody within 5 s is as good as none.',
  'no-identity':
    "Look into this sidecar's log for what the control plane says of its certificate; without one give --identity-dir.",
  'wrong-identity':
    'Look who listens at that address: it proved to be another Service. An old registration or a reused address does that.',
  'link-handshake-failed':
    'Look whether both sidecars have current certificates of one mesh, and clocks that agree; both logs say more.',
  'link-refused':
    "Look into the far sidecar's log: it refused the caller's certificate, or has too many streams or is draining.",
  'link-lost':
    'Look whether the far sidecar ended or the network broke; a request that is safe to repeat (GET, PUT, DELETE) is tried again by itself.',
  'stale-connection':
    'Let the app keep idle connections for longer than 5 s; requests that are safe to repeat are tried again by themselves.',
  'pipeline-lost':
    'Find out which request before it on the connection is slow, or take `pipelining` off the Service if its app is not safe with it.',
  'upstream-reset':
    "Look into the app's log: it closed the connection without an answer (a crash, a restart, or a limit of its own).",
  'upstream-garbage': 'Mend the app: what it answered is not valid HTTP/1.1.',
  'upstream-head-too-large':
    'Have the app send fewer or smaller header fields, or raise the limit that the detail names (docs/limits.md).',
  'answer-cut': "Look into the app's log: it closed the connection in the middle of its answer.",
  'per-try-timeout':
    'Make the endpoint answer sooner, or raise timeouts.backendRequest of the rule or TrafficPolicy; `weft trace` shows where the time went.',
  'request-timeout':
    'Make the endpoint answer sooner, or raise timeouts.request of the rule or TrafficPolicy; `weft trace` shows where the time went.',
  'idle-timeout': 'Have the endpoint send something now and then, or raise timeouts.idle in a TrafficPolicy.',
};

export const adviceFor = (code: FailureCode): string => advice[code];
