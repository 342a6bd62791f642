/**
 * The frames of the link, version 1: types, layout, limits and what a violation is called. docs/link.md specifies them to the bit.
 *
 *   0        3      4              8
 *   | length | type | stream       | payload ...      numbers are unsigned, big-endian
 *
 * `length` counts the payload. Stream 0 is the link itself.
 */

export const frameType = {
  settings: 0,
  open: 1,
  head: 2,
  data: 3,
  end: 4,
  reset: 5,
  credit: 6,
  ping: 7,
  pong: 8,
  goaway: 9,
} as const;
export type FrameType = (typeof frameType)[keyof typeof frameType];

export const frameHeaderBytes = 8;
export const linkVersion = 1;
/** `WEFT`: what is sent to this port by mistake is refused at its first bytes. */
export const settingsMagic = 0x57454654;

/** Credit that each side has at first, without a word: bytes of DATA. */
export const streamCreditFirst = 64 * 1024;
export const linkCreditFirst = 256 * 1024;
/** Largest payload of one DATA frame: what a small answer of another stream may have to wait for within a turn. */
export const dataBytesMax = 16 * 1024;
/** What of a body may lie in the frame of its head: it needs no credit, and is read as text with the head. */
export const joinedBytesMax = 2 * 1024;
/** Heads of 64 KiB with a target of 16 KiB, what sidecars add to them, and the lengths around them. */
export const headPayloadMax = 96 * 1024;

/** First byte of HEAD. The last two are set by who writes the frame (frame-output.ts), when it turns out that they fit. */
export const headFlags = {
  hasLength: 2,
  hasBody: 4,
  hasTiming: 8,
  /** The first bytes of the body lie behind the fields, up to the frame's end. */
  hasData: 16,
  /** Nothing follows: as an empty END would say. */
  endsStream: 32,
} as const;
const allHeadFlags = 62;
export const isHeadFlags = (flags: number): boolean => (flags & ~allHeadFlags) === 0;

interface Shape {
  readonly min: number;
  readonly max: number;
  /** Whether it belongs to a stream, to the link (stream 0), or to either. */
  readonly on: 'stream' | 'link' | 'either';
}

/** By type. */
export const frameShapes: readonly Shape[] = [
  { min: 6, max: 64, on: 'link' }, // settings
  { min: 4, max: headPayloadMax, on: 'stream' }, // open
  { min: 3, max: headPayloadMax, on: 'stream' }, // head
  { min: 1, max: dataBytesMax, on: 'stream' }, // data
  { min: 0, max: headPayloadMax, on: 'stream' }, // end
  { min: 1, max: 1, on: 'stream' }, // reset
  { min: 4, max: 4, on: 'either' }, // credit
  { min: 8, max: 8, on: 'link' }, // ping
  { min: 8, max: 8, on: 'link' }, // pong
  { min: 5, max: 261, on: 'link' }, // goaway
];

/** Why one side ends a stream at once. */
export const resetReason = {
  /** Its answer is complete; the rest of the request is not wanted. */
  done: 0,
  /** Nothing of it was or will be looked at: it may be sent elsewhere, whatever its method. */
  refused: 1,
  /** The caller does not want the answer any more. */
  cancelled: 2,
  /** The answer broke off and will never be complete. */
  broken: 3,
} as const;
export type ResetReason = (typeof resetReason)[keyof typeof resetReason];

/** Why one side opens or takes no more streams on this link. */
export const goawayReason = {
  /** It stops; streams that are open, or on their way, are served. */
  drain: 0,
  /** The link is old or idle: another one takes over. */
  retire: 1,
  /** The peer broke the rules; the text says which. The connection closes. */
  violation: 2,
  /** Who the peer is, is not acceptable; no stream was looked at. The connection closes. */
  refused: 3,
} as const;
export type GoawayReason = (typeof goawayReason)[keyof typeof goawayReason];

/** In GOAWAY: every stream that arrives is served. */
export const allStreams = 0xffff_ffff;

/** What broke the link, in words: sent to the peer, and logged. A link ends at its first fault. */
export type LinkFault = string;
