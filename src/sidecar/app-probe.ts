/** Whether the app beside this sidecar accepts TCP connections: what a registration waits for. */
import { connect } from 'node:net';
import { limits } from '../model/limits.ts';
import type { HostPort } from './options.ts';

const retryMs = 100;
const connectTimeoutMs = 1_000;

/** Calls back once, when the app has accepted a connection; `onLate` once, when it has not for `limits.appLateMs`. The answer stops the waiting. */
export function whenAppAccepts(app: HostPort, done: () => void, onLate: () => void): () => void {
  let isStopped = false;
  let timer: NodeJS.Timeout | null = null;
  const lateTimer = setTimeout(onLate, limits.appLateMs);

  const probe = () => {
    const socket = connect({ host: app.host, port: app.port, timeout: connectTimeoutMs });
    const again = () => {
      socket.destroy();
      if (!isStopped) timer = setTimeout(probe, retryMs);
    };
    socket.once('connect', () => {
      socket.destroy();
      clearTimeout(lateTimer);
      if (!isStopped) done();
    });
    socket.once('error', again);
    socket.once('timeout', again);
  };
  probe();

  return () => {
    isStopped = true;
    if (timer !== null) clearTimeout(timer);
    clearTimeout(lateTimer);
  };
}
