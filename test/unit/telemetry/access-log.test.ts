import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type AccessEntry,
  AccessLog,
  type AccessLogPolicy,
  everyRequest,
  fileDescriptorWriter,
  writeInTurn,
} from '../../../src/telemetry/access-log.ts';
import { pathRedaction } from '../../../src/telemetry/path-redaction.ts';
import { partIndex, parts } from '../../../src/telemetry/recorder.ts';
import { finishedRequest } from '../../fixtures/finished-request.ts';

/** As a proxy hands it over: with more than is to be logged. */
const entry = (changes: Partial<AccessEntry> = {}): AccessEntry =>
  finishedRequest({ totalMs: 1.23456, partsMs: new Float64Array(parts.length), ...changes });

/** A log whose loop turns and writes end when the test says so. */
function makeLog(bufferBytesMax: number, changes: Partial<AccessLogPolicy> = {}, redacted: readonly string[] = []) {
  const flushes: (() => void)[] = [];
  const writes: { text: string; done: (error: Error | null) => void }[] = [];
  const log = new AccessLog({
    bufferBytesMax,
    write: (bytes, done) => writes.push({ text: bytes.toString(), done }),
    atEndOfTurn: (flush) => flushes.push(flush),
    policy: { ...everyRequest, ...changes },
    redactPath: pathRedaction(redacted),
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
    // What could not be said is said again, and is no line that was lost.
    writes[1]!.done(new Error('no space left'));
    expect(log.dropped).toBe(3);
    log.log(entry());
    endTurn();
    expect(JSON.parse(writes[2]!.text.split('\n')[1]!)).toEqual({ accessLogLinesDropped: 3 });
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
    const reason = 'The endpoint closed the connection in the middle of its answer.';
    log.log(
      entry({
        partsMs,
        failure: 'answer-cut',
        reason,
        path: '/"quoted"\n',
        headers: [{ name: 'Cookie', value: 'secret' }],
      }),
    );
    endTurn();
    expect(writes[0]!.text).toBe(
      '{"time":"2026-01-02T03:04:05.006Z","direction":"outbound","method":"GET","host":"cart","path":"/\\"quoted\\"\\n",' +
        '"source":"web.default","sourceAddress":"127.0.0.1","destination":"cart.default","route":"default/cart/0","endpoint":"127.0.0.1:9001",' +
        '"attempts":1,"status":200,"answerBytes":12,"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7",' +
        '"failure":"answer-cut","reason":"The endpoint closed the connection in the middle of its answer.","totalMs":1.235,"partsMs":{"wait":1.1}}\n',
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

  it('waits for a slow reader of a pipe that does not block, and tears no line', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'weft-access-'));
    const path = join(directory, 'pipe');
    execFileSync('mkfifo', [path]);
    const [reader, writer] = [constants.O_RDONLY, constants.O_RDWR].map((how) =>
      openSync(path, how | constants.O_NONBLOCK),
    ) as [number, number];
    const lines = Array.from({ length: 20_000 }, (_, i) => `line ${i}\n`).join('');
    const written = new Promise<Error | null>((resolve) => fileDescriptorWriter(writer)(Buffer.from(lines), resolve));
    const piece = Buffer.alloc(16_384);
    let read = '';
    while (read.length < lines.length) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      try {
        read += piece.toString('latin1', 0, readSync(reader, piece));
      } catch (error) {
        expect((error as NodeJS.ErrnoException).code).toBe('EAGAIN');
      }
    }
    expect(await written).toBeNull();
    expect(read).toBe(lines);
    closeSync(reader);
    closeSync(writer);
    rmSync(directory, { recursive: true });
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

describe('which requests have a line', () => {
  /** Lines of one turn, as they are read. */
  function linesOf(
    entries: readonly AccessEntry[],
    changes: Partial<AccessLogPolicy>,
    redacted: readonly string[] = [],
  ) {
    const { log, writes, endTurn } = makeLog(10_000_000, changes, redacted);
    for (const each of entries) log.log(each);
    endTurn();
    const lines = writes.flatMap(({ text }) => text.trimEnd().split('\n'));
    return { log, lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
  }
  const traces = Array.from({ length: 1_000 }, (_, i) =>
    (Math.floor((i / 1_000) * 2 ** 32) >>> 0).toString(16).padStart(32, '0'),
  );

  it('is a share by trace id, the same at every hop', () => {
    const logged = (sampleRatio: number) =>
      linesOf(
        traces.map((traceId) => entry({ traceId })),
        { sampleRatio },
      ).lines;
    expect([logged(0).length, logged(0.25).length, logged(1).length]).toEqual([0, 250, 1_000]);
    expect(logged(0.25)).toEqual(logged(0.25));
    expect([logged(0.25)[0]!.sampleRatio, logged(1)[0]!.sampleRatio]).toEqual([0.25, undefined]);
  });

  it('is each that failed or was slow, whatever the share', () => {
    const { lines } = linesOf(
      [
        entry({ path: '/well' }),
        entry({ path: '/client', status: 404 }),
        entry({ path: '/failed', status: 404, failure: 'no-route' }),
        entry({ path: '/far', farFailure: 'pool-full' }),
        entry({ path: '/error', status: 500 }),
        entry({ path: '/slow', totalMs: 20 }),
      ],
      { sampleRatio: 0, slowMs: 20 },
    );
    expect(lines.map(({ path }) => path)).toEqual(['/failed', '/far', '/error', '/slow']);
    expect(lines.map(({ sampleRatio }) => sampleRatio)).toEqual(Array(4).fill(undefined));
  });

  it('is at most so many a second, and the next line says how many were left out', () => {
    const atMs = 1_000_000;
    const { log, lines } = linesOf(
      [0, 1, 2, 3, 4, 1_000].map((afterMs) => entry({ atMs: atMs + afterMs, path: `/${afterMs}` })),
      { linesPerSecondMax: 2 },
    );
    expect(lines.map(({ path, linesLeftOut }) => [path, linesLeftOut])).toEqual([
      ['/0', undefined],
      ['/1', undefined],
      ['/1000', 3],
    ]);
    expect([log.leftOut, log.dropped]).toEqual([3, 0]);
  });

  it('goes on when the wall clock is set back', () => {
    const { lines } = linesOf([entry({ atMs: 9_000_000 }), entry({ atMs: 1_000 }), entry({ atMs: 1_001 })], {
      linesPerSecondMax: 1,
    });
    expect(lines).toHaveLength(2);
  });

  it('has the fields that are named, in any case, cut, and no other', () => {
    const headers = [
      { name: 'User-Agent', value: 'curl' },
      { name: 'Authorization', value: 'secret' },
      { name: 'X-Tenant', value: 'a' },
      { name: 'x-tenant', value: 'b' },
      { name: 'x-long', value: 'l'.repeat(999) },
    ];
    const { lines } = linesOf([entry({ headers })], { headers: ['user-agent', 'x-tenant', 'x-long', 'absent'] });
    expect(lines[0]!.headers).toEqual({ 'user-agent': 'curl', 'x-tenant': 'a, b', 'x-long': 'l'.repeat(256) });
  });

  it('has no secret of a path, nor of what is said of it', () => {
    const detail = 'GET /reset/t0ken of cart.default';
    const { lines, log } = linesOf([entry({ path: '/reset/t0ken', failure: 'no-route', detail })], {}, ['/reset/*']);
    expect([lines[0]!.path, lines[0]!.detail]).toEqual(['/reset/*', 'GET /reset/* of cart.default']);
    expect(log.isRedacted).toBe(true);
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
