/** Payloads read out of the middle of a buffer, given as the text that they are in latin1. Where bytes begin is counted from the start of that text. */
import * as codec from '../../../src/proxy/link/head-codec.ts';

const before = Buffer.from('\xff\x01\x7f', 'latin1');
const behind = Buffer.from('\x01\x01xyz', 'latin1');

function within<T>(payload: string, read: (bytes: Buffer, start: number, end: number) => T): T {
  const bytes = Buffer.concat([before, Buffer.from(payload, 'latin1'), behind]);
  return read(bytes, before.length, before.length + payload.length);
}

export const decodeOpen = (payload: string): codec.OpenPayload | null => within(payload, codec.decodeOpen);
export const decodeEnd = (payload: string): codec.EndPayload | null => within(payload, codec.decodeEnd);

export function decodeHead(payload: string): codec.HeadPayload | null {
  const head = within(payload, codec.decodeHead);
  return head === null || head.dataAt === -1 ? head : { ...head, dataAt: head.dataAt - before.length };
}
