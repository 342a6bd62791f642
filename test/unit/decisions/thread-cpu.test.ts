import { Worker } from 'node:worker_threads';
import { describe, expect, it, vi } from 'vitest';
import { cpuMsOf, kernelThreadId, threadCpuMs } from '../../../src/decisions/thread-cpu.ts';

/** Says its id, does so much work when asked, then stands still. */
const program = `
  const { parentPort } = require('node:worker_threads');
  parentPort.on('message', (steps) => {
    let sum = 0;
    for (let i = 0; i < steps; i++) sum = (sum * 31 + i) % 1000003;
    parentPort.postMessage(sum);
  });
  parentPort.postMessage(require('node:fs').readlinkSync('/proc/thread-self'));
`;
const said = (worker: Worker) => new Promise<unknown>((resolve) => worker.once('message', resolve));

describe("a thread's CPU time", () => {
  it('grows while that thread runs, and not while another one does', async () => {
    const worker = new Worker(program, { eval: true });
    const id = Number(
      String(await said(worker))
        .split('/')
        .at(-1),
    );
    const before = threadCpuMs(id)!;
    const own = kernelThreadId();
    const ownBefore = threadCpuMs(own)!;
    const ran = said(worker);
    const startedAtMs = performance.now();
    worker.postMessage(20_000_000);
    await ran;
    const passedMs = performance.now() - startedAtMs;
    const usedMs = threadCpuMs(id)! - before;
    expect(usedMs).toBeGreaterThan(10);
    // A tick is 4 ms.
    expect(usedMs).toBeLessThan(passedMs + 10);
    expect(threadCpuMs(own)! - ownBefore).toBeLessThan(usedMs);
    await worker.terminate();
    await vi.waitUntil(() => threadCpuMs(id) === null);
  });

  it('is unknown where the kernel does not count it', () => {
    expect(['54369309 1127200 10\n', '0 0 0\n', '', 'x'].map(cpuMsOf)).toEqual([54.369309, null, null, null]);
  });

  it('is unknown of a thread that is not there', () => {
    expect([threadCpuMs(0), threadCpuMs(2 ** 30)]).toEqual([null, null]);
  });
});
