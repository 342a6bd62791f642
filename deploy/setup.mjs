// Brings a checkout to the point where it runs: packages, generated code, build. Each step is skipped when its inputs are unchanged.
import { execSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const stamps = join(root, 'node_modules/.cache/weft');

requireNode(20, 20);
// The lock file decides, as npm understands it: packages that were installed by hand are fine.
// The build needs the development packages also where NODE_ENV says production.
if (!isInstalled()) run('install', 'npm ci --include=dev --no-audit --no-fund');
step('generate', ['proto', 'deploy/generate.mjs', 'package-lock.json'], 'src/wire/generated/push.js');
step('validators', ['src/model', 'deploy/validators.mjs', 'package-lock.json'], 'src/model/generated/validators.js');
step(
  'build',
  ['src', 'proto', 'deploy/build.mjs', 'deploy/bundle.mjs', 'deploy/validators.mjs', 'package-lock.json'],
  'dist/bin/weft.js',
);
linkExecutable();

function requireNode(major, minor) {
  const [actualMajor, actualMinor] = process.versions.node.split('.').map(Number);
  if (actualMajor > major || (actualMajor === major && actualMinor >= minor)) return;
  console.error(`Weft needs Node ${major}.${minor} or newer; this is ${process.version}.`);
  process.exit(1);
}

/** Whether node_modules holds every package of the lock file at its version (those for other platforms aside). */
function isInstalled() {
  const hidden = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(hidden)) return false;
  const actual = JSON.parse(readFileSync(hidden, 'utf8')).packages;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(wanted).every(
    ([path, { version, optional }]) =>
      path === '' || (actual[path] === undefined ? optional === true : actual[path].version === version),
  );
}

/** Runs `deploy/NAME.mjs` unless its output is there and its inputs are what they were when it was made. */
function step(name, inputs, output) {
  const stamp = join(stamps, name);
  const wanted = fingerprint(inputs);
  if (existsSync(join(root, output)) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  run(name, `"${process.execPath}" deploy/${name}.mjs`);
  mkdirSync(stamps, { recursive: true });
  writeFileSync(stamp, wanted);
}

/**
 * Puts the executable where `npx weft` finds it whatever npm remembers: who says that before the first build has npm keep, for good, an
 * entry of this checkout in its own cache that has no executable.
 */
function linkExecutable() {
  const link = join(root, 'node_modules/.bin/weft');
  if (lstatSync(link, { throwIfNoEntry: false }) !== undefined) return;
  mkdirSync(join(root, 'node_modules/.bin'), { recursive: true });
  symlinkSync('../../dist/bin/weft.js', link);
}

function run(name, command) {
  console.error(`setup: ${name}`);
  try {
    execSync(command, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  } catch {
    console.error(`setup: ${name} failed (${command}); what it said is above.`);
    process.exit(1);
  }
}

function fingerprint(paths) {
  const hash = createHash('sha256').update(process.version);
  for (const file of paths.map((path) => join(root, path)).flatMap(filesBelow))
    hash.update(file.slice(root.length)).update('\0').update(readFileSync(file)).update('\0');
  return hash.digest('hex');
}

function filesBelow(path) {
  if (!statSync(path).isDirectory()) return [path];
  // Generated code is an output, not an input.
  const names = readdirSync(path).filter((name) => name !== 'generated');
  return names.sort().flatMap((name) => filesBelow(join(path, name)));
}
