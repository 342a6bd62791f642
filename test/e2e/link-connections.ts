/** How many links there are to a port, and how many there have been: out of the kernel's list of connections (Linux), so that nobody's own count is believed. */
import { readFileSync } from 'node:fs';

const established = '01';
const lookEveryMs = 100;

export class LinkConnections {
  /** Different ones so far: when each was seen first and last, ms since the first look. */
  readonly seen = new Map<string, { readonly firstMs: number; lastMs: number }>();
  current = 0;
  /** Most at a time. */
  most = 0;
  private readonly startedAtMs = performance.now();
  private readonly portHex: string;
  private readonly timer: NodeJS.Timeout;

  /** `address`: HOST:PORT of a listener on IPv4. */
  constructor(address: string) {
    this.portHex = Number(address.split(':')[1]).toString(16).toUpperCase().padStart(4, '0');
    this.look();
    this.timer = setInterval(() => this.look(), lookEveryMs);
  }

  close(): void {
    clearInterval(this.timer);
  }

  private look(): void {
    const rows = readFileSync('/proc/net/tcp', 'latin1')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/));
    const peers = rows
      .filter(([, local = '', , state]) => local.endsWith(`:${this.portHex}`) && state === established)
      .map(([, , remote]) => remote!);
    // A row may come twice when connections come and go while the list is read.
    const different = new Set(peers);
    this.current = different.size;
    this.most = Math.max(this.most, this.current);
    const nowMs = Math.round(performance.now() - this.startedAtMs);
    for (const peer of different) {
      const span = this.seen.get(peer);
      if (span === undefined) this.seen.set(peer, { firstMs: nowMs, lastMs: nowMs });
      else span.lastMs = nowMs;
    }
  }
}
