// What is measured: how many proxies stand in a row, how they are loaded, and what a request carries. Each combination is a scenario.
import { smallGet } from './load.mjs';

/** What differs from another topology in one thing only is measured where that thing shows. */
const few = { loads: ['busy-64', 'rate-3000'], messages: ['get-100'] };

export const topologies = {
  'one-hop': { title: 'one hop' },
  'two-hops': { title: 'two hops, plain' },
  'two-hops-tls': { title: 'two hops, mutual TLS between' },
  'one-hop-pipelining': { title: 'one hop, pipelining declared safe', only: { ...few, loads: ['busy-64'] } },
  'one-hop-unix': { title: 'one hop, called over a unix socket', only: few },
  'two-hops-unix': { title: 'two hops, plain, apps at unix sockets', only: few },
};

/** `rate` in requests a second; 0: all connections are kept busy. */
export const loads = {
  'busy-1': { title: '1 busy', connections: 1, rate: 0 },
  'busy-8': { title: '8 busy', connections: 8, rate: 0 },
  'busy-64': { title: '64 busy', connections: 64, rate: 0 },
  'rate-1000': { title: '1,000 a second', connections: 64, rate: 1_000 },
  'rate-3000': { title: '3,000 a second', connections: 64, rate: 3_000 },
  'rate-10000': { title: '10,000 a second', connections: 64, rate: 10_000 },
};

export const messages = {
  'get-100': smallGet,
  'get-64k': getOf('GET 64 KiB', 65_536),
  'get-1m': getOf('GET 1 MiB', 1_048_576),
  'post-1k': postOf('POST 1 KiB', 1_024),
  'post-16k': postOf('POST 16 KiB', 16_384),
};

/** More than that no proxy on one core carries: a rate that asks for it measures nothing but the queue before it. */
const bytesPerSecondMax = 200_000_000;

/** The scenarios of a day's work, chosen so that each kind of target has one. */
const shortIds = [
  'one-hop/busy-64/get-100',
  'two-hops/busy-64/get-100',
  'two-hops/rate-3000/get-100',
  'two-hops-tls/busy-64/get-100',
];

/** All of them, topology by topology, so that each is started once. */
export const scenarios = Object.keys(topologies).flatMap((topology) =>
  Object.keys(messages).flatMap((message) =>
    Object.keys(loads)
      .filter((load) => isMeasured(topologies[topology], load, message))
      .map((load) => scenarioOf(topology, load, message)),
  ),
);

function isMeasured({ only }, load, message) {
  if (only !== undefined && !(only.loads.includes(load) && only.messages.includes(message))) return false;
  return loads[load].rate * bytesOf(messages[message]) <= bytesPerSecondMax;
}

/**
 * @param patterns `TOPOLOGY/LOAD/MESSAGE`, where a part may be `*` and those at the end may be missing; empty: all, or the short ones
 * @throws Error naming the pattern that fits no scenario.
 */
export function selectScenarios(patterns, { isShort }) {
  if (patterns.length === 0) return isShort ? scenarios.filter(({ id }) => shortIds.includes(id)) : scenarios;
  const wanted = patterns.map((pattern) => {
    const parts = pattern.split('/');
    const fits = ({ id }) =>
      parts.length <= 3 && id.split('/').every((part, i) => [undefined, '*', part].includes(parts[i]));
    if (!scenarios.some(fits)) throw new Error(`There is no scenario ${pattern}: --list shows them.`);
    return fits;
  });
  return scenarios.filter((scenario) => wanted.some((fits) => fits(scenario)));
}

function scenarioOf(topology, load, message) {
  return {
    id: `${topology}/${load}/${message}`,
    title: `${topologies[topology].title}, ${loads[load].title}, ${messages[message].title}`,
    ...{ topology, load, message },
  };
}

function getOf(title, answerBytes) {
  return { title, path: `/?bytes=${answerBytes}`, requestBytes: 0, answerBytes };
}

function postOf(title, requestBytes) {
  return { title, path: `/?takes=${requestBytes}`, requestBytes, answerBytes: smallGet.answerBytes };
}

function bytesOf({ requestBytes, answerBytes }) {
  return requestBytes + answerBytes;
}
