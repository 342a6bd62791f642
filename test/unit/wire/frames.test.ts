import { describe, expect, it } from 'vitest';
import {
  type ControlFrame,
  decodeChangeSet,
  decodeControlFrame,
  encodeChangeSet,
  encodeControlFrame,
} from '../../../src/wire/control-frame.ts';
import { weft } from '../../../src/wire/generated/push.js';
import { decodeSidecarFrame, encodeSidecarFrame, type SidecarFrame } from '../../../src/wire/sidecar-frame.ts';
import { WireError } from '../../../src/wire/wire-error.ts';

const registration = {
  address: '127.0.0.1:80',
  zone: 'a',
  labels: { version: 'v2' },
  weight: 3,
  link: ['127.0.0.1:15008', '127.0.0.1:15009'],
};
const series = {
  direction: 'outbound',
  source: 'a',
  destination: 'b',
  route: 'default/r/0',
  statusClass: '2xx',
  requests: 2 ** 40,
  failures: 0,
  durationBuckets: [1, 2, 300, 4],
  attempts: 5,
  attemptsFailed: 2,
  bands: [
    { band: 9, loopEstimates: 1, partsUs: [0, 2 ** 40, 3] },
    { band: 0, loopEstimates: 0, partsUs: [] },
  ],
} as const;

const sidecarFrames: SidecarFrame[] = [
  {
    tag: 'hello',
    sidecar: 's1',
    service: 'cart',
    namespace: 'default',
    softwareVersion: '0.1.0',
    held: new Map([
      ['Service/default/cart', '3.x'],
      ['__proto__', 'kept as data'],
    ]),
    hosts: ['a', 'b.example.com'],
    registration,
    more: true,
    insecureLink: true,
    olderUwsCore: true,
  },
  {
    tag: 'hello',
    sidecar: '',
    service: '',
    namespace: '',
    softwareVersion: '',
    held: new Map(),
    hosts: [],
    registration: null,
    more: false,
    insecureLink: false,
    olderUwsCore: false,
  },
  { tag: 'subscribe', add: ['a'], remove: ['b', 'c'] },
  { tag: 'subscribe', add: [], remove: [] },
  { tag: 'ack', sequence: 2 ** 33 },
  { tag: 'nack', sequence: 1, reason: 'it does not compile: ä' },
  { tag: 'register', registration },
  { tag: 'register', registration: null },
  { tag: 'withdraw' },
  { tag: 'renew', trouble: '' },
  { tag: 'renew', trouble: 'app 127.0.0.1:1 accepts no connections' },
  { tag: 'report', parts: ['loop', 'wait', 'own'], series: [series] },
  { tag: 'report', parts: [], series: [] },
];

describe('frames of a sidecar', () => {
  it('refuses garbage, nothing, and values outside closed sets', () => {
    expect(() => decodeSidecarFrame(Uint8Array.of(0x0a, 0x7f, 1))).toThrow(WireError);
    expect(() => decodeSidecarFrame(new Uint8Array(0))).toThrow(/none that a sidecar sends/);
    const odd = { tag: 'report', parts: [], series: [{ ...series, direction: 'sideways' }] } as unknown as SidecarFrame;
    expect(() => decodeSidecarFrame(encodeSidecarFrame(odd))).toThrow(/sideways/);
    const status = { tag: 'report', parts: [], series: [{ ...series, statusClass: '9xx' }] } as unknown as SidecarFrame;
    expect(() => decodeSidecarFrame(encodeSidecarFrame(status))).toThrow(/9xx/);
  });

  it('never throws anything but a WireError, whatever the bytes', () => {
    let seed = 42;
    const next = () => {
      seed = (seed * 1103515245 + 12345) & 0x7fffffff;
      return seed >> 8;
    };
    for (let round = 0; round < 20_000; round++) {
      const bytes = Uint8Array.from({ length: next() % 40 }, () => next() & 0xff);
      try {
        decodeSidecarFrame(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(WireError);
      }
    }
  });

  it('are the same by the short way as by the generated code: acks of all lengths, renewals, and what only looks like them', () => {
    const sequences = [
      0,
      1,
      127,
      128,
      16_383,
      16_384,
      2 ** 21 - 1,
      2 ** 21,
      2 ** 28 - 1,
      2 ** 28,
      2 ** 32,
      2 ** 53 - 1,
    ];
    for (const sequence of sequences)
      expect(decodeSidecarFrame(encodeSidecarFrame({ tag: 'ack', sequence }))).toEqual({ tag: 'ack', sequence });
    const { SidecarFrame: message } = weft.v1;
    const alike = [
      ...[
        [0x1a, 0],
        [0x1a, 2, 8, 5, 0x3a, 0],
        [0x1a, 2, 8, 0x85],
        [0x1a, 4, 8, 0x85, 0x80, 0],
        [0x1a, 4, 8, 5, 8, 6],
      ],
      ...[
        [0x1a, 3, 8, 5, 6],
        [0x1a, 3, 0x10, 5, 6],
        [0x3a, 1, 0],
        [0x3a, 0, 0x1a, 2, 8, 5],
        [0x3a, 3, 0x0a, 1, 65],
      ],
    ];
    for (const bytes of alike.map((one) => Uint8Array.from(one))) {
      const answer = (decode: () => unknown) => {
        try {
          return decode();
        } catch {
          return 'refused';
        }
      };
      const generated = answer(() => {
        const frame = message.decode(bytes);
        if (frame.ack) return { tag: 'ack', sequence: Number(frame.ack.sequence ?? 0) };
        return frame.renew ? { tag: 'renew', trouble: frame.renew.trouble ?? '' } : 'refused';
      });
      expect(
        answer(() => decodeSidecarFrame(bytes)),
        `${bytes}`,
      ).toEqual(generated);
    }
  });

  for (const [index, frame] of sidecarFrames.entries()) {
    it(`come back as they went: ${frame.tag} (${index})`, () => {
      expect(decodeSidecarFrame(encodeSidecarFrame(frame))).toEqual(frame);
    });
  }
});

describe('frames of a control plane', () => {
  it('refuses garbage and nothing', () => {
    expect(() => decodeControlFrame(Uint8Array.of(0x0a, 0x7f, 1))).toThrow(WireError);
    expect(() => decodeControlFrame(new Uint8Array(0))).toThrow(/none that a control plane sends/);
    expect(() => decodeChangeSet(Uint8Array.of(0xff))).toThrow(WireError);
  });

  it('come back as they went', () => {
    const changeSet = encodeChangeSet({
      revision: 2 ** 35,
      changes: [Uint8Array.of(1, 2), new Uint8Array(0)],
      hosts: new Map([
        ['cart', 'cart.default'],
        ['nobody', ''],
      ]),
    });
    const frames: ControlFrame[] = [
      { tag: 'push', sequence: 2, base: 1, changeSet },
      { tag: 'push', sequence: 2, base: 1, changeSet, foundedService: true },
      { tag: 'push', sequence: 3, base: 2, changeSet, foundedService: true, similarService: 'cart' },
      { tag: 'refusal', code: 'too-many-sidecars', message: 'full' },
    ];
    for (const frame of frames) {
      const back = decodeControlFrame(encodeControlFrame(frame));
      if (back.tag === 'push') {
        expect({ ...back, changeSet: [...back.changeSet] }).toEqual({ ...frame, changeSet: [...changeSet] });
        const opened = decodeChangeSet(back.changeSet);
        expect(opened.revision).toBe(2 ** 35);
        expect(opened.changes.map((bytes) => [...bytes])).toEqual([[1, 2], []]);
        expect([...opened.hosts]).toEqual([
          ['cart', 'cart.default'],
          ['nobody', ''],
        ]);
      } else expect(back).toEqual(frame);
    }
  });
});
