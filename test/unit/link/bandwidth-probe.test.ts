import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { BandwidthProbe } from '../../../src/proxy/link/bandwidth-probe.ts';
import { linkCreditFirst } from '../../../src/proxy/link/frames.ts';

const pieceBytes = 16 * 1024;

/** One probe: what arrives until it is sent, bytes, and by how much the window grows when `duringBytes` arrive until its answer, `tookMs` later. */
function probeOnce(probe: BandwidthProbe, duringBytes: number, tookMs: number) {
  let beforeBytes = pieceBytes;
  while (!probe.receive(pieceBytes)) beforeBytes += pieceBytes;
  probe.sent(0);
  for (let at = 0; at < duringBytes; at += pieceBytes) expect(probe.receive(pieceBytes)).toBe(false);
  return { beforeBytes, grownBytes: probe.answered(tookMs) };
}

describe('a link whose window is never full', () => {
  it('is probed ever more seldom, down to once in 4 MiB: each probe wakes both sides', () => {
    const probe = new BandwidthProbe();
    const found = Array.from({ length: 10 }, () => probeOnce(probe, pieceBytes, 1));
    expect(found.map(({ beforeBytes }) => beforeBytes / 1024)).toEqual([
      64, 128, 256, 512, 1024, 2048, 4096, 4096, 4096, 4096,
    ]);
    expect(found.every(({ grownBytes }) => grownBytes === 0)).toBe(true);
  });

  it('counts only what arrived just before a probe to its windowful', () => {
    const probe = new BandwidthProbe();
    for (let i = 0; i < 10; i++) probeOnce(probe, 0, 1);
    expect(probeOnce(probe, pieceBytes, 0.01)).toEqual({ beforeBytes: 4096 * 1024, grownBytes: 0 });
  });
});

describe('a link whose window is full', () => {
  it('gets one twice as wide, as long as that makes it faster, up to the most that may be', () => {
    const probe = new BandwidthProbe();
    let tookMs = 64;
    while (probe.windowBytes < limits.linkWindowBytesMax) {
      const before = probe.windowBytes;
      const { beforeBytes, grownBytes } = probeOnce(probe, before, tookMs);
      const wanted = Math.min(limits.linkWindowBytesMax, 2 * (before + 64 * 1024));
      expect([beforeBytes, grownBytes]).toEqual([64 * 1024, wanted - before]);
      tookMs /= 2;
    }
    expect(probe.receive(100 * 1024 * 1024)).toBe(false);
  });

  it('keeps its window when no more than before goes through it, and is probed as often', () => {
    const probe = new BandwidthProbe();
    probeOnce(probe, linkCreditFirst, 10);
    const { windowBytes } = probe;
    for (let i = 0; i < 10; i++)
      expect(probeOnce(probe, windowBytes, 40)).toEqual({ beforeBytes: 64 * 1024, grownBytes: 0 });
    expect(probe.windowBytes).toBe(windowBytes);
  });

  it('is found out by the next probe, when it has not been full for long', () => {
    const probe = new BandwidthProbe();
    for (let i = 0; i < 10; i++) probeOnce(probe, 0, 1);
    expect(probeOnce(probe, linkCreditFirst, 1).grownBytes).toBeGreaterThanOrEqual(linkCreditFirst);
    expect(probeOnce(probe, 0, 1).beforeBytes).toBe(64 * 1024);
  });
});
