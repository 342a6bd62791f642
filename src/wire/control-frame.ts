/**
 * What a control plane says to a sidecar, one message a frame: `ControlFrame` of push.proto as a tagged union. A ChangeSet stays
 * encoded within the frame, and its changes within the ChangeSet, because they are encoded once for many and decoded in slices.
 */
import { weft } from './generated/push.js';
import { decodeMessage, WireError } from './wire-error.ts';

const v1 = weft.v1;

export type ControlFrame =
  | {
      readonly tag: 'push';
      /** 1, 2, 3 ... on one connection. */
      readonly sequence: number;
      /** Sequence that it builds on; 0: what the Hello said is held. */
      readonly base: number;
      /** See `decodeChangeSet`. */
      readonly changeSet: Uint8Array;
      /** The sidecar's registration has created its Service. Absent: no, or it was said before. */
      readonly foundedService?: true;
      /** With it: an older Service whose name may have been meant. Absent: none is that close. */
      readonly similarService?: string;
    }
  | { readonly tag: 'refusal'; readonly code: string; readonly message: string };

export interface EncodedChangeSet {
  /** Store revision that the sidecar is at once this is applied. */
  readonly revision: number;
  /** See `encodeChange` and `decodeChange`. */
  readonly changes: readonly Uint8Array[];
  /** Unit (`cart.default`) that a host leads to; empty when there is none. */
  readonly hosts: ReadonlyMap<string, string>;
}

export function encodeControlFrame(frame: ControlFrame): Uint8Array {
  switch (frame.tag) {
    case 'push': {
      const { sequence, base, changeSet, foundedService = false, similarService = '' } = frame;
      return v1.ControlFrame.encode({ push: { sequence, base, changeSet, foundedService, similarService } }).finish();
    }
    case 'refusal':
      return v1.ControlFrame.encode({ refusal: { code: frame.code, message: frame.message } }).finish();
    default:
      return frame satisfies never;
  }
}

/** @throws WireError when the bytes are no ControlFrame, or one that this version does not know. */
export function decodeControlFrame(bytes: Uint8Array): ControlFrame {
  const { push, refusal } = decodeMessage(() => v1.ControlFrame.decode(bytes));
  if (push) {
    return {
      tag: 'push',
      sequence: Number(push.sequence ?? 0),
      base: Number(push.base ?? 0),
      changeSet: push.changeSet ?? new Uint8Array(0),
      ...(push.foundedService === true ? { foundedService: true } : {}),
      ...(push.similarService ? { similarService: push.similarService } : {}),
    };
  }
  if (refusal) return { tag: 'refusal', code: refusal.code ?? '', message: refusal.message ?? '' };
  throw new WireError('the frame is none that a control plane sends');
}

export function encodeChangeSet(changeSet: EncodedChangeSet): Uint8Array {
  const hosts = Array.from(changeSet.hosts, ([host, unit]) => ({ host, unit }));
  return v1.ChangeSet.encode({ revision: changeSet.revision, changes: [...changeSet.changes], hosts }).finish();
}

/** Splits a ChangeSet without decoding its changes. @throws WireError when the bytes are no ChangeSet. */
export function decodeChangeSet(bytes: Uint8Array): EncodedChangeSet {
  const message = decodeMessage(() => v1.ChangeSet.decode(bytes));
  return {
    revision: Number(message.revision),
    changes: message.changes,
    hosts: new Map(message.hosts.map((answer) => [answer.host ?? '', answer.unit ?? ''])),
  };
}
