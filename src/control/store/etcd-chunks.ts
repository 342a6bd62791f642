/** Texts of any size on etcd: cut into chunks of at most `limits.etcdChunkBytesMax`, each a value of its own, and put together again. */
import { limits } from '../../model/limits.ts';
import { type EtcdCalls, readAll } from './etcd-calls.ts';

/** Cuts a text that comes in pieces; a character may be cut in two, so only the whole is text again. */
export function* chunksOf(
  pieces: Iterable<string>,
  bytesMax: number = limits.etcdChunkBytesMax,
): Generator<Uint8Array> {
  let gathered: Buffer[] = [];
  let bytes = 0;
  for (const piece of pieces) {
    let rest = Buffer.from(piece);
    while (bytes + rest.length >= bytesMax) {
      const room = bytesMax - bytes;
      yield Buffer.concat([...gathered, rest.subarray(0, room)]);
      rest = rest.subarray(room);
      gathered = [];
      bytes = 0;
    }
    if (rest.length > 0) gathered.push(rest);
    bytes += rest.length;
  }
  if (bytes > 0) yield Buffer.concat(gathered);
}

/** The text whose first chunk has the key `first`. @throws Error when some of its `count` chunks are missing; EtcdFailure. */
export async function readChunks(
  calls: Pick<EtcdCalls, 'read'>,
  { first, count, etcdRevision }: { first: string; count: number; etcdRevision?: number },
): Promise<string> {
  const folder = first.slice(0, first.lastIndexOf('/') + 1);
  const { entries } = await readAll(calls, {
    from: first,
    to: `${folder.slice(0, -1)}0`,
    limit: limits.etcdPageKeysMax,
    ...(etcdRevision === undefined ? {} : { etcdRevision }),
  });
  if (entries.length !== count) throw new Error(`${entries.length} chunks of ${count} are below ${folder}`);
  return Buffer.concat(entries.map(({ bytes }) => bytes)).toString('utf8');
}
