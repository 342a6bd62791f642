// Brings a checkout to the point where it runs: packages, generated code, build. Each step is skipped when its inputs are unchanged.
import { execSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 20)) {
  console.error(`Weft needs Node 20.20 or newer; this is ${process.version}.`);
  process.exit(1);
}

const filesBelow = (path) =>
  statSync(path).isDirectory()
    ? readdirSync(path)
        .sort()
        .flatMap((name) => filesBelow(join(path, name)))
    : [path];
function fingerprint(paths) {
  const hash = createHash('sha256').update(process.version);
  for (const path of paths.map((name) => join(root, name)).filter(existsSync)) {
    for (const file of filesBelow(path).filter((name) => !name.includes('/generated/')))
      hash.update(file.slice(root.length)).update(readFileSync(file));
  }
  return hash.digest('hex');
}

function step(name, inputs, output, command) {
  const stamp = join(root, 'node_modules/.cache/weft', name);
  const wanted = fingerprint(inputs);
  if (existsSync(join(root, output)) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  console.error(`setup: ${name}`);
  execSync(command, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  mkdirSync(join(root, 'node_modules/.cache/weft'), { recursive: true });
  writeFileSync(stamp, wanted);
}

step('install', ['package.json', 'package-lock.json', '.npmrc'], 'node_modules', 'npm ci --no-audit --no-fund');
step('generate', ['proto', 'deploy/generate.mjs'], 'src/wire/generated/push.js', 'node deploy/generate.mjs');
step('build', ['src', 'proto', 'package-lock.json', 'deploy/build.mjs'], 'dist/bin/weft.js', 'node deploy/build.mjs');
