import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { readManifest } from '../../../src/model/manifest.ts';
import { formatProblem } from '../../../src/model/problem.ts';

const problemsOf = (text: string) => readManifest(text, 'mesh.yaml').problems.map(formatProblem);

/** What a manifest is read by must outlive whatever stands in it: the command, the API, and a sidecar with `--config`. */
describe('a manifest that is made to do harm, or to confuse', () => {
  it.each<[name: string, text: string, expected: readonly string[]]>([
    ['a list that holds itself', '&a [*a]', ['mesh.yaml:1:5: the alias *a stands inside of what it names']],
    [
      'a List that holds itself',
      '&a\nkind: List\nitems: [*a]',
      ['mesh.yaml:3:9: the alias *a stands inside of what it names'],
    ],
    [
      'a list that holds itself by way of another',
      '&a [&b [*a], *b]',
      ['mesh.yaml:1:9: the alias *a stands inside of what it names'],
    ],
    [
      'aliases without an anchor before them',
      'kind: Service\nspec:\n  port: *x\n  endpoints: *y\nlater: &x 1',
      [
        'mesh.yaml:3:9: the alias *x has no anchor &x before it',
        'mesh.yaml:4:14: the alias *y has no anchor &y before it',
      ],
    ],
    ['a list as a key', 'kind: Service\n? [1, 2]\n: 3', ['mesh.yaml:2:3: With stringKeys, all keys must be strings']],
  ])('%s', (_name, text, expected) => {
    expect(problemsOf(text)).toEqual(expected);
  });

  // An overflow of the stack inside the parser's recursion ended the process, now and then: V8 cannot compile a regular expression there.
  it.each<[name: string, text: string, place: string]>([
    ['open sequences', '['.repeat(20_000), '1:101'],
    ['closed sequences', `${'['.repeat(20_000)}${']'.repeat(20_000)}`, '1:101'],
    ['open mappings', '{a: '.repeat(20_000), '1:401'],
    ['items of items', `${'- '.repeat(20_000)}x`, '1:201'],
    ['indented mappings', Array.from({ length: 2_000 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'), '101:101'],
  ])('nesting without end: %s', (_name, text, place) => {
    expect(problemsOf(text)).toEqual([`mesh.yaml:${place}: nests deeper than 100 levels; nothing after this was read`]);
  });

  it('nesting by way of aliases, which no text shows', () => {
    const open = '['.repeat(50);
    const close = ']'.repeat(50);
    const items = ['- &a0 x'];
    for (let i = 1; i < 2_000; i++) items.push(`- &a${i} ${open}*a${i - 1}${close}`);
    expect(problemsOf(items.join('\n'))[0]).toMatch(/must be an object|cannot be read/);
  });

  // The parser's own search for a key that is there twice compares all of them with each other: 78 s.
  it('60,000 keys are read in time', () => {
    const text = Array.from({ length: 60_000 }, (_, i) => `k${i}: 1\n`).join('');
    expect(problemsOf(text)).toEqual([expect.stringMatching(/^mesh\.yaml:1:1: /)]);
    const twice = problemsOf(`${text}k7: 2\n`);
    expect(twice).toEqual([expect.stringMatching(/^mesh\.yaml:60001:1: Map keys must be unique/)]);
  }, 20_000);

  it('more problems than anyone reads are counted only', () => {
    const problems = problemsOf('- 1\n'.repeat(limits.problemsPerManifestMax + 7));
    expect(problems.length).toBe(limits.problemsPerManifestMax + 1);
    expect(problems.at(-1)).toBe('mesh.yaml: 7 more problems are not shown');
  });
});

describe('aliases that are fine', () => {
  it('are read, also under a name that was given again', () => {
    const { resources, problems } = readManifest(
      `apiVersion: weft.mesh/v1
kind: Service
metadata: { name: &n cart, labels: { app: *n, tier: &n front, part: *n } }
spec: { endpoints: [&e { address: 'a:1' }] }
`,
      'mesh.yaml',
    );
    expect(problems).toEqual([]);
    expect(resources[0]?.metadata.labels).toEqual({ app: 'cart', tier: 'front', part: 'front' });
  });
});
