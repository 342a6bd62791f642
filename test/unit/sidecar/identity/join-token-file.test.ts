import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { limits } from '../../../../src/model/limits.ts';
import { decodeJoinToken } from '../../../../src/sidecar/identity/join-token.ts';
import { JoinTokenFile, readTokenFile } from '../../../../src/sidecar/identity/join-token-file.ts';

const directory = mkdtempSync(join(tmpdir(), 'weft-token-file-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const path = join(directory, 'token');

const tokenFor = (service: string, exp = 1_000): string => {
  const claims = { aud: 'weft-join', sub: `spiffe://weft.local/ns/default/sa/${service}`, root: 'ab'.repeat(32), exp };
  return `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.sig`;
};

describe('a join token file', () => {
  it.each<[string, string, RegExp]>([
    ['is empty', '', /the join token is none/],
    ['holds something else', 'a\r\nHost: b', /the join token is none/],
    ['holds far too much', 'x'.repeat(1_000_000), /the join token is none/],
    ['is of another Service', tokenFor('pay'), /for pay.default, not for cart.default/],
  ])('that %s later leaves the one before, and says so', async (_what, text, fault) => {
    writeFileSync(path, tokenFor('cart'));
    const first = decodeJoinToken(await readTokenFile(path), 'cart', 'default');
    const file = new JoinTokenFile(path, first);
    writeFileSync(path, text);
    await file.refresh();
    expect(file.current).toBe(first);
    expect(file.fault).toMatch(fault);
    expect(file.fault).toContain(path);
    writeFileSync(path, `\n${tokenFor('cart', 2_000)}\n`);
    await file.refresh();
    expect([file.current.expiresAtMs, file.fault]).toEqual([2_000_000, null]);
  });

  it('that is gone leaves the one before', async () => {
    const first = decodeJoinToken(tokenFor('cart'), 'cart', 'default');
    const file = new JoinTokenFile(join(directory, 'none'), first);
    await file.refresh();
    expect(file.current).toBe(first);
    expect(file.fault).toMatch(/ENOENT/);
  });

  it('that is a pipe is not read again', async () => {
    const pipe = join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const first = decodeJoinToken(tokenFor('cart'), 'cart', 'default');
    const file = new JoinTokenFile(pipe, first);
    await file.refresh();
    expect([file.current, file.fault]).toEqual([first, null]);
  });

  it('is read no further than a token can be long', async () => {
    expect((await readTokenFile('/dev/zero')).length).toBeLessThan(2 * limits.tokenCharsMax);
  });
});
