/** The exporter of a sidecar's spans with its way to the collector. */
import { randomUUID } from 'node:crypto';
import { LimitedLog } from '../telemetry/limited-log.ts';
import type { Logger } from '../telemetry/logger.ts';
import { systemClock } from './clock.ts';
import type { SidecarOptions } from './options.ts';
import { openOtlpClient } from './otlp-client.ts';
import { SpanExporter } from './span-exporter.ts';

export interface OpenSpanExporter {
  readonly exporter: SpanExporter;
  /** After the last loop has handed over its last spans. Never rejects. */
  close(): Promise<void>;
}

/** Null: no spans are exported. */
export function openSpanExporter(
  { tracing, service, namespace }: Pick<SidecarOptions, 'tracing' | 'service' | 'namespace'>,
  logger: Logger,
): OpenSpanExporter | null {
  if (tracing === null) return null;
  const { url, sampleRatio, slowMs } = tracing;
  const client = openOtlpClient(tracing);
  const exporter = new SpanExporter({
    resource: { service, namespace, instance: randomUUID() },
    url,
    post: client.post,
    clock: systemClock,
    random: Math.random,
    log: new LimitedLog(systemClock, logger),
  });
  logger.info(
    { url, sampleRatio, slowMs },
    'spans are exported of this share of new traces, and of failed and slow requests',
  );
  return {
    exporter,
    close: async () => {
      await exporter.close();
      client.close();
    },
  };
}
