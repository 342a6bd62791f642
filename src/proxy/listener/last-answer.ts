/**
 * Answers of the edge that are complete before their request was read to the end. Node would close a connection behind its last answer at
 * once, and bytes that nobody reads would reset it, and take the answer away. So it is closed for writing only, the client has time to read,
 * and what still arrives is read and dropped.
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
  linger(socket, never);
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
  linger(this, never);
}

/** How often connections are looked at: nothing is late by more than this. */
const tickMs = 1_000;
const never = () => false;

/**
 * The kernel has the whole answer, and its client has not: a byte that came behind a close would take the rest of it away. So the connection
 * stays as long as its client goes on sending, within the bounds of `limits.lingerMs`, or until `isOver`. Who sends nothing more loses nothing by
 * the close: the kernel ends the connection behind the answer.
 */
export function linger(socket: Socket, isOver: () => boolean): void {
  const firstBytes = socket.bytesRead;
  let readBytes = firstBytes;
  let quietMs = 0;
  let totalMs = 0;
  const timer = setInterval(() => {
    const { bytesRead } = socket;
    totalMs += tickMs;
    quietMs = bytesRead === readBytes ? quietMs + tickMs : 0;
    readBytes = bytesRead;
    if (socket.destroyed || isOver()) clearInterval(timer);
    else if (
      quietMs >= limits.lingerMs ||
      totalMs >= limits.lingerTotalMs ||
      bytesRead - firstBytes > limits.lingerBytesMax
    )
      socket.destroy();
  }, tickMs).unref();
}

/**
 * Until the kernel has taken the whole answer it is its reader who is waited for: `onUnread` when it takes nothing for `idleMs`, whatever it
 * sends. What Node was given is seen to shrink by whole writes only, and of an answer that is done at most three are left (some 64 KiB each).
 * Until the timer that this returns is cleared.
 */
export function watchReader(socket: Socket, idleMs: number, onUnread: () => void): NodeJS.Timeout {
  let leftBytes = socket.writableLength;
  let unreadMs = 0;
  const lookMs = Math.min(tickMs, idleMs);
  return setInterval(() => {
    const { writableLength } = socket;
    unreadMs = writableLength < leftBytes ? 0 : unreadMs + lookMs;
    leftBytes = writableLength;
    if (unreadMs >= idleMs) onUnread();
  }, lookMs).unref();
}

function bytesOf({ status, reason, headers, body }: LocalReply, isToHead: boolean): Buffer {
  let head = `HTTP/1.1 ${status} ${reason}\r\n`;
  for (const { name, value } of headers) head += `${name}: ${value}\r\n`;
  head += `Content-Length: ${body.byteLength}\r\nConnection: close${dateField()}\r\n\r\n`;
  const block = Buffer.from(head, 'latin1');
  return isToHead ? block : Buffer.concat([block, body]);
}
