/** What a sidecar still holds once its garbage was collected: V8 lets tens of MiB of it lie when nobody presses. */
import WebSocket from 'ws';
import { type Running, residentMiB, until } from './harness.ts';

/** For a sidecar whose garbage is to be collected: on SIGUSR1 Node opens its inspector on a free port. */
export const inspectable: NodeJS.ProcessEnv = { NODE_OPTIONS: '--inspect-port=127.0.0.1:0' };

/** MiB after two full collections. The sidecar was started `inspectable`. */
export async function heldMiB(sidecar: Running): Promise<number> {
  const address = () => sidecar.logs().match(/Debugger listening on (ws:\/\/\S+)/)?.[1];
  if (address() === undefined) sidecar.process.kill('SIGUSR1');
  await until('the inspector listens', () => address() !== undefined);
  const inspector = new WebSocket(address()!);
  await new Promise<void>((resolve, reject) => {
    inspector.once('error', reject);
    inspector.once('open', () => inspector.send(JSON.stringify({ id: 1, method: 'HeapProfiler.collectGarbage' })));
    inspector.on('message', (text) => {
      const { id } = JSON.parse(String(text)) as { id?: number };
      // Buffers outside the heap are freed after the first one has found their owners dead.
      if (id === 1) inspector.send(JSON.stringify({ id: 2, method: 'HeapProfiler.collectGarbage' }));
      if (id === 2) resolve();
    });
  });
  inspector.close();
  return residentMiB(sidecar.process.pid!);
}
