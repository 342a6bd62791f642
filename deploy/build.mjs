// Bundles src/ into dist/: the executable, the pool's worker, and chunks that are loaded when a command needs them.
import { chmodSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
// Built aside and moved into place, so that nobody ever starts half a build.
const aside = `${root}node_modules/.cache/weft/dist-${process.pid}`;
mkdirSync(`${root}node_modules/.cache/weft`, { recursive: true });
await build({
  absWorkingDir: root,
  entryPoints: { 'bin/weft': 'src/bin/weft.ts', 'decisions/worker': 'src/decisions/worker.ts' },
  outdir: aside,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  sourcemap: true,
  chunkNames: 'chunks/[name]-[hash]',
  logLevel: 'warning',
});
chmodSync(`${aside}/bin/weft.js`, 0o755);
rmSync(`${root}dist`, { recursive: true, force: true });
renameSync(aside, `${root}dist`);
