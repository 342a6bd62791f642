/** Whether the app beside this sidecar accepts connections: what a registration waits for. */
import { connect } from 'node:net';
import type { LocalAddress } from '../model/host-port.ts';
import { limits } from '../model/limits.ts';

const retryMs = 100;
const connectTimeoutMs = 1_000;

/**
 * Calls back once, when the app has accepted a connection; `onLate` once, when it has not for `limits.appLateMs`, with what the system last said
 * (`ECONNREFUSED`, `EACCES`; `ETIMEDOUT` where it says nothing). The answer stops the waiting.
 */
export function whenAppAccepts(app: LocalAddress, done: () => void, onLate: (reason: string) => void): () => void {
  let isStopped = false;
  let timer: NodeJS.Timeout | null = null;
  let reason = 'ETIMEDOUT';
  const lateTimer = setTimeout(() => onLate(reason), limits.appLateMs);

  const probe = () => {
    const socket = connect({ ...app, timeout: connectTimeoutMs });
    const again = (error?: NodeJS.ErrnoException) => {
      reason = error?.code ?? 'ETIMEDOUT';
      socket.destroy();
      if (!isStopped) timer = setTimeout(probe, retryMs);
    };
    socket.once('connect', () => {
      socket.destroy();
      clearTimeout(lateTimer);
      if (!isStopped) done();
    });
    socket.once('error', again);
    socket.once('timeout', () => again());
  };
  probe();

  return () => {
    isStopped = true;
    if (timer !== null) clearTimeout(timer);
    clearTimeout(lateTimer);
  };
}
