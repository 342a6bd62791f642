/** What the control plane says of the traffic that the sidecars connected to it report. */
import type { FastifyInstance } from 'fastify';
import { limits } from '../../model/limits.ts';
import type { Fleet } from '../fleet.ts';
import { ApiError } from './api-error.ts';
import { refused } from './schemas.ts';
import * as schemas from './traffic-schemas.ts';

const tags = ['traffic'];

export function addTrafficRoutes(app: FastifyInstance, fleet: Fleet): void {
  app.get<{ Querystring: { readonly service?: string; readonly seconds?: string } }>(
    '/v1/stats',
    {
      schema: {
        summary:
          'Golden metrics and the parts of each hop over the last window, of the sidecars that are connected here',
        querystring: schemas.StatsQuery,
        response: { 200: schemas.Stats, ...refused(400) },
        tags,
      },
    },
    ({ query: { service, seconds } }) =>
      fleet.stats({
        ...(service === undefined ? {} : { service }),
        ...(seconds === undefined ? {} : { seconds: Number(seconds) }),
      }),
  );
  app.get<{
    Querystring: {
      readonly service: string;
      readonly route?: string;
      readonly byRoute?: string;
      readonly depth?: string;
    };
  }>(
    '/v1/latency',
    {
      schema: {
        summary: 'Where the time of the requests around p50, p95 and p99 went, hop by hop along the calls of a Service',
        querystring: schemas.LatencyQuery,
        response: { 200: schemas.Latency, ...refused(400) },
        tags,
      },
    },
    ({ query: { service, route = null, byRoute, depth: asked = String(limits.latencyDepthMax) } }) => {
      const depth = Number(asked);
      if (depth > limits.latencyDepthMax)
        throw new ApiError('bad-request', `depth must be 0 to ${limits.latencyDepthMax}`);
      return fleet.latency({ service, route, isByRoute: byRoute !== undefined, depth });
    },
  );
}
