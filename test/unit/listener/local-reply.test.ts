import { describe, expect, it } from 'vitest';
import { failures } from '../../../src/proxy/failure.ts';
import { joinedHeaderValue } from '../../../src/proxy/headers.ts';
import { localReply, reasonOf } from '../../../src/proxy/local-reply.ts';

describe('localReply', () => {
  it('says in JSON and in a header which failure it was', () => {
    const reply = localReply(failures['unknown-service'], 'a "quoted" host', 'id1');
    expect(reply.status).toBe(404);
    expect(reply.reason).toBe('Not Found');
    expect(joinedHeaderValue(reply.headers, 'weft-failure')).toBe('unknown-service');
    expect(joinedHeaderValue(reply.headers, 'weft-request-id')).toBe('id1');
    expect(joinedHeaderValue(reply.headers, 'content-type')).toBe('application/json');
    expect(joinedHeaderValue(reply.headers, 'retry-after')).toBeUndefined();
    expect(JSON.parse(reply.body.toString())).toEqual({
      failure: 'unknown-service',
      status: 404,
      message: failures['unknown-service'].message,
      detail: 'a "quoted" host',
      requestId: 'id1',
    });
  });

  it('says when to try again where nothing was acted upon', () => {
    expect(joinedHeaderValue(localReply(failures['pool-full'], '', '').headers, 'retry-after')).toBe('1');
    expect(joinedHeaderValue(localReply(failures['upstream-reset'], '', '').headers, 'retry-after')).toBeUndefined();
  });

  it('knows a reason for every status', () => {
    expect(reasonOf(200)).toBe('OK');
    expect(reasonOf(499)).toBe('Unknown');
    expect(reasonOf(799)).toBe('Unknown');
    for (const failure of Object.values(failures)) expect(reasonOf(failure.status)).not.toBe('');
  });
});
