/** Starts the event loops of a sidecar: the one that this runs on, and a thread for each further one. */
import type { DecisionPool } from '../decisions/pool.ts';
import type { Discovery } from '../proxy/discovery.ts';
import type { LinkIdentity } from '../proxy/link/link-identity.ts';
import type { SharedLiveState } from '../proxy/live-state.ts';
import { fileDescriptorWriter, writeInTurn } from '../telemetry/access-log.ts';
import { LimitedLog } from '../telemetry/limited-log.ts';
import type { Logger } from '../telemetry/logger.ts';
import { systemClock } from './clock.ts';
import type { OwnUnit } from './inbound-service.ts';
import { Instruments } from './instruments.ts';
import type { LoopOptions } from './loop.ts';
import { openLoopThread } from './loop-thread.ts';
import { Loops } from './loops.ts';
import type { SidecarOptions } from './options.ts';
import { ServingLoop } from './serving-loop.ts';
import type { TakeSpans } from './span-exporter.ts';

export interface OpenLoopsParts {
  readonly options: SidecarOptions;
  readonly logger: Logger;
  readonly identity: LinkIdentity;
  readonly discovery: Discovery;
  readonly decisions: DecisionPool;
  readonly live: SharedLiveState;
  /** Null: there is no app. */
  readonly own: { readonly unit: OwnUnit; readonly live: SharedLiveState } | null;
  readonly onHostsUsed: (hosts: readonly string[]) => void;
  /** Null: none are exported. */
  readonly takeSpans: TakeSpans | null;
  /** A thread cannot go on; the sidecar must not go on without it. */
  readonly onFault: (error: Error) => void;
}

const standardError = 2;

/** `options.loops` of them. With one there is no thread, and nothing crosses to another. */
export function openLoops(parts: OpenLoopsParts): Loops {
  const { options, logger, identity, discovery, decisions, live, own, onHostsUsed, takeSpans, onFault } = parts;
  const loopOptions = loopOptionsOf(options);
  const toFile = options.accessLog === null ? null : fileDescriptorWriter(standardError);
  // Lines of several loops at once could end up within each other where their reader is slow.
  const writeAccessLog = toFile === null || options.loops === 1 ? toFile : writeInTurn(toFile);
  const first = new ServingLoop({
    options: loopOptions,
    instruments: new Instruments(loopOptions, { writeAccessLog, takeSpans, onRow: null }),
    log: new LimitedLog(systemClock, logger),
    identity,
    discovery,
    slowDecisions: decisions,
    live,
    own: own === null ? null : { unit: own.unit.current, live: own.live },
    onHostsUsed,
    random: Math.random,
  });
  const threads = Array.from({ length: options.loops - 1 }, (_, index) =>
    openLoopThread(
      index + 1,
      {
        options: loopOptions,
        live: live.buffer,
        own: own === null ? null : { unit: own.unit.current, live: own.live.buffer },
      },
      {
        identity,
        discovery,
        matchPatterns: (batch, signal) => decisions.matchBatch(batch, signal),
        writeAccessLog,
        takeSpans,
        logger,
        onHostsUsed,
        onFault,
        clock: systemClock,
      },
    ),
  );
  return new Loops(first, threads);
}

/** One by one: a thread is handed what it needs, and not the join token. */
const loopOptionsOf = (options: SidecarOptions): LoopOptions => ({
  service: options.service,
  namespace: options.namespace,
  app: options.app,
  outboundMode: options.outboundMode,
  outboundHttp: options.outboundHttp,
  inboundHttp: options.inboundHttp,
  listenerPolicies: options.listenerPolicies,
  limits: options.limits,
  isLinkInsecure: options.isLinkInsecure,
  accessLog: options.accessLog,
  redactedPaths: options.redactedPaths,
  tracing:
    options.tracing === null ? null : { sampleRatio: options.tracing.sampleRatio, slowMs: options.tracing.slowMs },
});
