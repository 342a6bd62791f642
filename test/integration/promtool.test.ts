import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { readProcess } from '../../src/telemetry/process-reading.ts';
import { parts } from '../../src/telemetry/recorder.ts';
import { renderMetrics } from '../../src/telemetry/render.ts';
import { SeriesRecorder } from '../../src/telemetry/series.ts';

const hasPromtool = spawnSync('promtool', ['--version'], { timeout: 10_000 }).status === 0;

describe('promtool check metrics', () => {
  it('takes the text of /metrics without a word', async (test) => {
    if (!hasPromtool) test.skip('promtool is not installed (Debian: apt-get install prometheus)');
    const recorder = new SeriesRecorder(3);
    const partsMs = Float64Array.from(parts, (_, index) => index);
    for (let i = 0; i < 10; i++) {
      const status = [200, 302, 404, 503][i % 4]!;
      recorder
        .series('outbound', 'shop.default', { name: `cart-${i}.default` }, { route: 'r"\\\n' }, status)
        .record(i, partsMs, i > 5);
    }
    recorder.countFailure('outbound', 'no-route');
    recorder.countRetry('outbound', 'connect-refused');
    const text = await renderMetrics({
      tables: [recorder.table()],
      failures: recorder.failures(),
      retries: recorder.retries(),
      upstreams: [{ destination: 'cart.default', connections: 2, idle: 1, pending: 0 }],
      listeners: [{ listener: 'outbound', connections: 1, connectionsUsedUp: 0 }],
      loops: [{ longestTurnMs: 1, utilization: 0.5, connections: 1, requests: 10 }],
      config: { revision: 1, isConnected: true, nacks: 0 },
      certificateExpiresAtMs: 1_700_000_000_000,
      process: readProcess(),
      overflowed: recorder.overflowed,
      accessLogLinesDropped: 0,
      accessLogLinesLeftOut: 0,
      spans: { exported: 1, dropped: { 'queue-full': 1, 'over-rate': 0, unreachable: 0, refused: 0, ended: 0 } },
    });
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
      input: text,
      encoding: 'utf8',
      timeout: 30_000,
    });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' });
  });
});
