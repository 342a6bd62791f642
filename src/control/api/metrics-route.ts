/** `GET /metrics`: Prometheus text, for readers. It answers also while the store is out of reach, which it says. */
import type { FastifyInstance } from 'fastify';
import Type from 'typebox';
import { ApiError } from './api-error.ts';
import * as schemas from './schemas.ts';

export interface MetricsRooms {
  /** Rejects when the pool does not render it. */
  readonly metrics: () => Promise<string>;
}

export function addMetricsRoute(app: FastifyInstance, { metrics }: MetricsRooms): void {
  app.get(
    '/metrics',
    {
      schema: {
        summary: 'How the control plane itself fares, as Prometheus text',
        response: {
          200: { description: 'metrics', content: { 'text/plain': { schema: Type.String() } } },
          ...schemas.refused(503),
        },
        tags: ['status'],
      },
    },
    async (_request, reply) => {
      const text = await metrics().catch((error: unknown) => {
        throw new ApiError('unavailable', `The metrics cannot be rendered now: ${String(error)}.`);
      });
      return reply.type('text/plain; version=0.0.4; charset=utf-8').send(text);
    },
  );
}
