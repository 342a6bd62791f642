// The main job in one command: three services in two languages call each other through sidecars, a route changes under load, and the
// latency of every hop is read. Ends by itself; the exit code is 0 only when no request failed.
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { canRun, freePort, Processes, weft } from './processes.mjs';
import { Traffic } from './traffic.mjs';

const requestsPerSecond = 200;
const secondsMin = 5;
/** So that a split shows also where the processes took long to start. */
const phaseMsMin = 1_000;
/** Kept at the end for the tables and for stopping. */
const reportMs = 700;

const startedAtMs = performance.now();
const seconds = readSeconds();
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'weft-demo-'));
let onDeath = () => {};
const processes = new Processes((reason) => onDeath(new Error(reason)));
const death = new Promise((_, reject) => {
  onDeath = reject;
});
// Handled by the race below; before that race begins it must not count as unhandled.
death.catch(() => {});
const interrupted = new Promise((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => resolve(130));
});

let code = 1;
try {
  code = await Promise.race([demo(), death, interrupted]);
} catch (error) {
  console.error(`\nThe demo failed: ${error.message}`);
} finally {
  await processes.stop();
  rmSync(directory, { recursive: true, force: true });
}
process.exit(code);

async function demo() {
  const { api } = await startControlPlane();
  const server = `http://${api}`;
  const { web } = await startServices(server);
  await untilRegistered(server, 3);

  await weft('apply', '-f', here('split-90-10.yaml'), '--wait', 'applied', '--server', server);
  say('route cart: 90 % to cart (v1), 10 % to cart-next (v2)');
  say(
    `${requestsPerSecond} requests a second: client -> [web's sidecar] -> web -> [web's sidecar] -> [cart's sidecar] -> cart`,
  );
  const traffic = new Traffic(`http://${web.inbound}/`, requestsPerSecond);
  const phaseMs = Math.max(phaseMsMin, (seconds * 1000 - reportMs - elapsedMs()) / 2);
  traffic.start();
  await sleep(phaseMs);

  const changedAtMs = performance.now();
  const [before] = await Promise.all([
    traffic.nextPhase(),
    weft('apply', '-f', here('split-50-50.yaml'), '--wait', 'applied', '--server', server),
  ]);
  const changeMs = performance.now() - changedAtMs;
  const during = await traffic.nextPhase();
  say(`at 90/10  ${describe(before)}`);
  say(`moved to 50/50 under load: \`weft apply --wait applied\` took ${changeMs.toFixed(0)} ms`);
  say(`meanwhile ${describe(during)}`);
  await sleep(Math.max(phaseMsMin, phaseMs - (performance.now() - changedAtMs)));
  say(`at 50/50  ${describe(await traffic.stop())}`);

  console.log(`\n$ weft stat\n${await weft('stat', '--server', server)}`);
  console.log(
    `\n$ curl -H 'Host: cart' -H 'Weft-Timing: 1' http://${web.outbound}/cart.json\nServer-Timing: ${await serverTiming(web.outbound)}\n`,
  );
  for (const reason of traffic.reasons) console.error(`failed: ${reason}`);
  say(traffic.failed === 0 ? 'done: no request failed' : `done: ${traffic.failed} requests failed`);
  return traffic.failed === 0 ? 0 : 1;
}

async function startControlPlane() {
  const ready = await processes.start('control-plane', [
    ...['control-plane', '--listen', '127.0.0.1:0', '--push', '127.0.0.1:0'],
    ...['--store', `embedded:${join(directory, 'store')}`],
  ]);
  say(`control plane at http://${ready.api}`);
  return ready;
}

/** Starts the three services at once; resolves with their ready lines. */
async function startServices(server) {
  const hasPython = await canRun('python3', '--version');
  if (!hasPython) say("python3 is not installed, so cart runs on Node instead of Python's http.server");
  const start = async (name, appOf) => {
    const port = await freePort();
    const app = appOf(port);
    const ready = await processes.start(name, [
      ...['run', '--service', name, '--app-port', String(port), '--control-plane', server],
      ...['--outbound', '127.0.0.1:0', '--inbound', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--', ...app],
    ]);
    say(`${name.padEnd(10)}${commandLine(app)}`);
    return ready;
  };
  const node = (file, ...args) => [process.execPath, here(`apps/${file}`), ...args];
  const [web] = await Promise.all([
    start('web', () => node('web.mjs')),
    start('cart', (port) =>
      hasPython
        ? ['python3', '-m', 'http.server', String(port), '--bind', '127.0.0.1', '--directory', here('shop')]
        : node('cart.mjs', String(port), 'v1'),
    ),
    start('cart-next', (port) => node('cart.mjs', String(port), 'v2')),
  ]);
  return { web };
}

/** As a person would type it from the top of the checkout. */
function commandLine(app) {
  const root = here('../../');
  const words = app.map((word) => (word === process.execPath ? 'node' : word.replace(root, '')));
  return `weft run -- ${words.join(' ')}`;
}

/** An app registers once it accepts connections. */
async function untilRegistered(server, count) {
  for (let tries = 0; tries < 200; tries++) {
    const { items } = await (await fetch(`${server}/v1/sidecars`, { signal: AbortSignal.timeout(5_000) })).json();
    if (items.filter(({ registration }) => registration).length >= count) return;
    await sleep(50);
  }
  throw new Error('the services were not registered within 10 s');
}

function serverTiming(outbound) {
  return new Promise((resolve, reject) => {
    const call = request(
      `http://${outbound}/cart.json`,
      { headers: { host: 'cart', 'weft-timing': '1' }, signal: AbortSignal.timeout(5_000) },
      (response) => {
        response.resume();
        response.once('end', () => resolve(response.headers['server-timing']));
      },
    );
    call.once('error', reject);
    call.end();
  });
}

function describe({ answers, failed, byVersion }) {
  const shares = [...byVersion]
    .sort()
    .map(([version, count]) => `${version} ${count} (${((100 * count) / answers).toFixed(1)} %)`);
  return `${answers} answers: ${shares.join(', ') || 'none'}; failed ${failed}`;
}

function readSeconds() {
  const { values } = parseArgs({ options: { seconds: { type: 'string', default: '20' } } });
  const wanted = Number(values.seconds);
  if (Number.isInteger(wanted) && wanted >= secondsMin && wanted <= 3600) return wanted;
  console.error(`--seconds ${values.seconds}: expected a whole number from ${secondsMin} to 3600.`);
  process.exit(2);
}

function elapsedMs() {
  return performance.now() - startedAtMs;
}

function say(line) {
  console.log(`${(elapsedMs() / 1000).toFixed(1).padStart(5)} s  ${line}`);
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
