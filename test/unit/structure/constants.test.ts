import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { withConstants } from '../../../deploy/constants.mjs';

interface Chunk {
  readonly path: string;
  readonly code: string;
  readonly map: string;
}

const directory = mkdtempSync(join(tmpdir(), 'weft-constants-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Each line of the code stands for itself. */
function chunk(path: string, code: string): Chunk {
  const line = 'AAAA';
  const mappings = code
    .split('\n')
    .map((_, index) => (index === 0 ? line : 'AACA'))
    .join(';');
  return { path, code, map: JSON.stringify({ version: 3, sources: [`${path}.ts`], names: [], mappings }) };
}

function changed(...chunks: readonly Chunk[]): ReadonlyMap<string, string> {
  const made = withConstants(chunks) as readonly Chunk[];
  return new Map(made.map(({ path, code }) => [path, code]));
}

describe('the constants of a bundle', () => {
  it('are what has its value where it is declared, and nowhere else', () => {
    const code =
      'var a=1,b=2,c,d={x:1};c=3;function f(b2){b=b2;for(d of[])a;return a}var{e}=d,{j,k:[l]}=d,g=class{},h=0,i=[];[i]=[1];h++;l++;export{a,f};';
    const { 'a.js': made } = Object.fromEntries(changed(chunk('a.js', code)));
    expect(made).toBe(
      'const f=function (b2){b=b2;for(d of[])a;return a};\nconst a=1;var b=2,c,d={x:1};c=3;const{e}=d;var {j,k:[l]}=d;const g=class{};var h=0,i=[];[i]=[1];h++;l++;const a$export=a,\nf$export=f;\nexport{a$export as a,f$export as f};',
    );
  });

  it('are functions too, of which each is there before anything runs, and not those that are assigned to', async () => {
    const code =
      'import{sep}from"node:path";var made=one()+1;function one(){return two(40)}async function later(){return made+sep}function*each(){yield one.name}function two(n){return n+1}function turned(){return 1}turned=()=>2;export{made,later,each,turned};';
    const path = join(directory, 'functions.mjs');
    const made = changed(chunk('functions.mjs', code)).get('functions.mjs')!;
    writeFileSync(path, made);
    const loaded = await import(/* @vite-ignore */ path);
    expect([loaded.made, await loaded.later(), ...loaded.each(), loaded.turned()]).toEqual([42, '42/', 'one', 2]);
    expect(made).toContain('const later=async function ()');
    expect(made).toContain('const each=function*()');
    expect(made).toContain('function turned()');
    expect(made).not.toContain('turned$export');
  });

  it('leave functions where they are between chunks that call each other in a circle', async () => {
    const files = changed(
      chunk('round-a.mjs', 'import{b}from"./round-b.mjs";function a(){return 1}var of=b;export{a,of};'),
      chunk('round-b.mjs', 'import{a}from"./round-a.mjs";var b=a()+1;export{b};'),
    );
    for (const [path, code] of files) writeFileSync(join(directory, path), code);
    const loaded = await import(/* @vite-ignore */ join(directory, 'round-a.mjs'));
    expect(loaded.of).toBe(2);
  });

  it('are imports of them too, but not of what changes, nor what is passed on or imported in a circle', async () => {
    const files = changed(
      chunk(
        'leaf.mjs',
        'var one=1,counted=0;function count(){counted++}var passed=7;export{one as uno,counted,count,passed};',
      ),
      chunk('circle.mjs', 'import{late}from"./main.mjs";function circle(){return late}export{circle};'),
      chunk(
        'main.mjs',
        'import{uno,counted,count,passed}from"./leaf.mjs";import{circle}from"./circle.mjs";import{sep}from"node:path";var late=5;function sum(){count();return[uno,counted,passed,circle(),sep]}export{sum,late,passed};',
      ),
    );
    for (const [path, code] of files) writeFileSync(join(directory, path), code);
    const main = files.get('main.mjs')!;
    expect(main).toContain('uno as uno$import');
    expect(main).toContain('count as count$import');
    expect(main).not.toMatch(/(counted|passed|circle|sep)\$import/);
    expect(files.get('circle.mjs')).not.toContain('$import');
    const loaded = await import(/* @vite-ignore */ join(directory, 'main.mjs'));
    expect([loaded.sum(), loaded.sum()]).toEqual([
      [1, 1, 7, 5, '/'],
      [1, 2, 7, 5, '/'],
    ]);
  });

  it('leave a source map that leads to the same lines', () => {
    const code = 'import{a}from"./b.js";\nvar c=1;\nfunction f(){return a+c}\nexport{f};';
    const [made] = withConstants([chunk('a.js', code), chunk('b.js', 'var a=1;export{a};')]) as readonly [Chunk];
    const lines = made.code.split('\n');
    const map = new SourceMap(JSON.parse(made.map));
    const sourceLine = (start: string) => {
      const entry = map.findEntry(
        lines.findIndex((line) => line.startsWith(start)),
        start.length,
      );
      return 'originalLine' in entry ? entry.originalLine : -1;
    };
    expect([sourceLine('const c='), sourceLine('const f='), sourceLine('export')]).toEqual([1, 2, 3]);
  });

  it('refuse a chunk that has their names already', () => {
    expect(() => changed(chunk('a.js', 'var a$import=1;'))).toThrow('$import');
    expect(() => changed(chunk('a.js', 'var a$export=1;'))).toThrow('$export');
  });
});
