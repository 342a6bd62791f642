// The load: one round of it from the other core, and the single request that says whether a contestant answers rightly at all.
import { request } from 'node:http';
import { runLoadGenerator } from './native-bench.mjs';

/** What the app answers with: one byte, repeated. */
export const answer = { bodyByte: 'w', bodyBytes: 100 };
/** Five fields beside Host, which names the Service. */
const headers = {
  'User-Agent': 'weft-bench/1',
  Accept: 'application/json',
  'Accept-Language': 'en',
  'X-Tenant': 'tenant-4711',
  Cookie: 'session=0123456789abcdef',
};
const host = 'b';
const checkTimeoutMs = 5_000;

/** @throws Error saying what was wrong with the answer. */
export function checkAnswer(port) {
  return new Promise((resolve, reject) => {
    const fail = (what) => reject(new Error(`wrong answer: ${what}`));
    const sent = request({ host: '127.0.0.1', port, path: '/', headers: { Host: host, ...headers }, agent: false });
    sent.setTimeout(checkTimeoutMs, () => sent.destroy(new Error(`nothing within ${checkTimeoutMs} ms`)));
    sent.once('error', (error) => fail(error.message));
    sent.once('response', (response) => {
      let received = '';
      response.on('error', (error) => fail(error.message));
      response.on('data', (chunk) => {
        received += chunk;
      });
      response.once('end', () => {
        if (response.statusCode !== 200) fail(`${response.statusCode} ${received.slice(0, 200)}`);
        else if (received !== answer.bodyByte.repeat(answer.bodyBytes))
          fail(`${received.length} bytes that the app never sent`);
        else resolve();
      });
    });
    sent.end();
  });
}

/**
 * One round of load, every answer checked for status and body.
 * @returns completed requests, requests a second, p50 and p99 in milliseconds, the load generator's own CPU time in microseconds
 * @throws Error when any request failed or was answered wrongly.
 */
export async function runLoad(core, port, { connections, seconds }) {
  const { requests, failures, firstFailure, ...figures } = await runLoadGenerator(core, {
    ...{ port, connections, seconds, host },
    header: Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ...{ 'body-byte': answer.bodyByte, 'body-bytes': answer.bodyBytes },
  });
  if (failures > 0) throw new Error(`${failures} wrong answers under load, the first: ${firstFailure}`);
  if (requests === 0) throw new Error('no request was completed under load');
  return {
    ...{ requests, perSecond: figures.rps, p50Ms: figures.p50Us / 1_000, p99Ms: figures.p99Us / 1_000 },
    ...{ busySeconds: figures.seconds, loadCpuUs: figures.cpuSeconds * 1e6 },
  };
}
