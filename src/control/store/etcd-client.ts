/**
 * Calls to etcd over the network: each to one member and with a deadline. The package etcd3 is asked for its codec, its tokens and its
 * connections only. It would choose a member at random for each call and try writes again by itself; here each member has a client of
 * its own, one of them is preferred as long as it answers, and nothing is tried twice (docs/adr/0011).
 */
import { Etcd3, type IOptions } from 'etcd3';
import { limits } from '../../model/limits.ts';
import {
  type EtcdCalls,
  type EtcdCondition,
  EtcdFailure,
  type EtcdOperation,
  type EtcdOutcome,
  type EtcdPage,
  type EtcdWatchListener,
} from './etcd-calls.ts';
import {
  asWrite,
  compareOf,
  entryOf,
  eventOf,
  failureCodeOf,
  operationOf,
  rangeOf,
  sayingOf,
  wasChanged,
} from './etcd-codec.ts';
import type { EtcdAccess, EtcdLocation } from './etcd-location.ts';

/** Asks a silent connection for life, so that a watch on a dead one ends; etcd takes more than one in 5 s for an attack. */
const aliveAskMs = 10_000;
const aliveAnswerMs = 3_000;
const reconnectMs = 100;
const reconnectMsMax = 1_000;

interface Member {
  readonly address: string;
  readonly etcd: Etcd3;
}

export class EtcdClient implements EtcdCalls {
  readonly #members: readonly Member[];
  readonly #hasUser: boolean;
  /** Index of the member that is asked. */
  #preferred = 0;
  /** Those that are open, each with how it ends. */
  readonly #watches = new Set<{ readonly member: Member; readonly end: (error: unknown) => void }>();
  /** One that the user may read. */
  #someKey = '';

  constructor({ members, isTls, user, password: ownPassword }: EtcdLocation, access: EtcdAccess) {
    const password = access.password ?? ownPassword;
    this.#hasUser = user !== null;
    this.#members = members.map((address) => ({
      address,
      etcd: new Etcd3({
        hosts: `${isTls ? 'https' : 'http'}://${address}`,
        ...(isTls ? { credentials: credentialsOf(access) } : {}),
        ...(user === null ? {} : { auth: { username: user, password: password ?? '', callOptions: () => deadline() } }),
        faultHandling: { host: () => once, global: once },
        grpcOptions: {
          'grpc.keepalive_time_ms': aliveAskMs,
          'grpc.keepalive_timeout_ms': aliveAnswerMs,
          'grpc.initial_reconnect_backoff_ms': reconnectMs,
          'grpc.max_reconnect_backoff_ms': reconnectMsMax,
          // A page of chunks; etcd has no bound of its own for what it sends.
          'grpc.max_receive_message_length': -1,
          'grpc.max_send_message_length': -1,
        },
      }),
    }));
  }

  read({ from, to, limit, etcdRevision, throughLog }: Parameters<EtcdCalls['read']>[0]): Promise<EtcdPage> {
    this.#someKey = from;
    const range = {
      ...{ key: Buffer.from(from), range_end: Buffer.from(to), limit },
      ...(etcdRevision ? { revision: etcdRevision } : {}),
    };
    const until = deadline(limit === 1 ? 0 : limit * usualBytes);
    return this.#ask(async ({ etcd }) => {
      const { kvs, more, header } = throughLog
        ? rangeOf(await etcd.kv.txn(asWrite(range), until))
        : await etcd.kv.range(range, until);
      return { entries: kvs.map(entryOf), hasMore: more, etcdRevision: Number(header.revision) };
    });
  }

  write(conditions: readonly EtcdCondition[], operations: readonly EtcdOperation[]): Promise<EtcdOutcome> {
    return this.#ask(async ({ etcd }) => {
      const { succeeded, responses, header } = await etcd.kv.txn(
        { compare: conditions.map(compareOf), success: operations.map(operationOf) },
        deadline(sizeOf(operations)),
      );
      if (!succeeded) return { tag: 'refused' };
      return { tag: 'done', etcdRevision: Number(header.revision), changed: responses.map(wasChanged) };
    });
  }

  grantLease(ttlMs: number): Promise<string> {
    return this.#ask(async ({ etcd }) => {
      const { ID } = await etcd.leaseClient.leaseGrant({ TTL: Math.ceil(ttlMs / 1000) }, deadline());
      return ID;
    });
  }

  keepLease(lease: string): Promise<boolean> {
    return this.#ask(async ({ etcd }) => {
      await this.#freshenToken(etcd);
      // A stream for one question: its deadline ends it whatever becomes of it.
      const stream = await etcd.leaseClient.leaseKeepAlive(deadline());
      try {
        return await new Promise<boolean>((resolve, reject) => {
          stream.on('data', ({ TTL }) => resolve(Number(TTL) > 0));
          stream.on('error', reject);
          stream.on('end', () => reject(new Error('etcd ended the stream')));
          stream.write({ ID: lease });
        });
      } finally {
        stream.end();
      }
    });
  }

  async endLease(lease: string): Promise<void> {
    await this.#ask(({ etcd }) => etcd.leaseClient.leaseRevoke({ ID: lease }, deadline()));
  }

  watch(
    { from, to, afterEtcdRevision }: Parameters<EtcdCalls['watch']>[0],
    { onEvents, onEnd }: EtcdWatchListener,
  ): () => void {
    const member = this.#current();
    let stop: () => void = () => {};
    let isOver = false;
    const close = () => {
      isOver = true;
      this.#watches.delete(watch);
      stop();
    };
    const end = (error: unknown, isCompacted: boolean) => {
      if (isOver) return;
      close();
      const failure = this.#failed(member, error);
      onEnd({ isCompacted: isCompacted || failure.code === 'compacted', message: failure.message });
    };
    const watch = { member, end: (error: unknown) => end(error, false) };
    this.#watches.add(watch);
    this.#freshenToken(member.etcd)
      .then(() => member.etcd.watchClient.watch())
      .then((stream) => {
        stop = () => stream.cancel();
        // A stream that is cancelled says so as an error.
        stream.on('error', (error) => end(error, false));
        stream.on('end', () => end(new Error('etcd ended the watch'), false));
        if (isOver) {
          stop();
          return;
        }
        stream.on('data', ({ canceled, cancel_reason, compact_revision, events }) => {
          if (isOver) return;
          if (canceled) end(new Error(cancel_reason || 'etcd ended the watch'), Number(compact_revision) > 0);
          // The header has the newest revision there is, which a watch that catches up brings only with its last events.
          else if (events.length > 0) onEvents(events.map(eventOf), Number(events.at(-1)!.kv.mod_revision));
        });
        stream.write({
          create_request: {
            key: Buffer.from(from),
            range_end: Buffer.from(to),
            start_revision: String(afterEtcdRevision + 1),
          },
        });
      })
      .catch((error: unknown) => end(error, false));
    return close;
  }

  leaveMember(): void {
    this.#preferred = (this.#preferred + 1) % this.#members.length;
  }

  close(): void {
    for (const { etcd } of this.#members) etcd.close();
  }

  /** Tokens end. etcd3 gets a new one when a call fails for that, but not when a stream does. */
  async #freshenToken({ kv }: Etcd3): Promise<void> {
    if (this.#hasUser) await kv.range({ key: Buffer.from(this.#someKey), count_only: true }, deadline());
  }

  #current(): Member {
    return this.#members[this.#preferred]!;
  }

  async #ask<T>(call: (member: Member) => Promise<T>): Promise<T> {
    const member = this.#current();
    try {
      return await call(member);
    } catch (error) {
      throw this.#failed(member, error);
    }
  }

  /** What went wrong, and with whom. The next call goes to another one where that may help; several calls that fail together leave one member. */
  #failed(member: Member, error: unknown): EtcdFailure {
    const code = failureCodeOf(error);
    const failure = new EtcdFailure(code, sayingOf(member.address, error), { cause: error });
    if (code === 'unavailable' && member === this.#current()) {
      this.leaveMember();
      // Who does not answer tells nothing either, and may keep its connections open for long.
      for (const watch of [...this.#watches]) if (watch.member === member) watch.end(failure);
    }
    return failure;
  }
}

/** Of one call; one that carries chunks has longer. */
const deadline = (bytes = 0) => ({
  deadline: Date.now() + limits.etcdTryMs * (1 + Math.ceil(bytes / limits.etcdChunkBytesMax)),
});

function sizeOf(operations: readonly EtcdOperation[]): number {
  let bytes = 0;
  for (const operation of operations) if (operation.tag === 'put') bytes += operation.value.length;
  return bytes < smallBytes ? 0 : bytes;
}

/** Up to here a write is as quick as any. */
const smallBytes = 64 * 1024;
/** Of a key and its value, generously; a page of chunks has as much time as several pages of those. */
const usualBytes = 128 * 1024;

type Policy = NonNullable<NonNullable<IOptions['faultHandling']>['global']>;
/** Of cockatiel's policies, through which etcd3 makes each call, the part that it uses. */
const once = {
  execute: async (call: (context: { readonly signal: AbortSignal }) => unknown) =>
    call({ signal: new AbortController().signal }),
} as unknown as Policy;

/** The package's type wants a root; without one gRPC believes those of the system. */
function credentialsOf({ caPem, certificatePem, keyPem }: EtcdAccess): NonNullable<IOptions['credentials']> {
  const pem = (text: string | null): Buffer | null => (text === null ? null : Buffer.from(text));
  return {
    rootCertificate: pem(caPem) as Buffer,
    ...(certificatePem === null || keyPem === null
      ? {}
      : { certChain: Buffer.from(certificatePem), privateKey: Buffer.from(keyPem) }),
  };
}
