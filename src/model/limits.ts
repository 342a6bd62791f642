/**
 * Every bound of Weft in one place: a queue, map, body, retry or loop over input that has no line here has no limit, and that is
 * a fault. Units are the last word of each name.
 */
export const limits = {
  /** Request and response heads, all bytes of the field section together. */
  headBytesMax: 64 * 1024,
  headerFieldsMax: 200,
  targetBytesMax: 16 * 1024,
  /** uWS of Node 20 does not answer 99 or more fields at all; the check is ours for everything below. */
  connectionsPerListenerMax: 10_000,
  /** Body of an answer that a listener holds to send it with its head in one write (below uWS's cork buffer of 16 KiB). */
  heldAnswerBytesMax: 12 * 1024,
  /**
   * A listener goes on reading after an early or last answer, so that a reset does not take away what the kernel still holds of it: as long as
   * bytes of the request come within the first, up to the second in all, and so many of them. nginx does the same with 5 s (`lingering_timeout`)
   * and 30 s (`lingering_time`): how much of an answer its client has taken cannot be asked.
   */
  lingerMs: 4_000,
  lingerTotalMs: 30_000,
  lingerBytesMax: 256 * 1024 * 1024,
  /** The head of a request must be complete after this time. */
  headTimeoutMs: 10_000,
  /** Requests that a client of the edge may send ahead of the answer to its first one. */
  pipelinedRequestsMax: 64,
  /** An idle connection from a client is closed after this time by the edge; uWS does so after 10 to 12 s. */
  downstreamIdleMs: 60_000,
  /**
   * A request body must bring `bodyRateMin` bytes a second, on average over each window; the first window is longer by the grace. Far
   * below what any network does, and enough that nobody holds a request for long with a byte now and then.
   */
  bodyRateMin: 100,
  bodyGraceMs: 5_000,
  bodyWindowMs: 10_000,

  /** Upstream pool, per endpoint and loop. */
  poolConnectionsMax: 1024,
  poolPendingMax: 1024,
  /** Below the 5 s at which Node's own server retires a connection: we must be the first to let go. */
  poolIdleMs: 4_000,
  connectTimeoutMs: 5_000,
  /** How often idle connections and hanging connects are looked for: each may last up to this much longer. */
  poolSweepMs: 250,
  /** How late a request's timeout may fire. */
  deadlineSweepMs: 20,
  /** Requests on one connection that wait for their answers, where a Service takes several: by default, and the most that can be said. */
  pipelinedDepth: 8,
  pipelinedDepthMax: 64,
  /** While fewer connections than this have a request under way, the next request gets one for itself. */
  pipelinedSpread: 8,
  /** Connections that are looked at for the one with the fewest requests. */
  pipelinedLooksMax: 16,
  /** No request is put behind an answer that has been waited for this long; after the second those that stand behind it go elsewhere. */
  pipelinedJoinMs: 20,
  pipelinedWaitMs: 1_000,
  /** Of an answer that nobody waits for any more, read for the sake of those behind it. */
  pipelinedDrainBytesMax: 64 * 1024,
  /** 1xx answers before the final one. */
  interimAnswersMax: 16,
  /** Chunk extensions of one answer, all together. */
  chunkExtensionBytesMax: 16 * 1024,
  /** Bytes held for one stream in one direction before the reader of that direction is paused. */
  streamBufferBytesMax: 64 * 1024,
  /** A request body up to this size is kept, so that an idempotent request can be sent once more. */
  replayBodyBytesMax: 64 * 1024,
  /** Tries of one request, the first included, on stale or refused connections. */
  attemptsMax: 3,
  mirrorsMax: 256,
  mirrorTimeoutMs: 30_000,
  /** Body bytes that a mirror may be behind the request that it copies. */
  mirrorBacklogBytesMax: 256 * 1024,
  idleTimeoutMs: 60_000,
  timeoutMsMax: 24 * 3600 * 1000,

  /** Requests that wait for the first configuration of a host they name. */
  discoveryPendingMax: 1_024,
  discoveryWaitMs: 1_000,
  subscriptionsMax: 10_000,
  subscriptionUnusedMs: 24 * 3600 * 1000,

  /** Links between sidecars; docs/link.md has what follows from these for a link's memory. */
  linkStreamsMax: 2_048,
  /** Of one head on a link: what a listener lets in, and what the filters of routes and Weft itself add. */
  linkFieldsMax: 512,
  /**
   * What a caller's sidecar may add to the head of a client, beyond what the callee's link listener lets in: a rule and its backendRef set and add
   * at most 64 fields, and Weft writes six of its own (http.md, `traceparent`). The bytes must leave room in a frame (`headPayloadMax`).
   */
  linkAddedFieldsMax: 80,
  linkAddedBytesMax: 8 * 1024,
  /** DATA that may be under way on a link in one direction, once bandwidth and round trip were measured. */
  linkWindowBytesMax: 4 * 1024 * 1024,
  /** Credit of all streams of a link beyond their first 64 KiB. */
  linkWidenedBytesMax: 8 * 1024 * 1024,
  /** DATA that is given to a socket ahead of the kernel: in a turn, while the kernel takes all; and behind what it has not taken. */
  linkTurnBytesMax: 256 * 1024,
  linkAheadBytesMax: 64 * 1024,
  /** A peer that leaves more than this unread is cut off. */
  linkUnsentBytesMax: 64 * 1024 * 1024,
  /** A link on which nothing was heard for the first (with streams; without: the second) is asked, and lost after the third without an answer. */
  linkQuietMs: 2_000,
  linkIdleQuietMs: 10_000,
  linkPingMs: 3_000,
  /** A sweep that comes this late says that our own loop was held up. */
  linkLateSweepMs: 1_000,
  /** A link that nobody used for this long is closed; one of this age is replaced, or earlier, before its certificates expire. */
  linkIdleMs: 300_000,
  linkAgeMs: 3600_000,
  /** A link is not replaced before this age: certificates that nobody renews in time would make a new one at every look. */
  linkHandoverMsMin: 1_000,
  /** After a link could not be made: the first pause, doubling up to the last, jittered. Up to the third, requests wait for the next try. */
  linkRetryFirstMs: 50,
  linkRetryMsMax: 5_000,
  linkRetryWaitMs: 250,
  /** How long requests with nowhere else to go wait for a peer that was found silent; until it answers, later ones fail at once. */
  linkSilentWaitMs: 1_000,
  /** Endpoints that drain or cannot be reached, passed over in one choice. */
  endpointsPassedOverMax: 16,

  /** A transfer that took less is not told to the hop before. */
  transferToldMs: 0.05,

  /** Regular expressions from users: see decisions/. */
  regexBytesMax: 1_024,
  regexSubjectBytesMax: 16 * 1024,
  regexBatchMax: 256,
  regexPendingMax: 4_096,
  regexDeadlineMs: 50,
  regexCutOffsMax: 3,
  regexCutOffWindowMs: 60_000,
  /** How long a request waits for its patterns in all, the start of a worker included. */
  regexWaitMs: 1_000,
  /** One task of compiling or rendering: the largest Service takes a few seconds. */
  poolTaskMs: 60_000,

  /** Configuration. */
  objectBytesMax: 1024 * 1024,
  transactionObjectsMax: 5_000,
  /**
   * Of a body in JSON: how deep it may nest, and how many values (members of objects and lists) it may have, as one object and as a
   * transaction. No valid one of so many bytes has more; a body of nothing but values costs fifty times its bytes once it is parsed.
   */
  jsonLevelsMax: 100,
  /** Of one object: a table of a million different names takes seconds to fill. */
  jsonFieldsMax: 10_000,
  objectValuesMax: 150_000,
  transactionValuesMax: 1_500_000,
  /** Of an object with more values than this only the first mistake is told: all of them cost some 20 us for each value. */
  valuesJudgedInFullMax: 5_000,
  /** Changes that wait for the one before them; each holds its body. */
  changesPendingMax: 1_000,
  manifestBytesMax: 16 * 1024 * 1024,
  /** How deep YAML may nest; a resource needs some 15 levels. */
  manifestLevelsMax: 100,
  /** Further ones are counted: nobody reads more, and a file of nonsense has millions. */
  problemsPerManifestMax: 1_000,
  rulesPerRouteMax: 256,
  matchesPerRuleMax: 64,
  endpointsPerServiceMax: 10_000,
  nameCharsMax: 63,
  hostCharsMax: 253,
  /** `sun_path` of a unix socket's address has 108 bytes, the NUL at the end included (unix(7)). */
  socketPathBytesMax: 107,
  labelValueCharsMax: 128,
  /** Of one registered endpoint. */
  labelsMax: 64,
  /** Link listeners of one endpoint: each event loop of its sidecar has one. */
  linkAddressesMax: 64,
  scheduleEntriesMax: 65_536,
  weightMax: 1_000_000,
  ringEntriesMin: 1_024,
  ringEntriesMax: 8 * 1024 * 1024,
  maglevEntries: 65_537,
  /** Event loops of one sidecar; each has a link listener. */
  loopsMax: 64,
  /** A loop that was asked for something: to listen, or to swap the configuration, its start included; for its readings; to close. */
  loopAnswerMs: 20_000,
  loopReadingMs: 1_000,
  loopCloseMs: 3_000,
  /** Slots of the shared live state: endpoints and routes in use by any version that is still in force. */
  liveSlotsMax: 65_536,
  /** A slot whose owner left is given away only after this: longer than any request waits without an attempt under way. */
  slotQuarantineMs: 60_000,

  /** Push. */
  pushFrameBytesMax: 64 * 1024 * 1024,
  pushClientFrameBytesMax: 1024 * 1024,
  sidecarsMax: 20_000,
  /** Objects that a Hello may say it holds: each subscription reaches a few. */
  heldObjectsMax: 200_000,
  /** Entries of `held`, and of `hosts`, in one frame of a Hello: with the longest names it stays below `pushClientFrameBytesMax`. */
  helloEntriesMax: 1_000,
  /** Frames of a Hello, and their bytes: 200,000 objects with keys and versions of 80 characters. */
  helloPartsMax: 256,
  helloBytesMax: 16 * 1024 * 1024,
  /** Frames of one sidecar in a second: it answers what it is sent, and subscribes once for all that a turn of its loop brought. */
  pushClientFramesPerSecondMax: 2_000,
  /** Hosts that changes of one lease may look at, at once and in a second: a change looks at all of them. What comes faster is gathered. */
  leaseLooksMax: 20_000,
  leaseLooksPerSecond: 20_000,
  /** How long a connection may take to greet, a reader to take what was sent to it, a change to be applied. */
  greetingMs: 10_000,
  slowReaderMs: 15_000,
  applyMs: 30_000,
  nackReasonCharsMax: 2_000,
  /** How long a sidecar that leaves waits for the control plane to have taken it out. */
  withdrawMs: 1_000,
  /** How long a sidecar gathers changes before it writes them to its state directory. */
  stateSaveMs: 100,
  leaseMs: 15_000,
  leaseRenewMs: 5_000,
  /** No lease ends this soon after a control plane started: its sidecars need time to find it again. */
  leaseGraceMs: 30_000,
  leasesMax: 50_000,
  /** How long, and how many, sidecars are told of whose lease has ended without their taking leave. */
  goneKeptMs: 600_000,
  goneSidecarsMax: 1_000,
  /** A Service that was served for longer is no mistyped name; so many are remembered. */
  servedMomentMs: 60_000,
  servedServicesMax: 10_000,
  /** Of a lease as it is stored, of those of one Service, and of all: in memory they take some five times as much. */
  leaseCharsMax: 1024 * 1024,
  leaseCharsPerServiceMax: 32 * 1024 * 1024,
  leaseCharsTotalMax: 128 * 1024 * 1024,
  /** How long renewals gather before the embedded store writes them. */
  leaseWriteMs: 5_000,
  /** A store looks at its leases at least this often while it has any: a timer cannot wait for longer than 24 days. */
  leaseCheckMsMax: 60_000,
  /**
   * The store on etcd: one call to one member; a write with all of its tries, and for each chunk of it more; how long a start looks for a
   * member that answers; the pause before a next try.
   */
  etcdTryMs: 700,
  etcdWriteMs: 5_000,
  etcdChunkWriteMs: 250,
  etcdOpenMs: 10_000,
  etcdRetryMs: 100,
  /** How long reads are asked through the log once one had no answer: longer than a member of etcd hangs. */
  etcdReadsHangMs: 10_000,
  /** Of one value. etcd refuses requests above 1.5 MiB, and transactions of more than 128 operations. */
  etcdChunkBytesMax: 1024 * 1024,
  etcdOperationsMax: 100,
  /** Keys that one read brings: each may have a chunk. */
  etcdPageKeysMax: 32,
  /** Others take a control plane for gone so long after it was last heard; it renews more often. */
  replicaLeaseMs: 9_000,
  replicaRenewMs: 3_000,
  /** What a control plane tells the others about its sidecars. */
  replicaNoteCharsMax: 768 * 1024,
  /** Writes that wait for the one before them. */
  storeWritesPendingMax: 10_000,
  /** The leader shortens the log on etcd when it holds so many revisions, or so much of them, beyond what is kept. */
  compactAfterRevisions: 1_000,
  compactAfterChars: 8 * 1024 * 1024,
  debounceMs: 50,
  debounceMsMax: 500,
  waitAppliedMs: 30_000,
  waitAppliedMsMax: 600_000,
  reconnectFirstMs: 500,
  reconnectMsMax: 5_000,
  watchersMax: 1_000,
  /** Objects that a watcher which comes back is told again: beyond it, listing them costs less. */
  watchCatchUpCharsMax: 16 * 1024 * 1024,
  /** Events that all watchers together have not taken yet: beyond it, whoever is behind loses its connection. */
  watchUnsentBytesMax: 128 * 1024 * 1024,
  /**
   * How far back history goes, unless flags say otherwise: by count, and by age before the newest revision. `revisionsFlagMax`: what the flag
   * for the count may be.
   */
  revisionsKeptMax: 10_000,
  revisionsFlagMax: 100_000,
  historyAgeMs: 90 * 24 * 3600_000,
  historyAgeMsMin: 60_000,
  historyAgeMsMax: 3650 * 24 * 3600_000,
  /** Keys and values of all kept revisions together, before and after: they are in memory, and objects may be large. */
  historyCharsMax: 64 * 1024 * 1024,

  /** The API. Bodies of requests that are read or answered, and of answers that are not taken yet, each all together. */
  apiBodyBytesMax: 256 * 1024 * 1024,
  apiAnswerBytesMax: 256 * 1024 * 1024,
  /** How long a reader may take nothing more of an answer that was begun. */
  apiAnswerIdleMs: 15_000,
  /**
   * Tokens of the API. A control plane that has not heard for this long what its store has committed knows of no token whether it was
   * revoked, and takes none: it looks every `replicaRenewMs`, and the loss of etcd's leader takes some 2 s.
   */
  accessBlindMs: 15_000,
  apiTokensMax: 500,
  apiTokenTtlMs: 30 * 24 * 3600_000,
  apiTokenTtlMsMax: 3650 * 24 * 3600_000,
  /** A token that expired this long ago leaves the list with the next change of it. */
  apiTokenForgottenMs: 30 * 24 * 3600_000,
  editorNamespacesMax: 64,
  /** How often the files of --tls-cert and --tls-key are looked at, while connections come. */
  tlsFilesLookMs: 1_000,

  /** Telemetry. Series of each event loop; what is beyond them is counted as `other`. */
  seriesMax: 2_000,
  /** How often it is looked which series are idle, and which of those without a place are busier than some with one. */
  seriesSweepMs: 60_000,
  /** A series leaves when nothing was counted in it for so long. */
  seriesIdleMs: 3600_000,
  /** Without a place: so many are watched, and take at most so many places at a time: each is some 80 new lines for Prometheus. */
  seriesWatchedMax: 64,
  seriesReplacedMax: 16,
  /** Services whose connections a scrape shows by name, the busiest. */
  upstreamSeriesMax: 500,
  /** The control plane's window: its series, and the cells that each 5 s of it hold of how their requests were spread (stat-window.ts). */
  statWindowMs: 60_000,
  statSeriesMax: 4_000,
  statDetailCellsMax: 140_000,
  /** Hops in one answer about the latency of a Service, and how far it follows the calls. */
  latencyHopsMax: 500,
  latencyDepthMax: 16,
  reportIntervalMs: 1_000,
  /** Of one frame of a report, roughly, and the pause before the next: what takes longer than a cold step may is spread. */
  reportBytesMax: 64 * 1024,
  reportStepMs: 100,
  /** Of a name in a report: a Service has 127 characters, a rule of a route 191. */
  reportLabelCharsMax: 256,
  /** Codes are a closed table; the bound only holds should that ever change. */
  failureCodesMax: 128,
  /** Lines wait here while standard output or the file is slow; more are dropped and counted. */
  accessLogBufferBytesMax: 1024 * 1024,
  /** Lines of the access log for refused heads, of each listener: nothing else bounds what a stranger can have written. */
  refusalLinesPerSecondMax: 10,
  refusalDetailCharsMax: 256,
  /** Of the code that a far sidecar gave: those there are have half of it at most. */
  farFailureCharsMax: 64,
  /** What of a named header field is logged, and how many may be named; patterns of paths that are redacted, and how long one may be. */
  loggedHeaderCharsMax: 256,
  loggedHeadersMax: 16,
  redactedPathsMax: 64,
  redactedPathCharsMax: 256,
  /**
   * Spans that wait on an event loop to be encoded; failed and slow requests of traces that are not sampled, exported in a second; spans that are
   * encoded when so many wait, or after this time; for how long the loop is held at a time; and spans in one request to the collector.
   */
  spansWaitingMax: 2_048,
  spansUnsampledPerSecondMax: 100,
  spansEncodedAt: 256,
  spansEncodedAfterMs: 1_000,
  spansSliceMs: 1,
  spansPerRequestMax: 512,
  /** Encoded spans that wait for the collector, of all event loops; beyond, they wait on their loops. */
  spansBacklogBytesMax: 4 * 1024 * 1024,
  /** One request to the collector; what is read of its answer; tries of a request; the pause before a next one, doubling, and what a Retry-After may ask. */
  otlpRequestMs: 10_000,
  otlpAnswerBytesMax: 64 * 1024,
  otlpTriesMax: 5,
  otlpRetryFirstMs: 1_000,
  otlpRetryMsMax: 30_000,
  otlpRetryAfterMsMax: 60_000,
  /** How long a sidecar that ends waits for its last spans to be taken. */
  otlpCloseMs: 2_000,
  /** Finished requests that each event loop keeps in full: the last ones, the last failed and the last chosen ones, and the slowest of a route in a window. */
  recentRequestsMax: 1_024,
  /** The last ones reach back so far at least: of more than fit, only one in 2, 4, 8 ... is kept. */
  recentSpanMs: 2_000,
  recentFailuresMax: 256,
  recentChosenMax: 256,
  slowRoutesMax: 64,
  slowPerRouteMax: 8,
  slowWindowMs: 60_000,
  recentPathCharsMax: 256,
  recentDetailCharsMax: 512,
  /** Decisions of failed and retried requests that each event loop keeps, how many it writes down in a second, and how much each of them holds. */
  recentDecisionsMax: 256,
  decisionsPerSecondMax: 100,
  decisionRulesMax: 12,
  decisionCandidatesMax: 12,
  decisionTextCharsMax: 200,
  /** Refused heads that each listener of an event loop keeps. */
  recentRefusalsMax: 128,
  /** Times without a control plane, or with a refused change, that a sidecar remembers. */
  stalenessesMax: 64,
  /** Of those in one answer of the admin port. */
  recentAnswerMax: 256,
  adminConnectionsMax: 64,
  adminRequestMs: 10_000,

  /** Identities. A certificate is renewed at half of its life, and backdated by this much for clocks that disagree. */
  certificateTtlMs: 3600_000,
  certificateTtlMsMin: 10_000,
  certificateTtlMsMax: 7 * 24 * 3600_000,
  certificateBackdateMs: 60_000,
  rootTtlMs: 10 * 365 * 24 * 3600_000,
  /** Roots that a mesh believes at a time, those that are leaving included. */
  trustRootsMax: 16,
  /** A root that no living control plane on a shared store has had for so long leaves. */
  rootUnclaimedMs: 24 * 3600_000,
  joinTokenTtlMs: 3600_000,
  joinTokenTtlMsMax: 30 * 24 * 3600_000,
  /** Of a token or a certificate request that comes over the network. */
  tokenCharsMax: 4_096,
  csrCharsMax: 8_192,

  drainMs: 30_000,
  /** An app that does not accept connections this long after its sidecar was ready is worth a line in the log. */
  appLateMs: 5_000,
} as const;
