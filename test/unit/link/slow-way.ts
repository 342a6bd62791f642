/** A way of a given length: bytes arrive at the other end after a delay, both ways, in order. */
import net from 'node:net';

export class SlowWay {
  address = '';
  /** Most bytes that were under way towards the caller at a time. */
  underWayMax = 0;
  private underWay = 0;
  private readonly sockets = new Set<net.Socket>();
  private readonly server: net.Server;

  private constructor(target: string, delayMs: number) {
    const [host, port] = target.split(':') as [string, string];
    this.server = net.createServer({ noDelay: true }, (near) => {
      const far = net.connect({ host, port: Number(port), noDelay: true });
      this.pass(near, far, delayMs, false);
      this.pass(far, near, delayMs, true);
    });
  }

  static async open(target: string, delayMs: number): Promise<SlowWay> {
    const way = new SlowWay(target, delayMs);
    await new Promise<void>((resolve) => way.server.listen(0, '127.0.0.1', resolve));
    way.address = `127.0.0.1:${(way.server.address() as net.AddressInfo).port}`;
    return way;
  }

  private pass(from: net.Socket, to: net.Socket, delayMs: number, isCounted: boolean): void {
    this.sockets.add(from);
    from.on('data', (bytes) => {
      if (isCounted) {
        this.underWay += bytes.length;
        this.underWayMax = Math.max(this.underWayMax, this.underWay);
      }
      setTimeout(() => {
        if (isCounted) this.underWay -= bytes.length;
        if (to.writable) to.write(bytes);
      }, delayMs);
    });
    from.on('error', () => {});
    from.on('close', () => to.destroy());
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
