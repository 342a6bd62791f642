/** Makes keys and certificate requests beside the loop that serves requests: a thread for each, see certificate-request-worker.ts. */
import { Worker } from 'node:worker_threads';

export interface KeyAndRequest {
  /** PKCS #8, PEM. */
  readonly keyPem: string;
  readonly csrPem: string;
}

/** Beside the executable's own files in dist/, which are one folder below it. */
const bundledWorker = new URL('../identity/certificate-request-worker.js', import.meta.url);

/** Rejects when the thread fails, or with the signal's reason. Either way the thread has ended, or is just ending. */
export function makeRequestInThread(signal: AbortSignal, workerFile: URL = bundledWorker): Promise<KeyAndRequest> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const worker = new Worker(workerFile, { resourceLimits: { maxOldGenerationSizeMb: 64 } });
    const abort = () => end(() => reject(signal.reason));
    const end = (settle: () => void) => {
      signal.removeEventListener('abort', abort);
      settle();
      void worker.terminate();
    };
    signal.addEventListener('abort', abort, { once: true });
    worker.once('message', (made: KeyAndRequest) => end(() => resolve(made)));
    // Its listener stays: a second error of a thread that is being ended would be thrown here.
    worker.on('error', (error) => end(() => reject(error)));
    worker.once('exit', () => end(() => reject(new Error('the thread that makes keys ended without one'))));
  });
}
