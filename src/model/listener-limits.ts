/**
 * What one listener of a sidecar takes from its clients: the defaults, and which of them a user may set to what
 * (`--limit LISTENER.NAME=VALUE`). docs/limits.md has the same as a table.
 */
import { limits } from './limits.ts';

/** The listeners of a sidecar that are set one by one; a port of `--upstream` is an outbound one. */
export const listenerNames = ['outbound', 'inbound', 'link'] as const;
export type ListenerName = (typeof listenerNames)[number];

export interface LimitsOfListener {
  /** Whose they are, for what a reply says of one that was met. */
  readonly listener: ListenerName;
  /** The Service beside which the sidecar runs, `cart.default`, where clients may be of another: of inbound and link. Absent: not known. */
  readonly sidecarOf?: string;
}

/** Bounds of a request head: `limits` has the largest values that there are. */
export interface HeadLimits extends LimitsOfListener {
  /** Of all fields together, each with 4 for its colon, blank and line end. */
  readonly headBytesMax: number;
  readonly headerFieldsMax: number;
  readonly targetBytesMax: number;
}

/** Bounds of a request body. */
export interface BodyLimits extends LimitsOfListener {
  /** `Infinity`: no limit. */
  readonly bodyBytesMax: number;
  /** Bytes a second, on average over a window of `limits.bodyWindowMs`, as long as it is the client's turn; 0: as slow as it likes. */
  readonly bodyRateMin: number;
}

export interface ListenerLimits extends HeadLimits, BodyLimits {
  /** At a time. */
  readonly connectionsMax: number;
  /** The last one is answered with `Connection: close`. `Infinity`: no limit. */
  readonly requestsPerConnectionMax: number;
  /** From the first byte of a head, or the connection's begin, to the head's end, ms. */
  readonly headTimeoutMs: number;
  /** A connection without a request, or whose client takes nothing of an answer that has left the proxy, ms. */
  readonly clientIdleMs: number;
}

export const noBodyLimits: BodyLimits = {
  listener: 'outbound',
  bodyBytesMax: Number.POSITIVE_INFINITY,
  bodyRateMin: 0,
};

const httpLimits: Omit<ListenerLimits, 'listener'> = {
  headBytesMax: limits.headBytesMax,
  headerFieldsMax: limits.headerFieldsMax,
  targetBytesMax: limits.targetBytesMax,
  bodyBytesMax: noBodyLimits.bodyBytesMax,
  bodyRateMin: limits.bodyRateMin,
  connectionsMax: limits.connectionsPerListenerMax,
  requestsPerConnectionMax: Number.POSITIVE_INFINITY,
  headTimeoutMs: limits.headTimeoutMs,
  clientIdleMs: limits.downstreamIdleMs,
};

export const defaultListenerLimits: Readonly<Record<ListenerName, ListenerLimits>> = {
  outbound: { listener: 'outbound', ...httpLimits },
  inbound: { listener: 'inbound', ...httpLimits },
  // The caller's own sidecar has seen how its client sends; what is slow between the two is the link's to find out.
  link: { listener: 'link', ...httpLimits, bodyRateMin: 0 },
};

/** What the listener of a link takes, where its caller's listener has let in a head of `own`: the fields that sidecars add come on top. */
export function withAddedFields(own: ListenerLimits): ListenerLimits {
  return {
    ...own,
    headBytesMax: own.headBytesMax + limits.linkAddedBytesMax,
    headerFieldsMax: own.headerFieldsMax + limits.linkAddedFieldsMax,
  };
}

/** One limit as users know it. */
export interface LimitName {
  readonly field: Exclude<keyof ListenerLimits, keyof LimitsOfListener>;
  readonly unit: 'count' | 'bytes' | 'duration' | 'bytes a second';
  /** In the unit of the field, ms for durations. */
  readonly min: number;
  readonly max: number;
  readonly listeners: readonly ListenerName[];
  /** uWebSockets.js has one of its own, or cannot tell when it is met (docs/uws.md). Absent: every core keeps it. */
  readonly needsNodeCore?: true;
}

const http: readonly ListenerName[] = ['outbound', 'inbound'];
const all: readonly ListenerName[] = listenerNames;

/** A head must fit into a frame of a link, so its bounds can only be lowered. */
const limitTable = {
  connections: { field: 'connectionsMax', unit: 'count', min: 1, max: 1_000_000, listeners: all },
  'requests-per-connection': {
    field: 'requestsPerConnectionMax',
    unit: 'count',
    min: 1,
    max: 1_000_000_000,
    listeners: http,
    needsNodeCore: true,
  },
  'head-bytes': { field: 'headBytesMax', unit: 'bytes', min: 256, max: limits.headBytesMax, listeners: all },
  'head-fields': { field: 'headerFieldsMax', unit: 'count', min: 4, max: limits.headerFieldsMax, listeners: all },
  'target-bytes': { field: 'targetBytesMax', unit: 'bytes', min: 1, max: limits.targetBytesMax, listeners: all },
  'body-bytes': { field: 'bodyBytesMax', unit: 'bytes', min: 0, max: Number.MAX_SAFE_INTEGER, listeners: all },
  'body-rate': { field: 'bodyRateMin', unit: 'bytes a second', min: 0, max: 1024 * 1024, listeners: all },
  'head-time': {
    field: 'headTimeoutMs',
    unit: 'duration',
    min: 100,
    max: 3600_000,
    listeners: http,
    needsNodeCore: true,
  },
  'idle-time': { field: 'clientIdleMs', unit: 'duration', min: 100, max: 24 * 3600_000, listeners: http },
} as const satisfies Record<string, LimitName>;

/** The name of a limit as the flag has it. */
export type LimitFlag = keyof typeof limitTable;

/** By name. */
export const limitNames: Readonly<Record<string, LimitName>> = limitTable;
