/** `npm run sim -- --short --sidecars 300`: processes of simulated sidecars and the built control plane, with bounds on what can be counted. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';

const simulator = fileURLToPath(new URL('../sim/sim.mjs', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'weft-sim-test-'));
afterAll(() => rmSync(directory, { recursive: true }));
/** A quiet machine needs half a minute, one that does ten other things several times as long. */
const timeoutMs = 300_000;

function simulate(flags: readonly string[]): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [simulator, ...flags], { timeout: timeoutMs }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), output: stdout + stderr }),
    );
  });
}

describe('the simulator', () => {
  it('explains itself, and says which flag is wrong', async () => {
    expect(await simulate(['--help'])).toMatchObject({ code: 0, output: expect.stringContaining('--sidecars N') });
    const wrong = await simulate(['--changes', 'many']);
    expect(wrong).toMatchObject({ code: 2, output: expect.stringContaining('--changes wants whole numbers') });
  });

  it(
    'shows 300 sidecars that take changes, survive kill -9 of their control plane, and wait for nobody',
    async () => {
      const file = join(directory, 'sim.json');
      const { code, output } = await simulate(['--short', '--sidecars', '300', '--json', file]);
      expect(output).toContain('no sidecar saw the protocol broken');
      expect(code).toBe(0);
      const { sidecars, parts } = JSON.parse(readFileSync(file, 'utf8')).runs[0];
      expect(sidecars).toBe(300);
      expect(parts.idle.pushes).toBe(0);
      expect(parts.changes.pushesPerSidecar).toEqual({ median: 1, min: 1, max: 1 });
      expect(parts.changes.bytesPerSidecar.max).toBeLessThan(250);
      expect(parts.churn.pushesPerSidecar).toBeLessThan(parts.churn.changes / 2);
      expect(parts.reconnect).toMatchObject({ notResumed: 0, firstObjectsPerSidecar: 0 });
      expect(parts.reconnect.firstBytesPerSidecar).toBeLessThan(500);
      expect(parts.slow.rounds).toHaveLength(5);
      // A process of this kind has some 90 MiB before the first sidecar comes.
      expect(parts.slow.besideMib).toBeLessThan(400);
    },
    timeoutMs,
  );
});
