/** A mesh of real processes whose sidecars prove who they are to each other, and what their metrics and logs say of it. */
import { type Bench, call, type Running, type Starting, until } from './harness.ts';

export class IdentityMesh {
  readonly control: Running;
  private readonly bench: Bench;

  private constructor(bench: Bench, control: Running) {
    this.bench = bench;
    this.control = control;
  }

  static async start(bench: Bench, ...more: readonly string[]): Promise<IdentityMesh> {
    const addresses = ['--listen', '127.0.0.1:0', '--push', '127.0.0.1:0'];
    const store = ['--store', `embedded:${bench.path('store')}`];
    return new IdentityMesh(bench, await bench.weft(['control-plane', ...addresses, ...store, ...more]));
  }

  sidecar(service: string, ...more: readonly string[]): Promise<Running> {
    return this.bench.weft(this.sidecarArgs(service, more));
  }

  /** One that may never be ready. */
  beginSidecar(service: string, ...more: readonly string[]): Starting {
    return this.bench.begin(this.sidecarArgs(service, more));
  }

  private sidecarArgs(service: string, more: readonly string[]): readonly string[] {
    const own = ['--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--control-plane', this.url];
    return ['sidecar', '--service', service, ...own, ...more];
  }

  get url(): string {
    return `http://${this.control.ready.api}`;
  }

  /** A command of the client; its standard output. Rejects when it fails. */
  async command(args: readonly string[], input = ''): Promise<string> {
    const { code, stdout, stderr } = await this.bench.run([...args, '--server', this.url], input);
    if (code !== 0) throw new Error(`weft ${args.join(' ')} ended with ${code}: ${stderr}`);
    return stdout;
  }

  /** Resolves once every sidecar has the resources. */
  async apply(manifest: string): Promise<void> {
    await this.command(['apply', '-f', '-', '--wait', 'applied'], manifest);
  }
}

/** The flags of a sidecar that others call over the link and in no other way. */
export const beside = (app: { readonly address: string }): readonly string[] => [
  ...['--app', app.address, '--link', '127.0.0.1:0'],
];

/** `weft_failures_total` of one direction by code, those of links only. */
export async function linkFailures(
  { ready }: Running,
  direction: 'inbound' | 'outbound',
): Promise<Readonly<Record<string, number>>> {
  const { body } = await call(ready.admin, 'admin', '/metrics');
  const counts = [...body.matchAll(/^weft_failures_total\{direction="(\w+)",code="link:([\w-]+)"\} (\d+)$/gm)]
    .filter(([, found]) => found === direction)
    .map(([, , code, count]) => [code!, Number(count)] as const);
  return Object.fromEntries(counts);
}

/** What was counted between two readings, without what was not. */
export const counted = (
  before: Readonly<Record<string, number>>,
  after: Readonly<Record<string, number>>,
): Readonly<Record<string, number>> =>
  Object.fromEntries(
    Object.entries(after)
      .map(([code, count]) => [code, count - (before[code] ?? 0)] as const)
      .filter(([, count]) => count > 0),
  );

export interface LogLine {
  readonly msg: string;
  /** RFC 3339. */
  readonly time: string;
  readonly [field: string]: unknown;
}

/** The lines of a process's log whose message begins so. */
export function linesOf(process: Starting, message: string): readonly LogLine[] {
  return process
    .logs()
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as LogLine)
    .filter(({ msg }) => msg.startsWith(message));
}

/** Resolves once `host` answers 200 at `address`. */
export const whenServed = (address: string, host: string): Promise<void> =>
  until(`${host} is served`, async () => (await call(address, host)).status === 200);
