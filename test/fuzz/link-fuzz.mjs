#!/usr/bin/env node
/**
 * npm run fuzz:link -- --seconds 600 [--seed N] [--keep N]: throws changed sessions at the link. A broken promise ends it with the seed, and the
 * input goes into the corpus, which the unit tests replay. `--keep N` adds up to N small inputs that led somewhere new.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    keep: { type: 'string', default: '0' },
  },
});
const seed = Number(values.seed);
const corpusDirectory = fileURLToPath(new URL('./corpus/link/', import.meta.url));
mkdirSync(corpusDirectory, { recursive: true });

const { outputFiles } = await build({
  entryPoints: [fileURLToPath(new URL('./link-fuzzer.ts', import.meta.url))],
  bundle: true,
  write: false,
  format: 'esm',
  platform: 'node',
  target: 'node20',
});
const { fuzz, distilled, nameOf } = await import(
  `data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`
);

const corpus = readdirSync(corpusDirectory).map((name) => readFileSync(corpusDirectory + name));
const say = ({ executions, behaviours, kept }) =>
  console.log(`seed ${seed}: ${executions} executions, ${behaviours} behaviours, ${kept.length} inputs kept`);
console.log(`seed ${seed}: ${values.seconds} s, from a corpus of ${corpus.length}`);
const report = await fuzz({ seed, milliseconds: Number(values.seconds) * 1000, corpus, onProgress: say });
say(report);
for (const input of await distilled(report.kept, Number(values.keep)))
  writeFileSync(`${corpusDirectory}${nameOf(input)}.bin`, input);
if (report.fault !== null) {
  const file = `${corpusDirectory}fault-${nameOf(report.fault.input)}.bin`;
  writeFileSync(file, report.fault.input);
  console.error(`A promise was broken (seed ${seed}); the input is in ${file}.`);
  console.error(report.fault.error.stack.replace(/data:text\/javascript;base64,[\w+/=]*/g, 'link-fuzzer.ts'));
}
process.exit(report.fault === null ? 0 : 1);
