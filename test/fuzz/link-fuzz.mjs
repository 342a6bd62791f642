#!/usr/bin/env node
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

const usage = `npm run fuzz:link -- [flags]: throws changed sessions at the link
  --seconds N  how long; default 60
  --seed N     of the changes; default another each time, and said
  --keep N     adds up to N small inputs that led somewhere new to the corpus; default 0
A broken promise ends it with the seed, and the input goes into the corpus, which the unit tests replay.
for example: npm run fuzz:link -- --seconds 600`;

function flags() {
  const text = { type: 'string' };
  try {
    const { values } = parseArgs({ options: { seconds: text, seed: text, keep: text, help: { type: 'boolean' } } });
    const { seconds = '60', seed = String(Date.now() % 2 ** 31), keep = '0', help = false } = values;
    for (const [name, value] of Object.entries({ seconds, seed, keep }))
      if (!/^\d+$/.test(value)) throw new Error(`--${name} wants a whole number, and ${value} is none.`);
    return { seconds: Number(seconds), seed: Number(seed), keep: Number(keep), help };
  } catch (error) {
    console.error(`${error.message}\n${usage}`);
    process.exit(2);
  }
}

const { seconds, seed, keep, help } = flags();
if (help) {
  console.log(usage);
  process.exit();
}
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
console.log(`seed ${seed}: ${seconds} s, from a corpus of ${corpus.length}`);
const report = await fuzz({ seed, milliseconds: seconds * 1000, corpus, onProgress: say });
say(report);
for (const input of await distilled(report.kept, keep)) writeFileSync(`${corpusDirectory}${nameOf(input)}.bin`, input);
if (report.fault !== null) {
  const file = `${corpusDirectory}fault-${nameOf(report.fault.input)}.bin`;
  writeFileSync(file, report.fault.input);
  console.error(`A promise was broken (seed ${seed}); the input is in ${file}.`);
  console.error(report.fault.error.stack.replace(/data:text\/javascript;base64,[\w+/=]*/g, 'link-fuzzer.ts'));
}
process.exit(report.fault === null ? 0 : 1);
