import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createLogger, LogFile } from '../../../src/telemetry/logger.ts';

describe('createLogger', () => {
  it('goes on without its file, and counts the lines that were lost', () => {
    const directory = mkdtempSync(join(tmpdir(), 'weft-log-'));
    const fd = openSync(join(directory, 'log'), 'w');
    const destination = new LogFile(fd);
    const logger = createLogger('sidecar', { destination });
    logger.info({}, 'before');
    closeSync(fd);
    // Reading what cannot be written to (the directory itself) fails as a closed pipe does.
    const unwritable = openSync(directory, 'r');
    const lost = new LogFile(unwritable);
    createLogger('sidecar', { destination: lost }).error({ service: 'cart' }, 'nobody hears this');
    closeSync(unwritable);
    expect(lost.dropped).toBe(1);
    expect(destination.dropped).toBe(0);
    expect(readFileSync(join(directory, 'log'), 'utf8')).toContain('"before"');
    rmSync(directory, { recursive: true });
  });

  it('writes one line of JSON with time, level in words and component', () => {
    const lines: string[] = [];
    const logger = createLogger('sidecar', { level: 'warn', destination: { write: (line) => lines.push(line) } });
    logger.info({}, 'below the level');
    logger.warn({ service: 'cart', address: '127.0.0.1:1' }, 'endpoint refused\nthe connection');
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^[^\n]+\n$/);
    expect(JSON.parse(lines[0]!)).toEqual({
      level: 'warn',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      component: 'sidecar',
      service: 'cart',
      address: '127.0.0.1:1',
      msg: 'endpoint refused\nthe connection',
    });
  });

  it('says nothing when silent', () => {
    const lines: string[] = [];
    createLogger('cli', { level: 'silent', destination: { write: (line) => lines.push(line) } }).fatal({}, 'end');
    expect(lines).toEqual([]);
  });
});
