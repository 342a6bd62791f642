/** What each file of tests of the API begins with: a built worker for all of them, and an end for whatever a test has opened. */
import { afterAll, afterEach, beforeAll } from 'vitest';
import type { ControlPlaneOptions } from '../../src/control/control-plane.ts';
import { buildDecisionWorker } from '../fixtures/decision-worker.ts';
import { ApiUnderTest } from './api-harness.ts';

export interface ApiRoom {
  /** Run after each test, the last one first. */
  readonly cleanups: (() => unknown)[];
  /** There from the first test on. */
  readonly workerFile: URL;
  /** A control plane that ends with the test. */
  start(options?: Partial<ControlPlaneOptions>): Promise<ApiUnderTest>;
}

/** To be called once, outside of any test. */
export function apiRoom(): ApiRoom {
  let worker: Awaited<ReturnType<typeof buildDecisionWorker>>;
  const cleanups: (() => unknown)[] = [];
  beforeAll(async () => {
    worker = await buildDecisionWorker();
  });
  afterAll(() => worker.remove());
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  return {
    cleanups,
    get workerFile() {
      return worker.file;
    },
    start: async (options = {}) => {
      const api = await ApiUnderTest.start({ workerFile: worker.file, ...options });
      cleanups.push(() => api.stop());
      return api;
    },
  };
}
