/** What a sidecar says to a control plane, one message a frame: `SidecarFrame` of push.proto as a tagged union. */
import type { Registration } from '../model/registration.ts';
import type { SeriesDelta, TrafficReport } from '../model/report.ts';
import { weft } from './generated/push.js';
import { registrationFrom, registrationMessage } from './resource-codec.ts';
import { decodeMessage, WireError } from './wire-error.ts';

const message = weft.v1.SidecarFrame;

export interface Hello {
  readonly tag: 'hello';
  /** Chosen at random at the sidecar's first start, kept in its state directory. */
  readonly sidecar: string;
  readonly service: string;
  readonly namespace: string;
  readonly softwareVersion: string;
  /** Version of every object in force, by key. */
  readonly held: ReadonlyMap<string, string>;
  readonly hosts: readonly string[];
  readonly registration: Registration | null;
  /** Another Hello follows, with more of `held` and `hosts`. */
  readonly more: boolean;
  /** It runs with --insecure-link. */
  readonly insecureLink: boolean;
  /** A listener of it runs on the older uWebSockets.js core (docs/uws.md). Default: false. */
  readonly olderUwsCore?: boolean;
}

export type SidecarFrame =
  | Hello
  | { readonly tag: 'subscribe'; readonly add: readonly string[]; readonly remove: readonly string[] }
  | { readonly tag: 'ack'; readonly sequence: number }
  | { readonly tag: 'nack'; readonly sequence: number; readonly reason: string }
  | { readonly tag: 'register'; readonly registration: Registration | null }
  | { readonly tag: 'withdraw' }
  | {
      readonly tag: 'renew' /** Why it registers nothing though it has an app; empty: nothing is in the way. */;
      readonly trouble: string;
    }
  | ({ readonly tag: 'report' } & TrafficReport);

export function encodeSidecarFrame(frame: SidecarFrame): Uint8Array {
  return message.encode(messageOf(frame)).finish();
}

/** @throws WireError when the bytes are no SidecarFrame, or one that this version does not know. */
export function decodeSidecarFrame(bytes: Uint8Array): SidecarFrame {
  return frequentFrame(bytes) ?? decodeAnyFrame(bytes);
}

/** First bytes of fields: number and wire type, see push.proto. */
const tagOf = { ack: 0x1a, renew: 0x3a, sequence: 0x08 } as const;
const renewed: SidecarFrame = { tag: 'renew', trouble: '' };

/**
 * Acks and plain renewals, exactly as they are encoded, are what ten thousand sidecars send most: read here in an eighth of the time that the generated code
 * takes (`npm run sim`). Null: it is something else, or the same in other bytes.
 */
function frequentFrame(bytes: Uint8Array): SidecarFrame | null {
  if (bytes.length === 2) return bytes[0] === tagOf.renew && bytes[1] === 0 ? renewed : null;
  // Up to four bytes of seven bits: what is longer is left to the generated code, which has 64 bits.
  const isAck = bytes.length >= 4 && bytes.length <= 7 && bytes[0] === tagOf.ack && bytes[1] === bytes.length - 2;
  if (!isAck || bytes[2] !== tagOf.sequence) return null;
  let sequence = 0;
  for (let at = 3; at < bytes.length; at++) {
    const byte = bytes[at]!;
    const isLast = at === bytes.length - 1;
    if (byte < 0x80 !== isLast) return null;
    sequence |= (byte & 0x7f) << (7 * (at - 3));
  }
  return { tag: 'ack', sequence };
}

function decodeAnyFrame(bytes: Uint8Array): SidecarFrame {
  const frame = decodeMessage(() => message.decode(bytes));
  if (frame.hello) return helloFrom(frame.hello);
  if (frame.subscribe)
    return { tag: 'subscribe', add: frame.subscribe.add ?? [], remove: frame.subscribe.remove ?? [] };
  if (frame.ack) return { tag: 'ack', sequence: Number(frame.ack.sequence ?? 0) };
  if (frame.nack) return { tag: 'nack', sequence: Number(frame.nack.sequence ?? 0), reason: frame.nack.reason ?? '' };
  if (frame.register) return { tag: 'register', registration: optionalRegistration(frame.register.registration) };
  if (frame.withdraw) return { tag: 'withdraw' };
  if (frame.renew) return { tag: 'renew', trouble: frame.renew.trouble ?? '' };
  if (frame.report) {
    const { parts, series } = frame.report;
    return { tag: 'report', parts: parts ?? [], series: (series ?? []).map(seriesFrom) };
  }
  throw new WireError('the frame is none that a sidecar sends');
}

function messageOf(frame: SidecarFrame): weft.v1.SidecarFrame.$Properties {
  switch (frame.tag) {
    case 'hello':
      return {
        hello: {
          sidecar: frame.sidecar,
          service: frame.service,
          namespace: frame.namespace,
          softwareVersion: frame.softwareVersion,
          held: Object.fromEntries(frame.held),
          hosts: [...frame.hosts],
          registration: frame.registration && registrationMessage(frame.registration),
          more: frame.more,
          insecureLink: frame.insecureLink,
          olderUwsCore: frame.olderUwsCore ?? false,
        },
      };
    case 'subscribe':
      return { subscribe: { add: [...frame.add], remove: [...frame.remove] } };
    case 'ack':
      return { ack: { sequence: frame.sequence } };
    case 'nack':
      return { nack: { sequence: frame.sequence, reason: frame.reason } };
    case 'register':
      return { register: { registration: frame.registration && registrationMessage(frame.registration) } };
    case 'withdraw':
      return { withdraw: {} };
    case 'renew':
      return { renew: { trouble: frame.trouble } };
    case 'report':
      return { report: { parts: [...frame.parts], series: frame.series.map(seriesMessage) } };
    default:
      return frame satisfies never;
  }
}

function helloFrom(hello: weft.v1.Hello.$Properties): Hello {
  return {
    tag: 'hello',
    sidecar: hello.sidecar ?? '',
    service: hello.service ?? '',
    namespace: hello.namespace ?? '',
    softwareVersion: hello.softwareVersion ?? '',
    held: new Map(Object.entries(hello.held ?? {})),
    hosts: hello.hosts ?? [],
    registration: optionalRegistration(hello.registration),
    more: hello.more ?? false,
    insecureLink: hello.insecureLink ?? false,
    olderUwsCore: hello.olderUwsCore ?? false,
  };
}

function optionalRegistration(value: weft.v1.Registration.$Properties | null | undefined): Registration | null {
  return value ? registrationFrom(value) : null;
}

function seriesMessage(delta: SeriesDelta): weft.v1.SeriesDelta.$Properties {
  return {
    ...delta,
    durationBuckets: [...delta.durationBuckets],
    bands: delta.bands.map((band) => ({ ...band, partsUs: [...band.partsUs] })),
  };
}

function seriesFrom(delta: weft.v1.SeriesDelta.$Properties): SeriesDelta {
  return {
    direction: directionFrom(delta.direction),
    source: delta.source ?? '',
    destination: delta.destination ?? '',
    route: delta.route ?? '',
    statusClass: statusClassFrom(delta.statusClass),
    requests: amountFrom(delta.requests),
    failures: amountFrom(delta.failures),
    attempts: amountFrom(delta.attempts),
    attemptsFailed: amountFrom(delta.attemptsFailed),
    durationBuckets: delta.durationBuckets ?? [],
    bands: (delta.bands ?? []).map((band) => ({
      band: band.band ?? 0,
      loopEstimates: amountFrom(band.loopEstimates),
      partsUs: (band.partsUs ?? []).map(amountFrom),
    })),
  };
}

/** Far above what can be, and so far below the largest number that sums of them stay numbers. */
function amountFrom(value: weft.v1.SeriesDelta.$Properties['requests']): number {
  const amount = Number(value ?? 0);
  if (amount >= 0 && amount <= Number.MAX_SAFE_INTEGER) return amount;
  throw new WireError(`an amount is 0 to 2^53, not ${amount}`);
}

function directionFrom(text: string | null | undefined): SeriesDelta['direction'] {
  if (text === 'outbound' || text === 'inbound') return text;
  throw new WireError(`a series is outbound or inbound, not "${text ?? ''}"`);
}

function statusClassFrom(text: string | null | undefined): SeriesDelta['statusClass'] {
  if (text === '1xx' || text === '2xx' || text === '3xx' || text === '4xx' || text === '5xx') return text;
  throw new WireError(`a status class is 1xx to 5xx, not "${text ?? ''}"`);
}
