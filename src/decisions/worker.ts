/** What runs in the pool's threads: each export is a task by its name. Bundled to dist/decisions/worker.js. */
import { compileUnit } from './compile/compile-unit.ts';
import { matchPatterns } from './match-patterns.ts';
import { unpackUnits } from './packed-units.ts';
import type { Tasks } from './tasks.ts';

const compile: Tasks['compile'] = (units) => unpackUnits(units).map(compileUnit);

/** Loaded when metrics are first asked for: prom-client alone takes 60 ms. */
const renderMetrics: Tasks['renderMetrics'] = async (input) =>
  (await import('../telemetry/render.ts')).renderMetrics(input);

const renderFamilies: Tasks['renderFamilies'] = async (families) =>
  (await import('../telemetry/render.ts')).renderFamilies(families);

/** YAML and the schemas: only a sidecar with a file has a use for them. */
const judgeManifest: Tasks['judgeManifest'] = async ({ text, file }) =>
  (await import('../model/judged-manifest.ts')).judgeManifest(text, file);

const tasks: Tasks = { compile, judgeManifest, matchPatterns, renderFamilies, renderMetrics };

// piscina finds a task by the name of its export; this line fails to compile when one is missing.
export { compile, judgeManifest, matchPatterns, renderFamilies, renderMetrics };
export default tasks;
