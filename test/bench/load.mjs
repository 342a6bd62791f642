// The load: wrk on the other core, and the single request that says whether a contestant answers rightly at all.
import { execFile } from 'node:child_process';
import { request } from 'node:http';

/** What the app answers with: 100 bytes. */
export const body = 'weft-bench'.repeat(10);
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
const graceMs = 10_000;
const unitsMs = { us: 0.001, ms: 1, s: 1_000, m: 60_000 };

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
        else if (received !== body) fail(`${received.length} bytes that the app never sent`);
        else resolve();
      });
    });
    sent.end();
  });
}

/**
 * One round of wrk.
 * @returns completed requests, requests a second, p50 and p99 in milliseconds
 * @throws Error when any request failed or was answered with another status than 2xx.
 */
export async function runWrk(core, port, { connections, seconds }) {
  const fields = Object.entries({ Host: host, ...headers }).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const flags = ['-t1', `-c${connections}`, `-d${seconds}s`, '--latency', ...fields, `http://127.0.0.1:${port}/`];
  const text = await new Promise((resolve, reject) => {
    const options = { timeout: seconds * 1_000 + graceMs };
    execFile('taskset', ['-c', String(core), 'wrk', ...flags], options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`wrk failed: ${stderr.trim() || error.message}`));
    });
  });
  const problem = /Non-2xx or 3xx responses:.*|Socket errors:.*/.exec(text);
  if (problem !== null) throw new Error(`wrong answers under load: ${problem[0].trim()}`);
  const requests = Number(find(text, /(\d+) requests in/));
  if (requests === 0) throw new Error('no request was completed under load');
  return {
    requests,
    perSecond: Number(find(text, /Requests\/sec:\s+([\d.]+)/)),
    p50Ms: millisecondsOf(find(text, /^\s+50%\s+(\S+)/m)),
    p99Ms: millisecondsOf(find(text, /^\s+99%\s+(\S+)/m)),
  };
}

// Lines are told apart by their beginning: a share of standard deviations may also read 12.50%.
function find(text, pattern) {
  const found = pattern.exec(text);
  if (found === null) throw new Error(`wrk printed nothing like ${pattern}: ${text.slice(0, 300)}`);
  return found[1];
}

function millisecondsOf(text) {
  const number = find(text, /^([\d.]+)(?:us|ms|s|m)$/);
  return Number(number) * unitsMs[text.slice(number.length)];
}
