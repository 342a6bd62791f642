/** What `/requests` and `/latency` of the admin port may be asked, read out of a query string. */
import { limits } from '../model/limits.ts';
import type { RecentQuery } from '../model/recent-request.ts';

const names = ['service', 'route', 'status', 'min-ms', 'failed', 'limit'] as const;

/** Without a limit: so many. */
const limitDefault = 100;

export const everyRequest: RecentQuery = {
  service: '',
  route: '',
  status: '',
  minMs: 0,
  isFailed: false,
  id: '',
  limit: limitDefault,
};

/** A query, or what is wrong with it in words. */
export function parseRequestQuery(search: string): RecentQuery | string {
  const asked = new URLSearchParams(search);
  for (const name of asked.keys())
    if (!(names as readonly string[]).includes(name)) return `There is no "${name}" to ask for: ${names.join(', ')}.`;
  const status = asked.get('status') ?? '';
  if (!/^([1-5][0-9]{2}|[1-5]xx)?$/.test(status))
    return 'status: expected a status such as 503, or a class such as 5xx.';
  const failed = asked.get('failed') ?? '0';
  if (failed !== '0' && failed !== '1') return 'failed: expected 1, or 0.';
  const minMs = Number(asked.get('min-ms') || 0);
  if (!(minMs >= 0)) return 'min-ms: expected milliseconds, 0 or more.';
  const limit = Number(asked.get('limit') || limitDefault);
  if (!Number.isInteger(limit) || limit < 1 || limit > limits.recentAnswerMax)
    return `limit: expected a number from 1 to ${limits.recentAnswerMax}.`;
  const [service, route] = [asked.get('service') ?? '', asked.get('route') ?? ''];
  return { ...everyRequest, service, route, status, minMs, isFailed: failed === '1', limit };
}

/** A trace id or a span id, as `traceparent` has them. */
export const isRequestId = (id: string): boolean => /^([0-9a-f]{32}|[0-9a-f]{16})$/.test(id);
