import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type AccessEntry, AccessLog, fileDescriptorWriter, writeInTurn } from '../../../src/telemetry/access-log.ts';
import { partIndex, parts } from '../../../src/telemetry/recorder.ts';
import { finishedRequest } from '../../fixtures/finished-request.ts';

/** As a proxy hands it over: with more than is to be logged. */
const entry = (changes: Partial<AccessEntry> = {}): AccessEntry =>
  finishedRequest({ totalMs: 1.23456, partsMs: new Float64Array(parts.length), ...changes });

/** A log whose loop turns and writes end when the test says so. */
function makeLog(bufferBytesMax: number) {
  const flushes: (() => void)[] = [];
  const writes: { text: string; done: (error: Error | null) => void }[] = [];
  const log = new AccessLog({
    bufferBytesMax,
    write: (bytes, done) => writes.push({ text: bytes.toString(), done }),
    atEndOfTurn: (flush) => flushes.push(flush),
  });
  const endTurn = () => {
    for (const flush of flushes.splice(0)) flush();
  };
  return { log, writes, endTurn };
}

describe('AccessLog', () => {
  it('drops what does not fit while a write is under way, and says how much', () => {
    const { log, writes, endTurn } = makeLog(1_000);
    log.log(entry());
    endTurn();
    for (let i = 0; i < 100; i++) log.log(entry());
    endTurn();
    expect(writes).toHaveLength(1);
    expect(log.dropped).toBeGreaterThan(95);
    writes[0]!.done(null);
    endTurn();
    const lines = writes[1]!.text.trimEnd().split('\n');
    expect(JSON.parse(lines.at(-1)!)).toEqual({ accessLogLinesDropped: log.dropped });
    expect(lines.length - 1 + log.dropped).toBe(100);
    writes[1]!.done(null);
    log.log(entry());
    endTurn();
    expect(writes[2]!.text).not.toContain('accessLogLinesDropped');
  });

  it('counts the lines of a failed write, and goes on', () => {
    const { log, writes, endTurn } = makeLog(10_000);
    log.log(entry());
    log.log(entry());
    endTurn();
    writes[0]!.done(new Error('no space left'));
    expect(log.dropped).toBe(2);
    log.log(entry());
    endTurn();
    expect(JSON.parse(writes[1]!.text.split('\n')[1]!)).toEqual({ accessLogLinesDropped: 2 });
  });

  it('writes the lines of a turn at once, in order', () => {
    const { log, writes, endTurn } = makeLog(10_000);
    for (const path of ['/a', '/b', '/c']) log.log(entry({ path }));
    expect(writes).toHaveLength(0);
    endTurn();
    expect(writes).toHaveLength(1);
    expect(writes[0]!.text.match(/"path":"\/."/g)).toEqual(['"path":"/a"', '"path":"/b"', '"path":"/c"']);
  });

  it('writes a line as it is documented', () => {
    const { log, writes, endTurn } = makeLog(10_000);
    const partsMs = new Float64Array(parts.length);
    partsMs[partIndex.wait] = 1.1;
    partsMs[partIndex.own] = 0.00001;
    log.log(entry({ partsMs, failure: 'answer-cut', path: '/"quoted"\n' }));
    endTurn();
    expect(writes[0]!.text).toBe(
      '{"time":"2026-01-02T03:04:05.006Z","direction":"outbound","method":"GET","host":"cart","path":"/\\"quoted\\"\\n",' +
        '"source":"web.default","sourceAddress":"127.0.0.1","destination":"cart.default","route":"default/cart/0","endpoint":"127.0.0.1:9001",' +
        '"attempts":1,"status":200,"answerBytes":12,"traceId":"4bf92f3577b34da6a3ce929d0e0e4736",' +
        '"failure":"answer-cut","totalMs":1.235,"partsMs":{"wait":1.1}}\n',
    );
  });

  it('has what the far sidecar said of its own hop, where there is one', () => {
    const { log, writes, endTurn } = makeLog(10_000);
    const partsMs = new Float64Array(parts.length);
    partsMs[partIndex.wait] = 0.75;
    log.log(entry({ far: { partsMs, totalMs: 0.9876 } }));
    endTurn();
    expect(JSON.parse(writes[0]!.text).far).toEqual({ totalMs: 0.988, partsMs: { wait: 0.75 } });
  });

  it('writes to a file, and reports a file that cannot be written', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'weft-access-'));
    const fd = openSync(join(directory, 'log'), 'w');
    const unwritable = openSync(directory, 'r');
    const attempt = (to: number) =>
      new Promise<Error | null>((resolve) => fileDescriptorWriter(to)(Buffer.from('line\n'), resolve));
    expect(await attempt(unwritable)).toBeInstanceOf(Error);
    expect(await attempt(fd)).toBeNull();
    expect(readFileSync(join(directory, 'log'), 'utf8')).toBe('line\n');
    closeSync(fd);
    closeSync(unwritable);
    rmSync(directory, { recursive: true });
  });
});

describe('several logs that write to one place', () => {
  it('write one after the other, each with its own outcome', () => {
    const writes: { text: string; done: (error: Error | null) => void }[] = [];
    const write = writeInTurn((bytes, done) => writes.push({ text: bytes.toString(), done }));
    const outcomes: string[] = [];
    const put = (text: string) =>
      write(Buffer.from(text), (error) => outcomes.push(`${text} ${error?.message ?? 'ok'}`));
    put('a');
    put('b');
    put('c');
    expect(writes.map(({ text }) => text)).toEqual(['a']);
    writes[0]!.done(new Error('full'));
    expect(writes.map(({ text }) => text)).toEqual(['a', 'b']);
    writes[1]!.done(null);
    writes[2]!.done(null);
    put('d');
    expect(writes.map(({ text }) => text)).toEqual(['a', 'b', 'c', 'd']);
    expect(outcomes).toEqual(['a full', 'b ok', 'c ok']);
  });
});
