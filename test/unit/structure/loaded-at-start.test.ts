/** What a process loads before it does anything: memory of every sidecar, and time of every start. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const sourceRoot = fileURLToPath(new URL('../../../src', import.meta.url));

/** Packages that are reached from a file by imports that run, without those that wait for an `import()`. */
function packagesLoadedBy(entry: string): ReadonlySet<string> {
  const packages = new Set<string>();
  const seen = new Set<string>();
  const queue = [join(sourceRoot, entry)];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (seen.has(file) || !existsSync(file)) continue;
    seen.add(file);
    const code = readFileSync(file, 'utf8');
    for (const [, clause, specifier] of code.matchAll(/^(?:import|export) ([^;]*?)from '([^']+)';/gms)) {
      if (isOfTypesOnly(clause!)) continue;
      if (specifier!.startsWith('.')) queue.push(resolve(dirname(file), specifier!));
      else packages.add(specifier!);
    }
  }
  return packages;
}

/** `type X`, `{ type X, type Y }`: nothing of it is left when it runs. */
function isOfTypesOnly(clause: string): boolean {
  if (clause.startsWith('type ')) return true;
  const names = /^\{([^}]*)\}\s*$/s
    .exec(clause)?.[1]
    ?.split(',')
    .map((name) => name.trim());
  return names?.every((name) => name === '' || name.startsWith('type ')) ?? false;
}

describe('what is loaded at start', () => {
  it.each([
    // 13 MiB of resident memory when a command loaded the store's driver, and a sidecar with a control plane YAML and schemas.
    [
      'bin/weft.ts',
      ['lmdb', 'etcd3', 'fastify', 'ajv', 'typebox', 'yaml', 'piscina', 'uWebSockets.js', 'prom-client', 'ws'],
    ],
    ['cli/serve-sidecar.ts', ['lmdb', 'etcd3', 'fastify', 'ajv', 'typebox', 'yaml', 'prom-client', '@peculiar/x509']],
  ])('by %s is not what only some need', (entry, unwanted) => {
    const loaded = packagesLoadedBy(entry);
    expect(unwanted.filter((name) => loaded.has(name))).toEqual([]);
  });

  it('is found where it is', () => {
    expect([...packagesLoadedBy('cli/serve-sidecar.ts')]).toEqual(expect.arrayContaining(['piscina', 'pino']));
    expect([...packagesLoadedBy('bin/weft.ts')]).toContain('commander');
  });
});
