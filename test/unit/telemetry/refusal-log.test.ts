import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { AccessLog } from '../../../src/telemetry/access-log.ts';
import { pathRedaction } from '../../../src/telemetry/path-redaction.ts';
import { type RefusalFacts, RefusalLog } from '../../../src/telemetry/refusal-log.ts';

const facts: RefusalFacts = {
  status: 400,
  failure: 'bad-request',
  reason: 'The request is not valid HTTP.',
  detail: 'There is no Host.',
  requestId: '4bf92f3577b34da6a3ce929d0e0e4736',
  sourceAddress: '10.0.0.9',
  source: '',
  request: null,
};

function makeLog(redacted: readonly string[] = []) {
  const clock = { nowMs: 5_000 };
  const lines: Record<string, unknown>[] = [];
  const accessLog = new AccessLog({
    write: (bytes, done) => {
      for (const line of bytes.toString().trimEnd().split('\n')) lines.push(JSON.parse(line));
      done(null);
    },
    atEndOfTurn: (flush) => flush(),
    redactPath: pathRedaction(redacted),
  });
  const log = new RefusalLog({
    accessLog,
    direction: 'inbound',
    listener: 'inbound',
    nowMs: () => clock.nowMs,
    wallMs: () => Date.UTC(2026, 0, 2, 3, 4, 5, 6),
  });
  return { clock, lines, log };
}

describe('the log of refused heads', () => {
  it('has so many lines a second, and then says how many were left out', () => {
    const { clock, lines, log } = makeLog();
    for (let i = 0; i < 100_000; i++) log.log(facts);
    clock.nowMs += 999;
    log.log(facts);
    expect(lines).toHaveLength(limits.refusalLinesPerSecondMax);
    expect(lines.filter((line) => 'refusalsLeftOut' in line)).toEqual([]);
    clock.nowMs += 1;
    for (let i = 0; i < 2; i++) log.log(facts);
    expect(lines.slice(limits.refusalLinesPerSecondMax).map((line) => line.refusalsLeftOut)).toEqual([
      100_001 - limits.refusalLinesPerSecondMax,
      undefined,
    ]);
  });

  it('has no path where paths are redacted: nobody has judged it', () => {
    const { lines, log } = makeLog(['/reset/*']);
    log.log({ ...facts, request: { method: 'GET', path: '/a/../reset/t0ken' } });
    expect([lines[0]!.method, 'path' in lines[0]!]).toEqual(['GET', false]);
  });

  it('has lines of bounded length', () => {
    const { lines, log } = makeLog();
    log.log({ ...facts, detail: 'x'.repeat(65_536) });
    expect(lines[0]!.detail).toHaveLength(limits.refusalDetailCharsMax);
  });

  it('has lines like those of requests, without what is not known', () => {
    const { lines, log } = makeLog();
    log.log({ ...facts, source: 'web.default' });
    log.log({ ...facts, requestId: '', sourceAddress: '', request: { method: 'GET', host: 'a/b"', path: '/\r\n' } });
    const always = {
      time: '2026-01-02T03:04:05.006Z',
      direction: 'inbound',
      listener: 'inbound',
      status: 400,
      failure: 'bad-request',
      reason: 'The request is not valid HTTP.',
      detail: 'There is no Host.',
    };
    expect(lines).toEqual([
      { ...always, source: 'web.default', sourceAddress: '10.0.0.9', traceId: '4bf92f3577b34da6a3ce929d0e0e4736' },
      { ...always, method: 'GET', host: 'a/b"', path: '/\r\n' },
    ]);
  });
});
