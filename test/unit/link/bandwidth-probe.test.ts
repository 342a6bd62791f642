import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { BandwidthProbe } from '../../../src/proxy/link/bandwidth-probe.ts';
import { linkCreditFirst } from '../../../src/proxy/link/frames.ts';

const pieceBytes = 16 * 1024;

/** A clock, and a link that brings pieces as fast as the test says. */
class Link {
  nowMs = 0;
  readonly probe = new BandwidthProbe();

  /** Pieces until a probe begins, one each `everyMs`. Answers how many bytes they had. */
  untilProbe(everyMs = 0): number {
    let bytes = 0;
    for (;;) {
      this.nowMs += everyMs;
      bytes += pieceBytes;
      if (this.probe.receive(pieceBytes) && this.probe.begin(this.nowMs)) return bytes;
    }
  }

  /** The answer of a probe after `tookMs`, in which so much has arrived. Answers by how much the window has grown. */
  answered(duringBytes: number, tookMs: number): number {
    for (let at = 0; at < duringBytes; at += pieceBytes) expect(this.probe.receive(pieceBytes)).toBe(false);
    this.nowMs += tookMs;
    return this.probe.answered(this.nowMs);
  }
}

describe('a link whose window is never full', () => {
  it('is probed at most every 5 ms: each probe wakes both sides', () => {
    const link = new Link();
    expect(link.untilProbe(0.01)).toBe(64 * 1024);
    expect(link.answered(pieceBytes, 0.1)).toBe(0);
    const answeredAtMs = link.nowMs;
    link.untilProbe(0.01);
    expect(link.nowMs - answeredAtMs).toBeCloseTo(5, 1);
  });

  it('counts only what arrived just before a probe to its windowful', () => {
    const link = new Link();
    link.untilProbe();
    link.answered(0, 0.1);
    // 8 MiB until the next one may be sent.
    link.untilProbe(0.01);
    expect(link.answered(pieceBytes, 0.01)).toBe(0);
  });

  it('is found to be full by the next probe that finds it so, whatever came before', () => {
    const link = new Link();
    for (let i = 0; i < 50; i++) {
      link.untilProbe(1);
      link.answered(0, 40);
    }
    // Pieces come over some milliseconds; a windowful follows.
    expect(link.untilProbe(1)).toBeLessThanOrEqual(96 * 1024);
    expect(link.answered(linkCreditFirst, 40)).toBeGreaterThanOrEqual(linkCreditFirst);
  });
});

describe('a link whose window is full', () => {
  it('gets one twice as wide, as long as that makes it faster, up to the most that may be', () => {
    const link = new Link();
    let tookMs = 64;
    while (link.probe.windowBytes < limits.linkWindowBytesMax) {
      const before = link.probe.windowBytes;
      const wanted = Math.min(limits.linkWindowBytesMax, 2 * (before + 64 * 1024));
      expect(link.untilProbe()).toBe(64 * 1024);
      expect(link.answered(before, tookMs)).toBe(wanted - before);
      tookMs /= 2;
    }
    expect(link.probe.receive(100 * 1024 * 1024)).toBe(false);
  });

  it('keeps its window when no more than before goes through it, and is probed as often', () => {
    const link = new Link();
    link.untilProbe();
    link.answered(linkCreditFirst, 10);
    const { windowBytes } = link.probe;
    for (let i = 0; i < 10; i++) {
      expect(link.untilProbe()).toBe(64 * 1024);
      expect(link.answered(windowBytes, 40)).toBe(0);
    }
    expect(link.probe.windowBytes).toBe(windowBytes);
  });
});
