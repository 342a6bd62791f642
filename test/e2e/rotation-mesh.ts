/** Two sidecars that call each other under load while their certificates, and the roots behind them, are replaced. */
import { expect } from 'vitest';
import { type Bench, type Running, residentMiB, until } from './harness.ts';
import { beside, IdentityMesh, linesOf, linkFailures, whenServed } from './identity-mesh.ts';
import { LinkConnections } from './link-connections.ts';
import { type SteadyLoad, steadyApp, steadyLoad } from './steady-load.ts';

const lookEveryMs = 500;

interface Way {
  readonly from: Running;
  readonly to: Running;
  readonly connections: LinkConnections;
  readonly load: SteadyLoad;
  /** Link failures of both ends before the load. */
  readonly failuresBefore: readonly unknown[];
}

/** What a way has been through. */
export interface WayReport {
  readonly sent: number;
  readonly slowestMs: number;
  readonly handovers: number;
  readonly connectionsMost: number;
  readonly renewals: number;
}

interface Root {
  readonly sha256: string;
  readonly isSigning: boolean;
  readonly retiresAt: string | null;
}

export class RotationMesh {
  private readonly startedAtMs = performance.now();
  private readonly residentBefore: readonly number[];

  private constructor(
    private readonly mesh: IdentityMesh,
    private readonly ways: readonly Way[],
  ) {
    this.residentBefore = this.resident();
  }

  /** Load runs in both directions: together eight workers GET and four POST, and two are always in an answer of two seconds. */
  static async start(bench: Bench, certificateTtl: string): Promise<RotationMesh> {
    const mesh = await IdentityMesh.start(bench, '--certificate-ttl', certificateTtl);
    const [web, cart] = await Promise.all(
      ['web', 'cart'].map(async (name) => mesh.sidecar(name, ...beside(await bench.app(steadyApp)))),
    );
    await whenServed(web!.ready.outbound, 'cart');
    await whenServed(cart!.ready.outbound, 'web');
    const way = async (from: Running, to: Running, host: string): Promise<Way> => {
      const connections = new LinkConnections(to.ready.link);
      bench.onClose(() => connections.close());
      const failuresBefore = await failuresOf(from, to);
      const load = steadyLoad(from.ready.outbound, host, { gets: 4, posts: 2 });
      return { from, to, connections, load, failuresBefore };
    };
    return new RotationMesh(mesh, [await way(web!, cart!, 'cart'), await way(cart!, web!, 'web')]);
  }

  /** Resolves so long after the start; earlier, when a request has failed. */
  runFor(ms: number): Promise<void> {
    return this.runUntil(`${ms} ms have passed`, async () => performance.now() - this.startedAtMs >= ms, ms + 10_000);
  }

  /** Resolves once `isOver`; earlier, when a request has failed. */
  async runUntil(what: string, isOver: () => Promise<boolean>, timeoutMs: number): Promise<void> {
    let lookedAtMs = Number.NEGATIVE_INFINITY;
    const isOverNow = async () => {
      // A look may be a command, which costs as much as a hundred requests.
      if (performance.now() - lookedAtMs < lookEveryMs) return false;
      lookedAtMs = performance.now();
      return isOver();
    };
    await until(what, async () => this.hasFailed || (await isOverNow()), timeoutMs);
  }

  private get hasFailed(): boolean {
    return this.ways.some(({ load }) => load.failed.length > 0);
  }

  async rotateRoot(): Promise<void> {
    await this.mesh.command(['ca', 'rotate']);
  }

  async roots(): Promise<readonly Root[]> {
    return (JSON.parse(await this.mesh.command(['ca', 'status', '-o', 'json'])) as { roots: readonly Root[] }).roots;
  }

  /** Ends the load, and looks at what must hold whatever was rotated: no request failed, no link was refused or lost, none piled up. */
  async stop(): Promise<readonly WayReport[]> {
    const results = await Promise.all(this.ways.map(({ load }) => load.stop()));
    for (const { from } of this.ways) {
      const logs = results.every(({ failed }) => failed.length === 0) ? '' : from.logs();
      expect(
        results.map(({ failed }) => failed),
        logs,
      ).toEqual([[], []]);
    }
    for (const { from, to, failuresBefore } of this.ways) expect(await failuresOf(from, to)).toEqual(failuresBefore);
    const reports = this.ways.map(({ from, connections }, index) => ({
      sent: results[index]!.sent,
      slowestMs: Math.round(results[index]!.slowestMs),
      handovers: connections.seen.size - 1,
      connectionsMost: connections.most,
      renewals: linesOf(from, 'a new certificate is in force').length - 1,
    }));
    console.info(JSON.stringify({ reports, residentMiB: [this.residentBefore, this.resident()] }));
    // Old ones stay for their slow answers, the more of them the busier the machine is; in the end there is the one in use.
    for (const { connections } of this.ways)
      expect(connections.most, JSON.stringify([...connections.seen.values()])).toBeLessThanOrEqual(6);
    for (const { connections } of this.ways)
      await until('the links of before have gone', () => connections.current <= 1);
    return reports;
  }

  private resident(): readonly number[] {
    return this.ways.map(({ from }) => Math.round(residentMiB(from.process.pid!)));
  }
}

const failuresOf = (from: Running, to: Running) =>
  Promise.all([linkFailures(from, 'outbound'), linkFailures(to, 'inbound')]);
