// Generates src/wire/generated from proto/: static protobuf code (ESM) and its types.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const output = `${root}src/wire/generated/push.js`;
mkdirSync(`${root}src/wire/generated`, { recursive: true });
execFileSync(
  process.execPath,
  [
    `${root}node_modules/protobufjs-cli/bin/pbjs`,
    '-t',
    'static-module',
    '-w',
    'esm',
    '-d',
    '--force-number',
    '--no-service',
    '--no-delimited',
    '--no-typeurl',
    '--no-verify',
    '--no-create',
    '-o',
    output,
    `${root}proto/weft/v1/push.proto`,
  ],
  { stdio: ['ignore', 'inherit', 'inherit'] },
);
// protobufjs writes `import * as $protobuf from "protobufjs/minimal"`, which Node's ESM loader refuses twice over.
writeFileSync(
  output,
  readFileSync(output, 'utf8').replace(
    /import (\* as )?\$protobuf from "protobufjs\/minimal(\.js)?";/,
    'import $protobuf from "protobufjs/minimal.js";',
  ),
);
