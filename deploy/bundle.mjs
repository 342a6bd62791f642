// The bundles of src/: the executable, the workers, and chunks that are loaded when a command needs them.

import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { withConstants } from './constants.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

// Native code, and packages that find files of their own beside them, stay packages. All others are bundled: few files to open, and only
// what is used of them. A sidecar is ready in 185 ms instead of 310 (median of 5, twice; typebox alone takes 117 ms as a package).
const external = [
  'uWebSockets.js',
  'lmdb',
  'etcd3',
  'piscina',
  'fastify',
  '@fastify/*',
  'bufferutil',
  'utf-8-validate',
];
/** Into `outdir`, which is made. `plugins`: of esbuild, for builds that are no release (test/bench/without-ledger.mjs). */
export async function bundle(outdir, plugins = []) {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: {
      'bin/weft': 'src/bin/weft.ts',
      'decisions/worker': 'src/decisions/worker.ts',
      'sidecar/loop-worker': 'src/sidecar/loop-worker.ts',
      'identity/certificate-request-worker': 'src/sidecar/identity/certificate-request-worker.ts',
    },
    outdir,
    write: false,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    external,
    // Bundled CommonJS asks for Node's own modules with require, which an ES module has not.
    banner: {
      js: "import { createRequire as weftRequire } from 'node:module'; const require = weftRequire(import.meta.url);",
    },
    sourcemap: true,
    // Names stay, for stacks and profiles. V8 keeps the source: 5.5 MiB less for an idle sidecar, which is ready 5 % sooner.
    ...{ minifyWhitespace: true, minifySyntax: true, lineLimit: 160 },
    chunkNames: 'chunks/[name]-[hash]',
    logLevel: 'warning',
    plugins,
  });
  const textOf = new Map(outputFiles.map(({ path, text }) => [path, text]));
  const chunks = [...textOf.keys()].filter((path) => path.endsWith('.js'));
  const built = withConstants(chunks.map((path) => ({ path, code: textOf.get(path), map: textOf.get(`${path}.map`) })));
  for (const { path, code, map } of built) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, code);
    writeFileSync(`${path}.map`, map);
  }
  chmodSync(`${outdir}/bin/weft.js`, 0o755);
}
