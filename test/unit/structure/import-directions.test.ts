/** Keeps the layout of the project: which room may import which, who may use which package, how long a file may be, how it may be named. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const sourceRoot = fileURLToPath(new URL('../../../src', import.meta.url));
const linesMax = 500;

/** bin -> cli, sidecar, control -> decisions -> proxy -> telemetry -> model; wire and identity import only model. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  model: [],
  wire: ['model'],
  identity: ['model'],
  telemetry: ['model'],
  proxy: ['telemetry', 'model'],
  decisions: ['proxy', 'telemetry', 'model'],
  sidecar: ['decisions', 'proxy', 'telemetry', 'wire', 'identity', 'model'],
  control: ['decisions', 'proxy', 'telemetry', 'wire', 'identity', 'model'],
  // The command line starts what runs and speaks to it; it is the only one that knows both planes.
  cli: ['sidecar', 'control', 'decisions', 'proxy', 'telemetry', 'wire', 'identity', 'model'],
  bin: ['cli', 'sidecar', 'control', 'decisions', 'proxy', 'telemetry', 'model'],
};

/** Packages with one home: the files (or folders, ending in `/`) that may import them. */
const packageHomes: Readonly<Record<string, readonly string[]>> = {
  piscina: ['decisions/'],
  'uWebSockets.js': ['proxy/listener/', 'control/push'],
  'prom-client': ['telemetry/'],
  lmdb: ['control/store/'],
  etcd3: ['control/store/etcd-client.ts', 'control/store/etcd-codec.ts'],
  fastify: ['control/api/'],
  commander: ['cli/'],
  'cli-table3': ['cli/'],
  pino: ['telemetry/logger.ts'],
  ws: ['sidecar/', 'control/push'],
  '@peculiar/x509': ['identity/'],
  'reflect-metadata': ['identity/'],
  jose: ['identity/'],
};
const bannedNames = ['index', 'util', 'utils', 'helper', 'helpers', 'common', 'types', 'misc'];

interface Import {
  readonly from: string;
  readonly specifier: string;
  /** Path below src/ for an own file, else null. */
  readonly target: string | null;
}

const files = readdirSync(sourceRoot, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts') && !path.includes('/generated/'))
  .sort();
const imports = files.flatMap(importsOf);
const roomOf = (path: string): string => path.split('/')[0]!;

function importsOf(from: string): readonly Import[] {
  // Comments first: they speak of code, and their apostrophes would look like quotes.
  const code = readFileSync(join(sourceRoot, from), 'utf8').replace(/^\s*(\/\/|\/?\*).*$/gm, '');
  const found = code.matchAll(/(?:^|[^\w.])(?:from|import)\s*\(?\s*(['"])([^'"\n]+)\1/g);
  return [...found].map(([, , specifier]) => ({
    from,
    specifier: specifier!,
    target: specifier!.startsWith('.') ? relative(sourceRoot, resolve(sourceRoot, dirname(from), specifier!)) : null,
  }));
}

const show = (offenders: readonly Import[]): readonly string[] =>
  offenders.map(({ from, specifier }) => `${from} imports ${specifier}`);

describe('import directions', () => {
  it('sees the imports', () => {
    expect(files.length).toBeGreaterThan(20);
    expect(imports.length).toBeGreaterThan(files.length);
  });

  it('knows every room', () => {
    expect([...new Set(files.map(roomOf))].filter((room) => mayImport[room] === undefined)).toEqual([]);
  });

  it('lets imports run one way', () => {
    const offenders = imports.filter(({ from, target }) => {
      if (target === null || roomOf(target) === roomOf(from)) return false;
      return !mayImport[roomOf(from)]?.includes(roomOf(target));
    });
    expect(show(offenders)).toEqual([]);
  });

  it('keeps generated code within its room', () => {
    const offenders = imports.filter(
      ({ from, target }) => target?.includes('/generated/') && roomOf(from) !== roomOf(target),
    );
    expect(show(offenders)).toEqual([]);
  });

  it.each(Object.entries(packageHomes))('keeps %s at home', (name, homes) => {
    const offenders = imports.filter(
      ({ from, specifier }) =>
        (specifier === name || specifier.startsWith(`${name}/`)) && !homes.some((home) => from.startsWith(home)),
    );
    expect(show(offenders)).toEqual([]);
  });

  it('keeps the file system out of the proxy and out of the model', () => {
    const offenders = imports.filter(
      ({ from, specifier }) => ['proxy', 'model'].includes(roomOf(from)) && /^(node:)?fs(\/|$)/.test(specifier),
    );
    expect(show(offenders)).toEqual([]);
  });

  it('names the extension of every own file', () => {
    expect(show(imports.filter(({ target }) => target !== null && !/\.(ts|js)$/.test(target)))).toEqual([]);
  });
});

describe('files', () => {
  it(`are at most ${linesMax} lines long`, () => {
    const long = files.filter((path) => readFileSync(join(sourceRoot, path), 'utf8').split('\n').length - 1 > linesMax);
    expect(long).toEqual([]);
  });

  it('have a noun for a name, in kebab-case', () => {
    const rooms = (path: string) => path.split('/').map((part) => basename(part, '.ts'));
    expect(files.filter((path) => rooms(path).some((name) => bannedNames.includes(name)))).toEqual([]);
    expect(files.filter((path) => !/^([a-z0-9]+(-[a-z0-9]+)*\/)*[a-z0-9]+(-[a-z0-9]+)*\.ts$/.test(path))).toEqual([]);
  });

  it('open with a sentence that says what they own', () => {
    const silent = files.filter((path) => !/^(#!.*\n)?\/(\*\*|\/)/.test(readFileSync(join(sourceRoot, path), 'utf8')));
    expect(silent).toEqual([]);
  });
});
