/** Messages cut into segments. */
import type { Socket } from 'node:net';

/** Writes them a turn of the loop apart, each a segment of its own on a socket without delay; then calls back. Stops when the socket is gone. */
export function sendPieces(socket: Socket, pieces: readonly string[], onSent: () => void = () => {}): void {
  const sendFrom = (next: number): void => {
    if (socket.destroyed || next === pieces.length) {
      onSent();
      return;
    }
    socket.write(pieces[next]!, 'latin1');
    setImmediate(sendFrom, next + 1);
  };
  sendFrom(0);
}

/** `places` are taken modulo the length, so that any numbers cut any message. */
export function cutAt(message: string, places: readonly number[]): string[] {
  const cuts = places.map((place) => place % (message.length + 1)).sort((a, b) => a - b);
  const bounds = [0, ...cuts, message.length];
  return bounds
    .slice(1)
    .map((end, i) => message.slice(bounds[i], end))
    .filter((piece) => piece !== '');
}
