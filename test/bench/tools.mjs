// The foreign programs of the benchmark: installed where they are missing, and their versions.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';

/** Debian's package of each program. */
const packages = {
  ...{ nginx: 'nginx-light', haproxy: 'haproxy', openssl: 'openssl', taskset: 'util-linux', perf: 'linux-perf' },
  ...{ 'g++': 'g++', make: 'make', strace: 'strace', valgrind: 'valgrind' },
};
/** What every run needs, whoever competes. */
export const ownTools = ['openssl', 'taskset', 'g++', 'make'];
const installTimeoutMs = 300_000;

/**
 * Installs what is missing, and says so.
 * @throws Error when something is missing and this is not root on a Debian.
 */
export function requireTools(programs) {
  const missing = programs.filter((program) => !isThere(program));
  if (missing.length === 0) return;
  const names = missing.map((program) => packages[program]);
  if (process.getuid?.() !== 0 || !isThere('apt-get'))
    throw new Error(`${missing.join(', ')} missing: install ${names.join(' ')} as root, then run this again.`);
  console.error(`installing ${names.join(' ')} with apt-get`);
  // The benchmark starts its own nginx and haproxy: the packages must start none.
  const options = {
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: installTimeoutMs,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  };
  execFileSync('apt-get', ['-qq', 'update'], options);
  execFileSync('apt-get', ['-qq', 'install', '-y', '--no-install-recommends', ...names], options);
}

/** What the figures depend on. */
export function machineOf() {
  return {
    model: cpus()[0].model.trim(),
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    versions: [
      `Node ${process.versions.node}`,
      ...[versionOf('nginx', ['-v']), versionOf('haproxy', ['-v']), versionOf('g++', ['--version'])],
      versionOf('openssl', ['version']),
    ].filter((version) => version !== ''),
  };
}

/** The same, one line each. */
export function machineLines({ model, cores, kernel, versions } = machineOf()) {
  return [
    `machine  ${model}, ${cores} cores, Linux ${kernel}, load average ${loadLine()}`,
    `versions ${versions.join(', ')}`,
  ];
}

export const loadLine = () =>
  loadavg()
    .map((load) => load.toFixed(2))
    .join(' ');

export function isThere(program) {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
}

function versionOf(program, args) {
  const { stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  // Missing: neither has anything.
  const line = `${stdout ?? ''}${stderr ?? ''}`.split('\n')[0].replace('nginx version: ', '');
  return line.replace(/ (Copyright|\[|\(Library|- https?:).*/, '').trim();
}

/** Clock ticks of /proc/PID/stat a second. */
export const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** Whether the machine's boot says that it has that core. */
export const hasCore = (core) => new RegExp(`^cpu${core} `, 'm').test(readFileSync('/proc/stat', 'utf8'));
