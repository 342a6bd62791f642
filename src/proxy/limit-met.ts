/**
 * What a reply says of a limit that a request met: how large it is, whose it is, and where it is set. Nothing here is built before
 * a limit is met.
 */
import type { LimitFlag, ListenerName } from '../model/listener-limits.ts';
import type { UnitLimits, UnitName } from '../model/snapshot.ts';
import { type Failure, failures } from './failure.ts';

export interface LimitMet {
  readonly failure: Failure;
  readonly detail: string;
}

/** Where the limit of a listener is set. */
export const ofListener = (listener: ListenerName, name: LimitFlag): string => `--limit ${listener}.${name}`;

/** Where the limit of a Service is set. */
export const ofService = (service: UnitName, field: keyof UnitLimits): string =>
  `spec.limits.${field} of the Service ${service}`;

export const targetTooLong = (bytesMax: number, place: string): LimitMet => ({
  failure: failures['target-too-long'],
  detail: `The target is longer than ${bytesMax} bytes (${place}).`,
});

export const tooManyFields = (fieldsMax: number, place: string): LimitMet => ({
  failure: failures['headers-too-large'],
  detail: `There are more than ${fieldsMax} fields (${place}).`,
});

export const fieldsTooLarge = (bytesMax: number, place: string): LimitMet => ({
  failure: failures['headers-too-large'],
  detail: `The fields are larger than ${bytesMax} bytes (${place}).`,
});

export const bodyTooLarge = (bytesMax: number, place: string): LimitMet => ({
  failure: failures['body-too-large'],
  detail: `The body is larger than ${bytesMax} bytes (${place}).`,
});

export const bodyTooSlow = (rateMin: number, place: string): LimitMet => ({
  failure: failures['request-body-too-slow'],
  detail: `The body brought less than ${rateMin} bytes a second (${place}).`,
});

export const answerTooLarge = (bytesMax: number, place: string): LimitMet => ({
  failure: failures['upstream-head-too-large'],
  detail: `The answer's fields are larger than ${bytesMax} bytes (${place}).`,
});
