import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { failures } from '../../../src/proxy/failure.ts';
import { type AttemptFacts, mayTryAgain } from '../../../src/proxy/retry.ts';

const facts = (changes: Partial<AttemptFacts>): AttemptFacts => ({
  method: 'GET',
  failure: failures['stale-connection'],
  isReusedConnection: true,
  isBodyAtHand: true,
  attempts: 1,
  ...changes,
});

describe('another attempt', () => {
  it.each(['POST', 'PATCH', 'CONNECT', 'PROPFIND'])('is never made for %s once bytes were sent', (method) => {
    for (const failure of Object.values(failures))
      if (!failure.isSafeToRetry) expect(mayTryAgain(facts({ method, failure }))).toBe(false);
  });

  it.each(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'TRACE'])(
    'is made for %s on a stale connection, a lost link and a lost place in line only',
    (method) => {
      const made = Object.values(failures).filter(
        (failure) => !failure.isSafeToRetry && mayTryAgain(facts({ method, failure })),
      );
      expect(made.map(({ code }) => code)).toEqual(['link-lost', 'stale-connection', 'pipeline-lost']);
      const fresh = { method, isReusedConnection: false };
      expect(mayTryAgain(facts({ ...fresh, failure: failures['stale-connection'] }))).toBe(false);
      expect(mayTryAgain(facts({ ...fresh, failure: failures['link-lost'] }))).toBe(true);
    },
  );

  it('needs the whole body so far, and ends at the limit', () => {
    const failure = failures['connect-refused'];
    expect(mayTryAgain(facts({ method: 'POST', failure }))).toBe(true);
    expect(mayTryAgain(facts({ failure, isBodyAtHand: false }))).toBe(false);
    expect(mayTryAgain(facts({ failure, attempts: limits.attemptsMax - 1 }))).toBe(true);
    expect(mayTryAgain(facts({ failure, attempts: limits.attemptsMax }))).toBe(false);
  });
});
