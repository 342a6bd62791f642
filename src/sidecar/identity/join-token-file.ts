/** A join token in a file, which somebody may replace: by the next one before it expires, by one of a new root, or by mistake. */
import { open, stat } from 'node:fs/promises';
import { limits } from '../../model/limits.ts';
import { decodeJoinToken, type JoinToken, type JoinTokenSource } from './join-token.ts';

/** A line break or two after the token are no harm; what is beyond makes it too long to be one. */
const fileBytesMax = limits.tokenCharsMax + 64;

/** What stands in the file, at most as much as a token can be, without the white space around it. Rejects with the system's error. */
export async function readTokenFile(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    const bytes = Buffer.alloc(fileBytesMax);
    let length = 0;
    // A pipe gives its bytes in pieces.
    for (let read = -1; read !== 0 && length < bytes.length; length += read)
      ({ bytesRead: read } = await file.read(bytes, length, bytes.length - length));
    return bytes.toString('latin1', 0, length).trim();
  } finally {
    await file.close();
  }
}

export class JoinTokenFile implements JoinTokenSource {
  readonly #path: string;
  readonly #service: string;
  readonly #namespace: string;
  #current: JoinToken;
  #fault: string | null = null;

  /** `first` is what was in the file at start, for the Service that the next ones must be for, too. */
  constructor(path: string, first: JoinToken) {
    this.#path = path;
    this.#current = first;
    this.#service = first.identity.service;
    this.#namespace = first.identity.namespace;
  }

  get current(): JoinToken {
    return this.#current;
  }

  get fault(): string | null {
    return this.#fault;
  }

  async refresh(): Promise<void> {
    try {
      // A pipe (`--join-token-file <(...)`) gave its token once, and opening it again would wait for a writer.
      if (!(await stat(this.#path)).isFile()) return;
      this.#current = decodeJoinToken(await readTokenFile(this.#path), this.#service, this.#namespace);
      this.#fault = null;
    } catch (error) {
      this.#fault = `--join-token-file ${this.#path} now: ${(error as Error).message}`;
    }
  }
}
