// Generates src/model/generated/validators.js from the resources' schemas: the schemas as JSON, and what Ajv would else compile in each process that reads a
// manifest, which took 60 ms and 13 MiB.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Ajv } from 'ajv';
import standalone from 'ajv/dist/standalone/index.js';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const directory = `${root}src/model/generated`;
// `first` stops at the first mistake, `all` goes on.
const modes = { first: false, all: true };

const schemas = await readSchemas();
const modules = Object.entries(modes).map(([name, allErrors]) => [name, validatorsOf(allErrors)]);
mkdirSync(directory, { recursive: true });
await build({
  stdin: {
    contents: `${modules.map(([name]) => `export * as ${name} from '${name}';\n`).join('')}export const schemas = ${JSON.stringify(schemas)};\n`,
    resolveDir: root,
  },
  outfile: `${directory}/validators.js`,
  bundle: true,
  minify: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  logLevel: 'warning',
  plugins: [sourcesOf(Object.fromEntries(modules))],
});
writeFileSync(
  `${directory}/validators.d.ts`,
  `import type { ValidateFunction } from 'ajv';
import type { Kind } from '../resources.ts';

${Object.keys(modes)
  .map((name) => `export declare const ${name}: Readonly<Record<Kind, ValidateFunction>>;\n`)
  .join('')}export declare const schemas: typeof import('../resource-schemas.ts').schemas;
`,
);

async function readSchemas() {
  const outfile = `${root}node_modules/.cache/weft/schemas-${process.pid}.mjs`;
  await build({
    entryPoints: [`${root}src/model/resource-schemas.ts`],
    ...{ outfile, bundle: true, format: 'esm', platform: 'node', target: 'node20', logLevel: 'warning' },
  });
  try {
    // As JSON: without what typebox keeps beside a schema.
    return JSON.parse(JSON.stringify((await import(pathToFileURL(outfile).href)).schemas));
  } finally {
    rmSync(outfile);
  }
}

function validatorsOf(allErrors) {
  const ajv = new Ajv({ allErrors, verbose: true, strict: false, code: { source: true, esm: true } });
  for (const [kind, schema] of Object.entries(schemas)) ajv.addSchema(schema, kind);
  return standalone.default(ajv, Object.fromEntries(Object.keys(schemas).map((kind) => [kind, kind])));
}

/** Modules that are no files. */
function sourcesOf(sources) {
  return {
    name: 'sources',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /./ }, ({ path }) => (Object.hasOwn(sources, path) ? { path, namespace: 'source' } : null));
      onLoad({ filter: /./, namespace: 'source' }, ({ path }) => ({ contents: sources[path], resolveDir: root }));
    },
  };
}
