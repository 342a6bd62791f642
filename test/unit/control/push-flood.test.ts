/** What a sidecar can make a control plane work and hold, and where that ends. */
import { describe, expect, it } from 'vitest';
import { LeaseClaims } from '../../../src/control/lease-claims.ts';
import { LeaseDraft } from '../../../src/control/lease-draft.ts';
import { PushSocket, type PushWire } from '../../../src/control/push-socket.ts';
import { limits } from '../../../src/model/limits.ts';
import type { SidecarLease } from '../../../src/model/registration.ts';
import { LimitedLog } from '../../../src/telemetry/limited-log.ts';
import { decodeControlFrame } from '../../../src/wire/control-frame.ts';
import { at, Plane, settle } from './fake-sidecar.ts';
import { ManualClock, silentLogger } from './memory-store.ts';

const hostsFrom = (from: number, count: number) => Array.from({ length: count }, (_, n) => `h${from + n}`);

describe('changes of a lease', () => {
  it('that change nothing write nothing', async () => {
    const plane = new Plane();
    const hosts = hostsFrom(0, 100);
    const sidecar = await plane.sidecar('s1', { hosts, registration: at('127.0.0.1:1') }).hello();
    const writes = plane.store.leaseWrites;
    for (let n = 0; n < 10; n++) {
      sidecar.say({ tag: 'subscribe', add: [], remove: [] });
      sidecar.say({ tag: 'subscribe', add: [], remove: ['unknown'] });
      sidecar.say({ tag: 'register', registration: at('127.0.0.1:1') });
      await settle();
    }
    expect(plane.store.leaseWrites).toBe(writes);
    expect(sidecar.refusal).toBeNull();
  });

  function draft(hosts: readonly string[]) {
    const clock = new ManualClock();
    const applied: { lease: SidecarLease; asked: readonly string[] }[] = [];
    const lease = { sidecar: 's1', service: 'app', namespace: 'default', subscriptions: hosts, registration: null };
    const of = new LeaseDraft({ ...lease, isLinkInsecure: false }, clock, (lease, asked) =>
      applied.push({ lease, asked }),
    );
    return { clock, applied, of };
  }

  it('of many hosts are gathered when they come fast, and none is lost', () => {
    const { clock, applied, of } = draft(hostsFrom(0, 9_000));
    for (const host of hostsFrom(9_000, 100)) of.subscribe([host, 'late'], []);
    of.subscribe([], ['h9050']);
    of.register(at('127.0.0.1:1'));
    // Twice 9,000 and some of 20,000.
    expect(applied.map(({ asked }) => asked)).toEqual([
      ['h9000', 'late'],
      ['h9001', 'late'],
    ]);
    clock.advance(1_000);
    expect(applied).toHaveLength(3);
    const last = applied[2]!;
    expect(last.lease.subscriptions).toHaveLength(9_100);
    expect(last.lease.subscriptions).not.toContain('h9050');
    expect(last.lease.registration).toEqual(at('127.0.0.1:1'));
    expect(last.asked).toEqual(expect.arrayContaining(['late', 'h9099']));
    expect(last.asked).not.toContain('h9050');
  });

  it('of few hosts are applied at once', () => {
    const { applied, of } = draft([]);
    for (const host of hostsFrom(0, 100)) of.subscribe([host], []);
    expect(applied).toHaveLength(100);
  });

  it('that wait are forgotten with the connection', () => {
    const { clock, applied, of } = draft(hostsFrom(0, 9_000));
    for (const host of hostsFrom(9_000, 10)) of.subscribe([host], []);
    of.close();
    clock.advance(1_000);
    expect(applied).toHaveLength(2);
  });
});

describe('what leases keep', () => {
  const name = (n: number, service: string) => ({ sidecar: `s${n}`, service, namespace: 'default' });

  it('is bounded for one sidecar, in its Hello and later', async () => {
    const plane = new Plane();
    const long = (from: number) => hostsFrom(from, 2_500).map((host) => host.padEnd(250, 'x'));
    const sidecar = await plane.sidecar('s1', { hosts: long(0) }).hello();
    expect(sidecar.refusal).toBeNull();
    sidecar.say({ tag: 'subscribe', add: long(2_500), remove: [] });
    expect(sidecar.refusal).toBe('lease-too-large');
    expect(plane.fleet.list()[0]?.subscriptions).toHaveLength(2_500);
    const other = plane.sidecar('s2', { hosts: long(0) });
    other.say({
      ...{ tag: 'hello', sidecar: 's2', service: 'app', namespace: 'default', softwareVersion: '', held: new Map() },
      ...{ hosts: long(2_500), registration: null, insecureLink: false, more: true },
    });
    expect((await other.hello()).refusal).toBe('lease-too-large');
  });

  it('is bounded for a Service, whatever others have, until leases end', () => {
    const claims = new LeaseClaims();
    for (let n = 0; n < 32; n++) expect(claims.claim(name(n, 'evil'), limits.leaseCharsMax)).toBeNull();
    expect(claims.claim(name(32, 'evil'), 1)?.message).toContain('all sidecars of evil.default');
    expect(claims.claim(name(33, 'app'), limits.leaseCharsMax)).toBeNull();
    expect(claims.claim(name(0, 'evil'), limits.leaseCharsMax)).toBeNull();
    claims.release('s1');
    expect(claims.claim(name(32, 'evil'), 1)).toBeNull();
  });

  it('is bounded for all', () => {
    const claims = new LeaseClaims();
    for (let n = 0; n < 128; n++) expect(claims.claim(name(n, `a${n >> 5}`), limits.leaseCharsMax)).toBeNull();
    expect(claims.claim(name(128, 'app'), 1)?.code).toBe('lease-too-large');
  });
});

describe('a Hello in parts', () => {
  const rest = { softwareVersion: '', held: new Map(), hosts: [], registration: null, insecureLink: false };
  const part = { tag: 'hello', sidecar: 's1', service: 'app', namespace: 'default', ...rest, more: true } as const;

  it('has a bound on their number', () => {
    const sidecar = new Plane().sidecar('s1');
    for (let n = 0; n < limits.helloPartsMax; n++) sidecar.say(part);
    expect(sidecar.refusal).toBeNull();
    sidecar.say(part);
    expect(sidecar.refusal).toBe('bad-hello');
  });

  it('has a bound on their bytes', () => {
    const sidecar = new Plane().sidecar('s1');
    const held = (n: number) => new Map([[`k${n}`, 'v'.repeat(1_000_000)]]);
    for (let n = 0; n < 16; n++) sidecar.say({ ...part, held: held(n) });
    expect(sidecar.refusal).toBeNull();
    sidecar.say({ ...part, held: held(16) });
    expect(sidecar.refusal).toBe('bad-hello');
  });

  it('has a bound on what they hold together', () => {
    const sidecar = new Plane().sidecar('s1');
    sidecar.say({ ...part, hosts: hostsFrom(0, 6_000) });
    sidecar.say({ ...part, hosts: hostsFrom(6_000, 6_000) });
    expect(sidecar.refusal).toBe('too-many-subscriptions');
  });
});

describe('frames of a connection', () => {
  function open() {
    const clock = new ManualClock();
    const seen = { frames: 0, sent: [] as Uint8Array[], ends: [] as number[], refused: [] as string[] };
    const wire: PushWire = {
      send: (frame) => {
        seen.sent.push(frame);
        return 'sent';
      },
      bufferedBytes: 0,
      end: (code) => void seen.ends.push(code),
      cut: () => {},
    };
    const handler = { hasJoined: true, receive: () => void seen.frames++, closed: () => {} };
    const options = {
      ...{ host: '127.0.0.1', port: 0, clock, log: new LimitedLog(clock, silentLogger) },
      onRefused: (code: string) => void seen.refused.push(code),
      admit: async () => ({ tag: 'admitted', identity: null }) as const,
      open: () => handler,
    };
    const socket = new PushSocket(wire, options, null);
    const say = (count: number) => {
      for (let n = 0; n < count; n++) socket.receive(Uint8Array.of(0x12, 0));
    };
    return { clock, seen, say };
  }

  it('are so many in a second', () => {
    const { clock, seen, say } = open();
    for (let second = 0; second < 3; second++) {
      say(limits.pushClientFramesPerSecondMax);
      clock.advance(1_000);
    }
    expect(seen).toMatchObject({ frames: 3 * limits.pushClientFramesPerSecondMax, ends: [] });
  });

  it('beyond that close it with a reason, and what still comes is not looked at', () => {
    const { clock, seen, say } = open();
    say(limits.pushClientFramesPerSecondMax + 10);
    clock.advance(1_000);
    say(10);
    expect(seen).toMatchObject({
      frames: limits.pushClientFramesPerSecondMax,
      ends: [1008],
      refused: ['too-many-frames'],
    });
    expect(seen.sent.map(decodeControlFrame)).toEqual([
      { tag: 'refusal', code: 'too-many-frames', message: 'a sidecar sends at most 2000 frames a second' },
    ]);
  });
});
