/** What `/metrics` renders of the loops of a sidecar: their lists one after the other, which the renderer adds up. */
import type { SpanDrops } from '../model/span.ts';
import { readProcess } from '../telemetry/process-reading.ts';
import type { MetricsInput } from '../telemetry/render.ts';
import type { SeriesTable } from '../telemetry/series.ts';
import type { LoopReadings } from './loop.ts';

/** What the cold half of the sidecar knows, whatever its loops do. */
export type OwnMetrics = Pick<MetricsInput, 'config' | 'certificateExpiresAtMs'> & {
  /** Null: no spans are exported. */
  readonly exporter: { readonly exported: number; readonly dropped: SpanDrops } | null;
};

/** Tables and readings in the order of the loops. */
export function metricsInputOf(
  tables: readonly SeriesTable[],
  readings: readonly LoopReadings[],
  { exporter, ...own }: OwnMetrics,
): MetricsInput {
  return {
    tables,
    failures: readings.flatMap(({ failures }) => failures),
    retries: readings.flatMap(({ retries }) => retries),
    upstreams: readings.flatMap(({ upstreams }) => upstreams),
    listeners: readings.flatMap(({ listeners }) => listeners),
    loops: readings.map(({ loop, listeners, requests }) => ({
      ...loop,
      requests,
      connections: listeners.reduce((sum, { connections }) => sum + connections, 0),
    })),
    ...own,
    process: readProcess(),
    overflowed: sumOf(readings, ({ overflowed }) => overflowed),
    accessLogLinesDropped: sumOf(readings, ({ accessLogLinesDropped }) => accessLogLinesDropped),
    accessLogLinesLeftOut: sumOf(readings, ({ accessLogLinesLeftOut }) => accessLogLinesLeftOut),
    spans:
      exporter === null
        ? null
        : {
            exported: exporter.exported,
            dropped: {
              ...exporter.dropped,
              'queue-full': sumOf(readings, ({ spansDropped }) => spansDropped['queue-full']),
              'over-rate': sumOf(readings, ({ spansDropped }) => spansDropped['over-rate']),
            },
          },
  };
}

const sumOf = (readings: readonly LoopReadings[], of: (reading: LoopReadings) => number): number =>
  readings.reduce((sum, reading) => sum + of(reading), 0);
