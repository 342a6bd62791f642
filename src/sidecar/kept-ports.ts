/**
 * The ports that callers reach this sidecar at, where any free one was asked for: kept in the state directory and taken again after a
 * restart. While no control plane can tell them of another one, those that know the old one reach the app all the same.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type HostPort, splitAddress } from '../model/host-port.ts';
import { probePort } from '../proxy/listener/free-port.ts';
import { formatAddress, ListenError } from '../proxy/listener/listen-error.ts';
import type { Logger } from '../telemetry/logger.ts';
import { makeDirectory } from './state-dir.ts';

export interface KeptPortsOptions {
  /** The state directory; null: nothing is kept. */
  readonly directory: string | null;
  /** Whose they are: callers of another Service must not be met at them. */
  readonly service: string;
  readonly namespace: string;
  readonly logger: Logger;
}

/** Each event loop has a link listener: `link` is the first one's, `link-1` the second one's. */
export type KeptListener = 'inbound' | 'link' | `link-${number}`;

const fileName = 'ports.json';
const format = 'weft-ports';
const formatVersion = 1;

export class KeptPorts {
  readonly #options: KeptPortsOptions;
  /** `HOST:PORT` as bound, by listener. */
  readonly #before: ReadonlyMap<string, string>;
  readonly #bound = new Map<KeptListener, string>();

  private constructor(options: KeptPortsOptions, before: ReadonlyMap<string, string>) {
    this.#options = options;
    this.#before = before;
  }

  /** Never rejects: what cannot be read is logged, and any free port will do. */
  static async load(options: KeptPortsOptions): Promise<KeptPorts> {
    const { directory, logger } = options;
    if (directory === null) return new KeptPorts(options, new Map());
    const path = join(directory, fileName);
    try {
      return new KeptPorts(options, portsIn(await readFile(path, 'utf8'), options));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        logger.warn({ path, reason: (error as Error).message }, 'the ports before cannot be used');
      return new KeptPorts(options, new Map());
    }
  }

  /** Opens a listener: for port 0 at the port it had before, when that is free. Rejects with what `open` rejects with. */
  async listen<T extends { readonly address: string }>(
    name: KeptListener,
    at: HostPort,
    open: (at: HostPort) => Promise<T>,
  ): Promise<T> {
    if (at.port !== 0) return open(at);
    const listener = (await this.#openAsBefore(name, at.host, open)) ?? (await open(at));
    this.#bound.set(name, listener.address);
    return listener;
  }

  /** Keeps what was bound. Never rejects: what cannot be written is logged. */
  async save(): Promise<void> {
    const { directory, service, namespace, logger } = this.#options;
    const isKept = [...this.#bound].every(([name, address]) => this.#before.get(name) === address);
    if (directory === null || isKept) return;
    const ports = Object.fromEntries([...this.#before, ...this.#bound]);
    const path = join(directory, fileName);
    const temporary = `${path}.${process.pid}.tmp`;
    try {
      await makeDirectory(directory);
      await writeFile(temporary, JSON.stringify({ format, version: formatVersion, service, namespace, ports }));
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      logger.warn({ path, reason: (error as Error).message }, 'the ports cannot be kept');
    }
  }

  /** Null: there was none, or somebody else has it now. */
  async #openAsBefore<T>(name: KeptListener, host: string, open: (at: HostPort) => Promise<T>): Promise<T | null> {
    const before = this.#before.get(name);
    if (before === undefined) return null;
    const { port } = splitAddress(before);
    if (before !== formatAddress(host, port)) return null;
    try {
      await probePort(host, port);
      return await open({ host, port });
    } catch (error) {
      if (!(error instanceof ListenError)) throw error;
      this.#options.logger.info({ listener: name, before, reason: error.message }, 'the port before is not free');
      return null;
    }
  }
}

function portsIn(text: string, { service, namespace }: KeptPortsOptions): ReadonlyMap<string, string> {
  const saved: unknown = JSON.parse(text);
  const fields: Readonly<Record<string, unknown>> = typeof saved === 'object' && saved !== null ? { ...saved } : {};
  if (fields.format !== format || fields.version !== formatVersion) throw new Error('they are of another version');
  if (fields.service !== service || fields.namespace !== namespace) return new Map();
  const ports = Object.entries({ ...(fields.ports as object) });
  return new Map(ports.filter((entry): entry is [string, string] => isAddress(entry[1])));
}

/** Of the host only what is compared with it matters. */
const isAddress = (value: unknown): boolean =>
  typeof value === 'string' && /:[1-9]\d{0,4}$/.test(value) && splitAddress(value).port <= 65_535;
