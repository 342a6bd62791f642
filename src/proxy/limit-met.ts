/**
 * What a reply says of a limit that a request met: how large it is, whose it is, and where it is set. Nothing here is built before
 * a limit is met.
 */
import type { BodyLimits, LimitFlag, LimitsOfListener } from '../model/listener-limits.ts';
import type { UnitLimits, UnitName } from '../model/snapshot.ts';
import type { Exchange } from './exchange.ts';
import { type Failure, failures } from './failure.ts';

export interface LimitMet {
  readonly failure: Failure;
  readonly detail: string;
}

/** Where the limit of a listener is set. */
export const ofListener = (limits: LimitsOfListener, name: LimitFlag): string =>
  `--limit ${limits.listener}.${name}${whose(limits)}`;

/** A client beside another sidecar could take a flag for one of its own. */
export const whose = ({ sidecarOf }: LimitsOfListener): string =>
  sidecarOf === undefined ? '' : ` of the sidecar of ${sidecarOf}`;

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

/** More of a body has come, or is announced, than its exchange takes: by whose limit, the listener's or the Service's. */
export function bodyLimitMet({
  bodyBytesMax,
  bodyLimits,
  destination,
}: Pick<Exchange, 'bodyBytesMax' | 'bodyLimits' | 'destination'>): LimitMet {
  const isListeners = destination === null || bodyBytesMax === bodyLimits.bodyBytesMax;
  const place = isListeners ? ofListener(bodyLimits, 'body-bytes') : ofService(destination.name, 'requestBodyBytes');
  return bodyTooLarge(bodyBytesMax, place);
}

export const bodyRateMet = (body: BodyLimits): LimitMet => ({
  failure: failures['request-body-too-slow'],
  detail: `The body brought less than ${body.bodyRateMin} bytes a second (${ofListener(body, 'body-rate')}).`,
});

export const answerLimitMet = (bytesMax: number, service: UnitName): LimitMet => ({
  failure: failures['upstream-head-too-large'],
  detail: `The answer's fields are larger than ${bytesMax} bytes (${ofService(service, 'responseHeadBytes')}).`,
});
