// Clients that hang on a listener, in a process of their own so that they cost nobody's event loop but theirs. Started by slow-clients.ts.
import { connect } from 'node:net';
import { constants, setPriority } from 'node:os';

// Whom they hang on, and who is measured beside them, never waits for a core that this process has.
setPriority(constants.priority.PRIORITY_LOW);

/** What each kind sends at once, and what it sends now and then. A reader sends a whole request and takes nothing, so it hears of no end either. */
const kinds = {
  head: { first: (host) => `GET / HTTP/1.1\r\nHost: ${host}\r\nX-Slow: `, more: 'x' },
  body: { first: (host) => `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 100000\r\n\r\n`, more: 'x' },
  chunked: {
    first: (host) => `POST / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n`,
    more: '1\r\nx\r\n',
  },
  reader: { first: (host) => `GET /?bytes=8388608 HTTP/1.1\r\nHost: ${host}\r\n\r\n`, more: '' },
};
/** Connections are made this many at a time: a listener's backlog is short. */
const batch = 50;
const tickMs = 5;

let clients = [];
let timer = null;

process.on('message', async (message) => {
  if (message.open !== undefined) process.send({ opened: await open(message.open) });
  else if (message.report === true) process.send({ report: report() });
  else process.send({ closed: close() });
});
process.once('disconnect', () => process.exit(0));

async function open({ address, host, counts, trickleMs }) {
  const wanted = Object.entries(counts).flatMap(([kind, count]) => Array(count).fill(kind));
  for (let at = 0; at < wanted.length; at += batch)
    await Promise.all(wanted.slice(at, at + batch).map((kind) => begin(kind, address, host)));
  const ticks = Math.round(trickleMs / tickMs);
  let tick = 0;
  timer = setInterval(() => trickle(tick++ % ticks, ticks), tickMs);
  return clients.length;
}

function begin(kind, address, host) {
  const [hostname, port] = address.split(':');
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    const client = { kind, socket, isOpen: true, beganAtMs: 0, cutAtMs: 0, received: '' };
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.removeListener('error', reject);
      socket.on('error', () => {});
      client.beganAtMs = performance.now();
      socket.write(kinds[kind].first(host));
      socket.on('data', (chunk) => {
        if (client.cutAtMs === 0) client.cutAtMs = performance.now();
        client.received += chunk.toString('latin1').slice(0, 2_000);
      });
      socket.once('end', () => end(client));
      socket.once('close', () => end(client));
      if (kind === 'reader') socket.pause();
      clients.push(client);
      resolve();
    });
  });
}

function end(client) {
  if (!client.isOpen) return;
  client.isOpen = false;
  if (client.cutAtMs === 0) client.cutAtMs = performance.now();
  client.socket.destroy();
}

/** Each writes once in `trickleMs`, spread evenly: clients that have nothing to do with each other do not write in one moment. */
function trickle(tick, ticks) {
  for (let at = tick; at < clients.length; at += ticks) {
    const { kind, socket, isOpen } = clients[at];
    if (isOpen && kind !== 'reader') socket.write(kinds[kind].more);
  }
}

/** For each kind: how many are open, what those that were cut were told, and after how long they heard of it. */
function report() {
  const byKind = {};
  for (const { kind, isOpen, beganAtMs, cutAtMs, received } of clients) {
    byKind[kind] ??= { open: 0, told: {}, firstCutMs: Number.MAX_SAFE_INTEGER, lastCutMs: 0 };
    const found = byKind[kind];
    if (isOpen) {
      found.open++;
      continue;
    }
    const status = /^HTTP\/1\.1 (\d+)/.exec(received)?.[1] ?? 'nothing';
    const told = `${status} ${/weft-failure: (\S+)/i.exec(received)?.[1] ?? ''}`.trim();
    found.told[told] = (found.told[told] ?? 0) + 1;
    found.firstCutMs = Math.min(found.firstCutMs, cutAtMs - beganAtMs);
    found.lastCutMs = Math.max(found.lastCutMs, cutAtMs - beganAtMs);
  }
  return byKind;
}

function close() {
  clearInterval(timer);
  const { length } = clients;
  for (const { socket } of clients) socket.destroy();
  clients = [];
  return length;
}
