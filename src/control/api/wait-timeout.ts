/** How long a request waits for the sidecars: `?timeoutMs=`. */
import Type from 'typebox';
import { limits } from '../../model/limits.ts';
import { ApiError } from './api-error.ts';

export interface WaitTimeout {
  readonly timeoutMs?: string;
}

export const TimeoutMs = Type.String({
  pattern: '^[0-9]{1,7}$',
  description: `how long to wait for the sidecars, in milliseconds, ${limits.waitAppliedMsMax} at most`,
});

/** `limits.waitAppliedMs` unless it says otherwise. @throws ApiError bad-request above `limits.waitAppliedMsMax`. */
export function timeoutMsOf({ timeoutMs }: WaitTimeout): number {
  const ms = Number(timeoutMs ?? limits.waitAppliedMs);
  if (ms > limits.waitAppliedMsMax)
    throw new ApiError('bad-request', `timeoutMs may be ${limits.waitAppliedMsMax} at most, not ${ms}.`);
  return ms;
}
