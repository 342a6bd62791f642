// A build of the same sources without the ledger, for what it costs (ledger-cost.mjs). No release has such a switch: files are changed as they are bundled.
import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundle } from '../../deploy/bundle.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Whole files, and those of `without-ledger/` in their place: no sum, no ring of the last requests; nobody watches the loop. */
const standIns = {
  'src/proxy/outcome.ts': 'outcome.ts',
  'src/telemetry/loop-delay.ts': 'loop-delay.ts',
};
const changes = {
  // One array for all requests, of which nobody reads.
  'src/telemetry/recorder.ts': [
    'const partsMs = [0.5',
    'return one;\n}\nconst one = [0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0];\nfunction _none(): PartsMs {\n  const partsMs = [0.5',
  ],
  // What every proxy counts of a request stays: how many there were, and how long they took.
  'src/telemetry/series.ts': ['const band = ', 'return;\n    const band = '],
  // The far side says nothing of its hop.
  'src/proxy/link/link-answer.ts': ['wantsTiming = true', 'wantsTiming = false'],
};

/** @throws Error when the sources are not those that this knows. */
export async function bundleWithoutLedger(outdir) {
  const missing = new Set([...Object.keys(standIns), ...Object.keys(changes)]);
  await bundle(outdir, [
    {
      name: 'without-ledger',
      setup(build) {
        build.onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => {
          const file = relative(root, path);
          if (!missing.has(file)) return null;
          missing.delete(file);
          return { contents: contentsOf(file), loader: 'ts', resolveDir: dirname(path) };
        });
      },
    },
  ]);
  if (missing.size > 0) throw new Error(`not in the bundle any more: ${[...missing].join(', ')}`);
}

function contentsOf(file) {
  if (Object.hasOwn(standIns, file))
    return readFileSync(join(root, 'test/bench/without-ledger', standIns[file]), 'utf8');
  const [from, to] = changes[file];
  const pieces = readFileSync(join(root, file), 'utf8').split(from);
  if (pieces.length !== 2) throw new Error(`${file} has "${from}" ${pieces.length - 1} times, and not once`);
  return pieces.join(to);
}
