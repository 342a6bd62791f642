import { describe, expect, it } from 'vitest';
import { bucketIndex, bucketUpperMs } from '../../../src/telemetry/histogram.ts';
import { readProcess } from '../../../src/telemetry/process-reading.ts';
import { partIndex, parts } from '../../../src/telemetry/recorder.ts';
import { durationBoundsMs, hopBoundsMs, renderMetrics } from '../../../src/telemetry/render.ts';
import { partBoundsMs, SeriesRecorder } from '../../../src/telemetry/series.ts';
import { metricsInputOf } from '../../fixtures/metrics-input.ts';

const noParts = new Float64Array(parts.length);

const linesOf = (text: string, name: string) => text.split('\n').filter((line) => line.startsWith(name));

describe('renderMetrics', () => {
  it.each([
    undefined,
    null,
    7,
    {},
    { tables: [] },
    { ...metricsInputOf([]), loops: null },
    { ...metricsInputOf([]), config: 1 },
  ])('refuses %j, which is no input of its own', async (input) => {
    await expect(renderMetrics(input)).rejects.toThrow(/metrics are rendered from/);
  });

  it('keeps odd labels within their quotes', async () => {
    const recorder = new SeriesRecorder();
    recorder.series('outbound', 'a"b', { name: 'c\\d' }, { route: 'e\nf{le="1"}' }, 200).record(1, noParts, false);
    const text = await renderMetrics(metricsInputOf([recorder]));
    expect(linesOf(text, 'weft_requests_total')).toEqual([
      'weft_requests_total{direction="outbound",source="a\\"b",destination="c\\\\d",route="e\\nf{le=\\"1\\"}",status_class="2xx"} 1',
    ]);
  });

  it('says what became of spans, where there are any', async () => {
    const dropped = { 'queue-full': 1, 'over-rate': 2, unreachable: 3, refused: 4, ended: 5 };
    const text = await renderMetrics(metricsInputOf([], { spans: { exported: 9, dropped }, accessLogLinesLeftOut: 6 }));
    expect(linesOf(text, 'weft_spans_')).toEqual([
      'weft_spans_exported_total 9',
      ...Object.entries(dropped).map(([reason, count]) => `weft_spans_dropped_total{reason="${reason}"} ${count}`),
    ]);
    expect(text).toContain('\nweft_access_log_lines_left_out_total 6\n');
  });

  it('renders nothing but names when nothing has happened', async () => {
    const text = await renderMetrics(metricsInputOf([]));
    expect(text).toContain('# TYPE weft_request_duration_seconds histogram');
    expect(linesOf(text, 'weft_').every((line) => /^weft_\w+ 0$/.test(line))).toBe(true);
  });

  it('counts each bound exactly, at it and just above it', async () => {
    const recorder = new SeriesRecorder();
    const series = recorder.series('outbound', 's', { name: 'd' }, { route: 'r' }, 200);
    const partsMs = new Float64Array(parts.length);
    for (const ms of durationBoundsMs) {
      series.record(ms, noParts, false);
      series.record(ms * (1 + Number.EPSILON), noParts, false);
    }
    for (const ms of hopBoundsMs) {
      partsMs[partIndex.wait] = ms;
      series.record(1e9, partsMs, false);
      partsMs[partIndex.wait] = ms * (1 + Number.EPSILON);
      series.record(1e9, partsMs, false);
    }
    const text = await renderMetrics(metricsInputOf([recorder]));
    const counts = (name: string, of = '') =>
      linesOf(text, name)
        .filter((line) => line.includes(of))
        .map((line) => Number(line.split(' ').at(-1)));
    const expected = (bounds: readonly number[]) => bounds.map((_, index) => 2 * index + 1);
    const all = 2 * (durationBoundsMs.length + hopBoundsMs.length);
    expect(counts('weft_request_duration_seconds_bucket')).toEqual([...expected(durationBoundsMs), all]);
    expect(counts('weft_hop_seconds_bucket', 'part="wait"')).toEqual([
      ...expected(hopBoundsMs),
      2 * hopBoundsMs.length,
    ]);
    for (const ms of durationBoundsMs) expect(bucketUpperMs(bucketIndex(ms))).toBe(ms);
    for (const ms of hopBoundsMs) expect(partBoundsMs).toContain(ms);
  });

  it('adds up event loops, and what is listed twice', async () => {
    const recorders = [new SeriesRecorder(), new SeriesRecorder()];
    for (const recorder of recorders) {
      recorder.series('inbound', 's', { name: 'd' }, { route: 'r' }, 503).record(20, noParts, true);
      recorder.countFailure('inbound', 'draining');
    }
    const upstream = { destination: 'cart.default', connections: 3, idle: 1, pending: 2 };
    const text = await renderMetrics(metricsInputOf(recorders, { upstreams: [upstream, upstream] }));
    expect(linesOf(text, 'weft_requests_total')).toHaveLength(1);
    expect(text).toContain('weft_failures_total{direction="inbound",code="draining"} 2\n');
    expect(text).toMatch(/weft_request_duration_seconds_bucket\{.*le="0.025"\} 2\n/);
    expect(text).toMatch(/weft_request_duration_seconds_sum\{.*\} 0.04\n/);
    expect(text).toContain('weft_upstream_connections{destination="cart.default",state="active"} 4\n');
    expect(text).toContain('weft_upstream_connections{destination="cart.default",state="idle"} 2\n');
    expect(text).toContain('weft_upstream_pending{destination="cart.default"} 4\n');
  });

  it('renders this text', async () => {
    const recorder = new SeriesRecorder();
    const partsMs = new Float64Array(parts.length);
    partsMs[partIndex.wait] = 3;
    partsMs[partIndex.own] = 0.25;
    recorder
      .series('outbound', 'shop.default', { name: 'cart.default' }, { route: 'default/cart/0' }, 200)
      .record(3.25, partsMs, false);
    recorder.countRetry('outbound', 'connect-refused');
    const text = await renderMetrics(
      metricsInputOf([recorder], {
        listeners: [{ listener: 'outbound', connections: 4, connectionsUsedUp: 3 }],
        loops: [{ longestTurnMs: 1.5, utilization: 0.25, connections: 4, requests: 1 }],
        config: { revision: 7, isConnected: true, nacks: 1 },
        certificateExpiresAtMs: 1_700_000_000_500,
        overflowed: 9,
      }),
    );
    const labels =
      'direction="outbound",source="shop.default",destination="cart.default",route="default/cart/0",status_class="2xx"';
    const bucket = (name: string, more: string, le: string, count: number) =>
      `${name}_bucket{${labels}${more},le="${le}"} ${count}`;
    const duration = (le: string, count: number) => bucket('weft_request_duration_seconds', '', le, count);
    const hop = (part: string, le: string, count: number) => bucket('weft_hop_seconds', `,part="${part}"`, le, count);
    expect(text.split('\n').filter((line) => line !== '' && !line.startsWith('# HELP'))).toEqual([
      '# TYPE weft_requests_total counter',
      `weft_requests_total{${labels}} 1`,
      '# TYPE weft_request_duration_seconds histogram',
      ...['0.0005', '0.001', '0.0025'].map((le) => duration(le, 0)),
      ...['0.005', '0.01', '0.025', '0.05', '0.1', '0.25', '0.5', '1', '2.5', '10', '60', '+Inf'].map((le) =>
        duration(le, 1),
      ),
      `weft_request_duration_seconds_sum{${labels}} 0.00325`,
      `weft_request_duration_seconds_count{${labels}} 1`,
      '# TYPE weft_hop_seconds histogram',
      ...['0.0001', '0.0005', '0.001'].map((le) => hop('wait', le, 0)),
      ...['0.005', '0.025', '0.1', '1', '+Inf'].map((le) => hop('wait', le, 1)),
      `weft_hop_seconds_sum{${labels},part="wait"} 0.003`,
      `weft_hop_seconds_count{${labels},part="wait"} 1`,
      hop('own', '0.0001', 0),
      ...['0.0005', '0.001', '0.005', '0.025', '0.1', '1', '+Inf'].map((le) => hop('own', le, 1)),
      `weft_hop_seconds_sum{${labels},part="own"} 0.00025`,
      `weft_hop_seconds_count{${labels},part="own"} 1`,
      '# TYPE weft_failures_total counter',
      '# TYPE weft_retries_total counter',
      'weft_retries_total{direction="outbound",code="connect-refused"} 1',
      '# TYPE weft_series_overflowed_total counter',
      'weft_series_overflowed_total 9',
      '# TYPE weft_upstream_connections gauge',
      '# TYPE weft_upstream_pending gauge',
      '# TYPE weft_listener_connections gauge',
      'weft_listener_connections{listener="outbound"} 4',
      '# TYPE weft_listener_connections_used_up_total counter',
      'weft_listener_connections_used_up_total{listener="outbound"} 3',
      '# TYPE weft_event_loop_delay_seconds gauge',
      'weft_event_loop_delay_seconds{loop="0"} 0.0015',
      '# TYPE weft_event_loop_utilization gauge',
      'weft_event_loop_utilization{loop="0"} 0.25',
      '# TYPE weft_loop_connections gauge',
      'weft_loop_connections{loop="0"} 4',
      '# TYPE weft_loop_requests_total counter',
      'weft_loop_requests_total{loop="0"} 1',
      '# TYPE weft_config_revision gauge',
      'weft_config_revision 7',
      '# TYPE weft_config_connected gauge',
      'weft_config_connected 1',
      '# TYPE weft_config_nacks_total counter',
      'weft_config_nacks_total 1',
      '# TYPE weft_certificate_expires_timestamp_seconds gauge',
      'weft_certificate_expires_timestamp_seconds 1700000000.5',
      '# TYPE process_resident_memory_bytes gauge',
      'process_resident_memory_bytes 1',
      '# TYPE process_cpu_seconds_total counter',
      'process_cpu_seconds_total 2.5',
      '# TYPE process_start_time_seconds gauge',
      'process_start_time_seconds 3',
      '# TYPE weft_access_log_lines_dropped_total counter',
      'weft_access_log_lines_dropped_total 0',
      '# TYPE weft_access_log_lines_left_out_total counter',
      'weft_access_log_lines_left_out_total 0',
      '# TYPE weft_spans_exported_total counter',
      '# TYPE weft_spans_dropped_total counter',
    ]);
  });
});

describe('readProcess', () => {
  it('answers in the units that its names say', () => {
    const reading = readProcess();
    expect(reading.residentBytes).toBeGreaterThan(10 * 1024 * 1024);
    expect(reading.cpuSeconds).toBeGreaterThan(0.01);
    expect(Math.abs(reading.startTimeSeconds + process.uptime() - Date.now() / 1000)).toBeLessThan(1);
  });
});
