import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { weft } from './captured-terminal.ts';

const bash = (await weft(['completion', 'bash'])).out;

/** What bash offers behind these words; the last one is the one that is being written. */
function offered(...words: string[]): string[] {
  const script = `${bash}
COMP_WORDS=(weft "$@"); COMP_CWORD=$#; _weft; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const out = execFileSync('bash', ['-c', script, 'bash', ...words], { encoding: 'utf8', cwd: import.meta.dirname });
  return out.split('\n').filter((line) => line !== '');
}

describe('completion in bash', () => {
  it('knows the commands, and those below them', () => {
    expect(offered('ro')).toEqual(['rollback']);
    expect(offered('')).toEqual(expect.arrayContaining(['apply', 'diff', 'history', 'explain', 'completion']));
    expect(offered('ca', 'r')).toEqual(['rotate']);
  });

  it('knows the flags of each command, and the values of those that have some', () => {
    expect(offered('rollback', '--d')).toEqual(['--dry-run']);
    expect(offered('get', '--dry')).toEqual([]);
    expect(offered('get', '-o', '')).toEqual(['table', 'yaml', 'json']);
    expect(offered('history', '--output', 'y')).toEqual(['yaml']);
    expect(offered('apply', '-f', 'completion')).toEqual(['completion.test.ts']);
    expect(offered('apply', '-m', '')).toEqual([]);
  });

  it('knows the kinds, wherever flags stand', () => {
    expect(offered('get', '')).toEqual(['service', 'httproute', 'trafficpolicy', 'sidecars']);
    expect(offered('describe', '-o', 'json', 'h')).toEqual(['httproute']);
    expect(offered('explain', 't')).toEqual(['trafficpolicy']);
    expect(offered('get', 'service', '')).toEqual([]);
    expect(offered('completion', 'z')).toEqual(['zsh']);
  });
});

describe('completion in other shells', () => {
  it('is the same in zsh, which runs the functions of bash', async () => {
    const { code, out } = await weft(['completion', 'zsh']);
    expect(code).toBe(0);
    expect(out).toMatch(/bashcompinit && bashcompinit\n/);
    expect(out).toContain(bash.slice(bash.indexOf('_weft() {')));
  });

  it('is fish lines with the commands, flags and kinds', async () => {
    const lines = (await weft(['completion', 'fish'])).out.split('\n');
    expect(lines).toContainEqual(
      expect.stringMatching(/^complete -c weft -n 'test \(__weft_path\) = "weft"' -a rollback -d '.+'$/),
    );
    expect(lines).toContainEqual(expect.stringContaining(`"weft get"' -s o -l output -xa 'table yaml json'`));
    expect(lines).toContainEqual(expect.stringContaining(`"weft apply"' -s f -l file -rF`));
    expect(lines).toContainEqual(expect.stringContaining(`"weft describe"' -a 'service httproute trafficpolicy'`));
  });

  it('of another one is refused with those there are', async () => {
    const { code, err } = await weft(['completion', 'tcsh']);
    expect(code).toBe(2);
    expect(err).toMatch(/bash, zsh, fish/);
  });
});
