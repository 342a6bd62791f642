/** What a sidecar can make a control plane work and hold, and where that ends. */
import { describe, expect, it } from 'vitest';
import { PushSocket, type PushWire } from '../../../src/control/push-socket.ts';
import { limits } from '../../../src/model/limits.ts';
import { LimitedLog } from '../../../src/telemetry/limited-log.ts';
import { decodeControlFrame } from '../../../src/wire/control-frame.ts';
import { at, Plane, settle } from './fake-sidecar.ts';
import { ManualClock, service, silentLogger } from './memory-store.ts';

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

  it('of many hosts are gathered when they come fast, and none is lost', async () => {
    const plane = new Plane();
    await plane.store.put(service('late'));
    const sidecar = await plane.sidecar('s1', { hosts: hostsFrom(0, 9_000) }).hello();
    sidecar.ack();
    for (const host of hostsFrom(9_000, 100)) sidecar.say({ tag: 'subscribe', add: [host, 'late'], remove: [] });
    sidecar.say({ tag: 'subscribe', add: [], remove: ['h9050'] });
    sidecar.say({ tag: 'register', registration: at('127.0.0.1:1') });
    const subscribed = () => plane.fleet.list()[0]?.subscriptions ?? [];
    // Twice 9,000 and some of 20,000.
    expect(subscribed()).toHaveLength(9_003);
    plane.clock.advance(1_000);
    await settle();
    expect(subscribed()).toHaveLength(9_100);
    expect(subscribed()).not.toContain('h9050');
    expect(plane.fleet.list()[0]?.registration).toEqual(at('127.0.0.1:1'));
    expect(sidecar.ack().hosts).toMatchObject({ h9000: '', late: 'late.default' });
    plane.clock.advance(limits.debounceMsMax);
    expect(sidecar.ack().hosts).toMatchObject({ h9099: '', late: 'late.default' });
    const [stored] = [...plane.store.leases()];
    expect(JSON.parse(stored?.value ?? '').subscriptions).toHaveLength(9_100);
  });

  it('that wait are forgotten with the connection', async () => {
    const plane = new Plane();
    const sidecar = await plane.sidecar('s1', { hosts: hostsFrom(0, 9_000) }).hello();
    for (const host of hostsFrom(9_000, 10)) sidecar.say({ tag: 'subscribe', add: [host], remove: [] });
    sidecar.drop();
    plane.clock.advance(1_000);
    expect(plane.fleet.list()[0]?.subscriptions).toHaveLength(9_002);
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
