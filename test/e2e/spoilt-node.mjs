// What a test does to a sidecar from within: Node loads this before anything of Weft's (NODE_OPTIONS=--import). Two environment variables say what.
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';

/** SIGUSR2 blocks the event loop for so long, ms, after a line on standard output. */
const blockMs = Number(process.env.SPOILT_BLOCK_MS ?? 0);
/** Every connection takes so much longer to be made, ms, while its event loop goes on: as if the other side were far away. */
const connectMs = Number(process.env.SPOILT_CONNECT_MS ?? 0);

process.on('SIGUSR2', () => {
  const untilMs = performance.now() + blockMs;
  writeSync(1, 'blocked\n');
  while (performance.now() < untilMs);
});

if (connectMs > 0) {
  const { connect } = Socket.prototype;
  Socket.prototype.connect = function (...to) {
    // What is written before goes out behind the connect, as always.
    this.connecting = true;
    setTimeout(() => this.destroyed || connect.apply(this, to), connectMs);
    return this;
  };
}
