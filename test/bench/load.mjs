// The load: one round of it from the other core, and the single request that says whether a contestant answers rightly at all.
import { Agent, request } from 'node:http';
import { runLoadGenerator } from './native-bench.mjs';

/** What the app answers with when nothing else is asked for: one byte, repeated. */
export const answer = { bodyByte: 'w', bodyBytes: 100 };
/** What is sent and what must come back: a GET, or with a body a POST. The query tells the app (native-bench/README.md). */
export const smallGet = { title: 'GET 100 B', path: '/', requestBytes: 0, answerBytes: answer.bodyBytes };
const requestByte = 'q';
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

const headersOf = ({ requestBytes }) => ({
  ...headers,
  ...(requestBytes > 0 ? { 'Content-Type': 'application/octet-stream' } : {}),
});

/** Whom to load, of what a contestant says of itself: a port of 127.0.0.1, or the path of a unix socket. */
export const placeOf = ({ port, socketPath }) => socketPath ?? port;
const isPath = (place) => typeof place === 'string';

/**
 * @param place see `placeOf`
 * @throws Error saying what was wrong with the answer.
 */
export function checkAnswer(place, message = smallGet) {
  const { path, requestBytes, answerBytes } = message;
  const method = requestBytes > 0 ? 'POST' : 'GET';
  const length = requestBytes > 0 ? { 'Content-Length': requestBytes } : {};
  // As the load asks: some proxies pass on a client's `Connection: close`, and do not get over it.
  const agent = new Agent({ keepAlive: true });
  return new Promise((resolve, reject) => {
    const fail = (what) => reject(new Error(`wrong answer: ${what}`));
    const sent = request({
      ...(isPath(place) ? { socketPath: place } : { host: '127.0.0.1', port: place }),
      ...{ path, method, agent },
      headers: { Host: host, ...headersOf(message), ...length },
    });
    sent.setTimeout(checkTimeoutMs, () => sent.destroy(new Error(`nothing within ${checkTimeoutMs} ms`)));
    sent.once('error', (error) => fail(error.message));
    sent.once('response', (response) => {
      let received = '';
      response.setEncoding('latin1');
      response.on('error', (error) => fail(error.message));
      response.on('data', (chunk) => {
        received += chunk;
      });
      response.once('end', () => {
        if (response.statusCode !== 200) fail(`${response.statusCode} ${received.slice(0, 200)}`);
        else if (received !== answer.bodyByte.repeat(answerBytes))
          fail(`${received.length} bytes that the app never sent`);
        else resolve();
      });
    });
    sent.end(requestByte.repeat(requestBytes));
  }).finally(() => agent.destroy());
}

/**
 * One round of load, every answer checked for status and body.
 * @param place see `placeOf`
 * @param load `connections` kept open, the `message` that they carry, and `rate` in requests a second (0: kept busy)
 * @returns completed requests, requests a second, percentiles in milliseconds, the load generator's own CPU time in microseconds
 * @throws Error when any request failed or was answered wrongly, or did not leave because the answers before it took too long.
 */
export async function runLoad(core, place, { connections, seconds, rate = 0, message = smallGet }) {
  const { requests, failures, firstFailure, ...figures } = await runLoadGenerator(core, {
    ...(isPath(place) ? { address: `unix:${place}` } : { port: place }),
    ...{ connections, seconds, rate, host, path: message.path },
    header: Object.entries(headersOf(message)).map(([name, value]) => `${name}: ${value}`),
    ...{ 'request-byte': requestByte, 'request-bytes': message.requestBytes },
    ...{ 'body-byte': answer.bodyByte, 'body-bytes': message.answerBytes },
  });
  if (failures > 0) throw new Error(`${failures} wrong or missing answers under load, the first: ${firstFailure}`);
  if (requests === 0) throw new Error('no request was completed under load');
  const milliseconds = (us) => us / 1_000;
  return {
    ...{ requests, perSecond: figures.rps, p50Ms: milliseconds(figures.p50Us), p99Ms: milliseconds(figures.p99Us) },
    ...{ p999Ms: milliseconds(figures.p999Us), busySeconds: figures.seconds, loadCpuUs: figures.cpuSeconds * 1e6 },
  };
}
