import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { inliningBudgetFlag, raiseInliningBudget } from '../../../src/cli/inlining.ts';

test('the flag is one of this V8, so that raising it is no error line at the start of a sidecar', () => {
  expect(execFileSync(process.execPath, ['--v8-options'], { encoding: 'utf8' })).toContain(`${inliningBudgetFlag} (`);
  expect(raiseInliningBudget).not.toThrow();
});
