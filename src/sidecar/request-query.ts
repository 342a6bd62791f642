/** What `/requests` and `/latency` of the admin port may be asked, read out of a query string. */
import type { DescribedRequest } from '../model/decision.ts';
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

/** A request to be decided and not sent, or what is wrong with its description in words. Whether it is valid HTTP is judged like that of one that came. */
export function parseDescribedRequest(search: string): DescribedRequest | string {
  const asked = new URLSearchParams(search);
  for (const name of asked.keys())
    if (!['method', 'host', 'path', 'header'].includes(name))
      return `There is no "${name}" to ask with: method, host, path, header.`;
  const host = asked.get('host') ?? '';
  if (host === '') return 'host: expected the name that a call would have in its Host field.';
  const path = asked.get('path') ?? '/';
  if (!path.startsWith('/')) return 'path: expected a path that begins with /.';
  const fields = asked.getAll('header');
  if (fields.length > limits.headerFieldsMax) return `header: expected at most ${limits.headerFieldsMax}.`;
  const headers: [string, string][] = [];
  for (const field of fields) {
    const colon = field.indexOf(':');
    if (colon < 1) return "header: expected 'name: value'.";
    headers.push([field.slice(0, colon), field.slice(colon + 1).trim()]);
  }
  return { method: asked.get('method') ?? 'GET', host, path, headers };
}

/** A trace id or a span id, as `traceparent` has them. */
export const isRequestId = (id: string): boolean => /^([0-9a-f]{32}|[0-9a-f]{16})$/.test(id);
