/** A network that can be spoilt: TCP through this process, with a delay each way, held still like a black hole, reset, or cut. */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Of one direction of one connection; beyond it the sender is not read, as if the line were full. */
const underWayBytesMax = 4 * 1024 * 1024;

export class TcpProxy {
  /** `HOST:PORT`: what stands in for the target. */
  address = '';
  /** Of bytes that arrive from now on: from whoever connected, ms. */
  delayToTargetMs = 0;
  /** Of bytes that arrive from now on: back to whoever connected, ms. */
  delayBackMs = 0;
  /** Told of what arrives, before it is passed on: a black hole that it opens has this too. */
  onBytes: ((bytes: Buffer, way: 'to-target' | 'back') => void) | null = null;
  private readonly server: Server;
  private readonly lines = new Set<Line>();
  private isHole = false;

  private constructor(private readonly target: { readonly host: string; readonly port: number }) {
    // Half-open, so that an end goes the same way, and as slowly, as what was sent before it.
    this.server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
      const line = new Line(this, client, () => this.lines.delete(line));
      this.lines.add(line);
      if (!this.isHole) line.begin(this.target);
    });
  }

  /** Listens on a free port of this machine, in front of `target` (HOST:PORT). */
  static async before(target: string): Promise<TcpProxy> {
    const colon = target.lastIndexOf(':');
    const proxy = new TcpProxy({ host: target.slice(0, colon), port: Number(target.slice(colon + 1)) });
    await new Promise<void>((resolve, reject) => {
      proxy.server.once('error', reject);
      proxy.server.listen(0, '127.0.0.1', resolve);
    });
    proxy.address = `127.0.0.1:${(proxy.server.address() as AddressInfo).port}`;
    return proxy;
  }

  get connections(): number {
    return this.lines.size;
  }

  /** Nothing comes through any more, not even an end; who connects is accepted (by the kernel) and hears nothing. */
  blackHole(): void {
    this.isHole = true;
    for (const line of this.lines) line.hold();
  }

  /** What was held comes through: as TCP's own repetitions would bring it. */
  heal(): void {
    this.isHole = false;
    for (const line of this.lines) line.release(this.target);
  }

  /** RST to both sides of every connection. */
  reset(): void {
    for (const line of [...this.lines]) line.reset();
  }

  /** FIN to both sides of every connection, whatever was under way. */
  cut(): void {
    for (const line of [...this.lines]) line.cut();
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.server.close(() => resolve());
      this.reset();
    });
  }
}

/** One connection: two directions and what is under way in them. */
class Line {
  private far: Socket | null = null;
  private directions: readonly Direction[] = [];
  private isOver = false;

  constructor(
    private readonly proxy: TcpProxy,
    private readonly client: Socket,
    private readonly onOver: () => void,
  ) {
    client.pause();
    client.on('error', () => this.reset());
    client.once('close', () => this.gone());
  }

  begin(target: { readonly host: string; readonly port: number }): void {
    if (this.isOver || this.far !== null) return;
    const far = connect({ ...target, allowHalfOpen: true, noDelay: true });
    this.far = far;
    far.on('error', () => this.reset());
    far.once('close', () => this.gone());
    this.directions = [
      new Direction(this.client, far, {
        delayMs: () => this.proxy.delayToTargetMs,
        onBytes: (bytes) => this.proxy.onBytes?.(bytes, 'to-target'),
      }),
      new Direction(far, this.client, {
        delayMs: () => this.proxy.delayBackMs,
        onBytes: (bytes) => this.proxy.onBytes?.(bytes, 'back'),
      }),
    ];
  }

  hold(): void {
    for (const direction of this.directions) direction.hold();
  }

  release(target: { readonly host: string; readonly port: number }): void {
    this.begin(target);
    for (const direction of this.directions) direction.release();
  }

  reset(): void {
    this.client.resetAndDestroy();
    this.far?.resetAndDestroy();
    this.gone();
  }

  cut(): void {
    for (const socket of [this.client, this.far]) {
      socket?.end();
      socket?.destroySoon();
    }
    this.gone();
  }

  private gone(): void {
    if (this.isOver || (this.far !== null && !(this.far.destroyed && this.client.destroyed))) return;
    this.isOver = true;
    for (const direction of this.directions) direction.drop();
    this.onOver();
  }
}

interface Parcel {
  /** Null: the end. */
  readonly bytes: Buffer | null;
  readonly dueAtMs: number;
}

class Direction {
  private underWay: Parcel[] = [];
  private underWayBytes = 0;
  private timer: NodeJS.Timeout | null = null;
  private isHeld = false;

  constructor(
    private readonly from: Socket,
    private readonly to: Socket,
    private readonly options: { readonly delayMs: () => number; readonly onBytes: (bytes: Buffer) => void },
  ) {
    from.on('data', (bytes: Buffer) => {
      options.onBytes(bytes);
      this.take(bytes);
    });
    from.once('end', () => this.take(null));
    to.on('drain', () => this.deliver());
    from.resume();
  }

  hold(): void {
    this.isHeld = true;
    this.from.pause();
  }

  release(): void {
    this.isHeld = false;
    this.deliver();
  }

  drop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.underWay = [];
    this.underWayBytes = 0;
  }

  private take(bytes: Buffer | null): void {
    this.underWay.push({ bytes, dueAtMs: performance.now() + this.options.delayMs() });
    this.underWayBytes += bytes?.length ?? 0;
    this.deliver();
  }

  /** Everything that is due and that the other side takes. */
  private deliver(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    while (!this.isHeld && this.underWay.length > 0 && !this.to.writableNeedDrain && !this.to.destroyed) {
      const { bytes, dueAtMs } = this.underWay[0]!;
      const waitMs = dueAtMs - performance.now();
      if (waitMs > 0) {
        this.timer = setTimeout(() => this.deliver(), waitMs);
        break;
      }
      this.underWay.shift();
      if (bytes === null) {
        this.to.end();
        continue;
      }
      this.underWayBytes -= bytes.length;
      this.to.write(bytes);
    }
    if (this.isHeld || this.underWayBytes > underWayBytesMax) this.from.pause();
    else this.from.resume();
  }
}
