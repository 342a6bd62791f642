/**
 * The answer with which a connection of the edge ends before its request was read to the end. Node would close at once, and unread bytes
 * would reset the connection, and the answer with it. So the connection is closed for writing only, the client has time to read, and what
 * still arrives is dropped.
 */
import type { Socket } from 'node:net';
import { limits } from '../../model/limits.ts';
import type { LocalReply } from '../local-reply.ts';
import { dateField } from './answer-block.ts';

/** Writes it below Node's ServerResponse. Whoever reads from the socket goes on reading and drops it. */
export function writeLastAnswer(socket: Socket, answer: LocalReply, isToHead: boolean): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  socket.resume();
  socket.end(bytesOf(answer, isToHead));
  setTimeout(() => socket.destroy(), limits.lingerMs).unref();
}

/**
 * For an answer that Node writes: Node calls `destroySoon` once the kernel has taken the last answer of a connection. On a connection that goes
 * on it does not, and a later answer ends it in the same way.
 */
export function lingerAtEnd(socket: Socket): void {
  socket.destroySoon = endAndLinger;
}

function endAndLinger(this: Socket): void {
  this.end();
  setTimeout(() => this.destroy(), limits.lingerMs).unref();
}

function bytesOf({ status, reason, headers, body }: LocalReply, isToHead: boolean): Buffer {
  let head = `HTTP/1.1 ${status} ${reason}\r\n`;
  for (let i = 0; i < headers.length; i += 2) head += `${headers[i]!}: ${headers[i + 1]!}\r\n`;
  head += `Content-Length: ${body.byteLength}\r\nConnection: close${dateField()}\r\n\r\n`;
  const block = Buffer.from(head, 'latin1');
  return isToHead ? block : Buffer.concat([block, body]);
}
