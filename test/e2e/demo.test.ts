/** `npm run demo`: ends by itself, in time, with no failed request, and cleans up. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const demo = fileURLToPath(new URL('../../deploy/demo/demo.mjs', import.meta.url));
let temporary: string;
beforeEach(() => {
  temporary = mkdtempSync(join(tmpdir(), 'weft-demo-test-'));
});
afterEach(() => rmSync(temporary, { recursive: true, force: true }));

function runDemo(args: readonly string[], onLine: (line: string, interrupt: () => void) => void = () => {}) {
  const child = spawn(process.execPath, [demo, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // Its files go where this test sees whether they are gone.
    env: { ...process.env, TMPDIR: temporary },
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk;
    onLine(chunk.toString(), () => child.kill('SIGINT'));
  });
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk;
  });
  return new Promise<{ code: number | null; out: string; err: string }>((resolve) =>
    child.once('close', (code) => resolve({ code, out, err })),
  );
}

describe('the demo', () => {
  it('moves a split under load and shows every hop', async () => {
    const startedAtMs = performance.now();
    const { code, out, err } = await runDemo(['--seconds', '8']);
    expect(err).toBe('');
    expect(code).toBe(0);
    expect(performance.now() - startedAtMs).toBeLessThan(20_000);
    expect(out).toMatch(/at 90\/10 +\d+ answers: v1 \d+ \((89|90|91)\.\d %\), v2 .*; failed 0/);
    expect(out).toMatch(/at 50\/50 +\d+ answers: v1 \d+ \((49|50|51)\.\d %\), v2 .*; failed 0/);
    expect(out).toMatch(/outbound +web\.?\S* +cart/);
    expect(out).toMatch(/inbound .* cart/);
    expect(out).toMatch(/Server-Timing: .*wait;dur=.*total;dur=/);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it('refuses a time that makes no sense', async () => {
    const { code, err } = await runDemo(['--seconds', 'long']);
    expect(code).toBe(2);
    expect(err).toContain('expected a whole number');
  });

  it('can be interrupted, and leaves nothing behind', async () => {
    let isInterrupted = false;
    const { code } = await runDemo(['--seconds', '60'], (_line, interrupt) => {
      if (!isInterrupted) interrupt();
      isInterrupted = true;
    });
    expect(code).toBe(130);
    expect(readdirSync(temporary)).toEqual([]);
  });
});
