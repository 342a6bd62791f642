/**
 * Random and mutated messages against a sidecar with the edge and one with the uWS listener: requests to an origin, and answers from it, that
 * believe nothing. What is held: no byte that is not HTTP reaches either end, every connection ends, both sidecars stay, and go on to serve.
 */
import { connect, type Socket } from 'node:net';
import { type Bench, call, type Running, residentMiB, until } from '../harness.ts';
import { service, startCart, startWeb } from '../static-mesh.ts';
import { answerCases } from './answer-cases.ts';
import { mutate, noise, seededRandom, segments } from './mutations.ts';
import { sendPieces } from './pieces.ts';
import { requestCases } from './request-cases.ts';
import { readAnswer } from './strict-answer.ts';
import { StrictOrigin } from './strict-origin.ts';

export interface FuzzReport {
  readonly messages: number;
  /** Requests that the origin read, and answers that were whole. */
  readonly requests: number;
  readonly answers: number;
  /** What broke a promise, each with the bytes that did. */
  readonly faults: readonly string[];
  /** Most of all sidecars together, MiB, in the first half, and in the second: at one moment a heap may be anywhere between two collections. */
  readonly residentBefore: number;
  readonly residentAfter: number;
}

export interface FuzzOptions {
  readonly messages: number;
  readonly seed: number;
  /** `residentMiB`: of each sidecar. */
  readonly onProgress?: (done: number, residentMiB: () => readonly number[]) => void;
}

const atOnce = 48;
/** A message that is not answered by then waits for more, which never comes. */
const quietMs = 40;
const faultsMax = 20;
const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

export async function fuzzSidecars(bench: Bench, { messages, seed, onProgress }: FuzzOptions): Promise<FuzzReport> {
  const random = seededRandom(seed);
  const origin = new StrictOrigin();
  origin.answer = { bytes: ok, after: 'keep' };
  const answering = { bytes: '' };
  const { address } = await bench.tcp(origin.serve);
  const answerer = await bench.tcp((socket) => socket.once('data', () => socket.end(answering.bytes, 'latin1')));
  const services = [service('cart', [address]), service('hostile', [answerer.address])];
  const cart = await startCart(bench, address);
  const behindHostile = await startCart(bench, answerer.address);
  const web = await startWeb(bench, services);
  const sidecars: Running[] = [cart, behindHostile, web];
  const requests = seedsOf(requestCases, ({ edge }) => edge.startsWith('arrives'));
  const answers = seedsOf(answerCases, ({ outcome }) => outcome.endsWith(']'));
  const faults: string[] = [];
  let requestsRead = 0;
  let answersRead = 0;
  const residents = () => sidecars.map(({ process }) => Math.round(residentMiB(process.pid!)));
  const resident = () => residents().reduce((sum, one) => sum + one, 0);
  let residentBefore = 0;
  let residentAfter = 0;

  for (let done = 0; done < messages && faults.length < faultsMax; done += atOnce) {
    const isAnswers = done % (2 * atOnce) !== 0;
    const pick = isAnswers ? answers : requests;
    const message = () =>
      random() < 0.1 ? noise(random) : mutate(pick[Math.floor(random() * pick.length)]!, pick, random);
    if (isAnswers) {
      // One for all clients of the batch: whatever each of them is told of it must be HTTP.
      answering.bytes = message();
      const told = await Promise.all(
        Array.from({ length: atOnce }, (_, i) =>
          exchange(
            i % 2 === 0 ? behindHostile.ready.inbound! : web.ready.outbound,
            [`GET /${i} HTTP/1.1\r\nHost: ${i % 2 === 0 ? 'cart' : 'hostile'}\r\nConnection: close\r\n\r\n`],
            2_000,
          ),
        ),
      );
      for (const { bytes, isEnded } of told) {
        try {
          if (!isEnded) throw new Error('no end of the connection');
          if (bytes !== '' && readAnswer(bytes, 'GET', isEnded).isWhole) answersRead++;
        } catch (error) {
          faults.push(`${(error as Error).message} of the answer ${JSON.stringify(answering.bytes)}`);
        }
      }
    } else {
      const batch = Array.from({ length: atOnce }, message);
      await Promise.all(
        batch.map((bytes, i) =>
          exchange(i % 2 === 0 ? cart.ready.inbound! : web.ready.outbound, segments(bytes, random), quietMs),
        ),
      );
      for (const fault of origin.faults) faults.push(`${fault} of one of ${JSON.stringify(batch)}`);
      requestsRead += origin.requests.length;
      origin.requests = [];
      origin.faults = [];
    }
    for (const { process } of sidecars)
      if (process.exitCode !== null) throw new Error(`a sidecar ended (seed ${seed})`);
    if (done < messages / 2) residentBefore = Math.max(residentBefore, resident());
    else residentAfter = Math.max(residentAfter, resident());
    onProgress?.(Math.min(messages, done + atOnce), residents);
  }
  await until('every connection has ended', async () => {
    const open = await Promise.all(sidecars.map(({ ready }) => connectionsOf(ready.admin)));
    return open.every((count) => count === 0);
  });
  for (const at of [cart.ready.inbound!, web.ready.outbound]) {
    const reply = await call(at, 'cart');
    if (reply.body !== 'ok') faults.push(`afterwards ${at} answers ${reply.status} ${reply.body}`);
  }
  return { messages, requests: requestsRead, answers: answersRead, faults, residentBefore, residentAfter };
}

/** What is valid counts four times: of what is not, most is refused at its first fault, and never read any further. */
function seedsOf<Case extends { readonly bytes: string }>(
  all: readonly Case[],
  isValid: (one: Case) => boolean,
): string[] {
  const short = all.filter(({ bytes }) => bytes.length < 20_000);
  const valid = short.filter(isValid);
  return [...short, ...valid, ...valid, ...valid].map(({ bytes }) => bytes);
}

/** Connections of clients, by the sidecar's own count. */
async function connectionsOf(admin: string): Promise<number> {
  const { body } = await call(admin, 'admin', '/metrics');
  const counts = [...body.matchAll(/^weft_listener_connections\{[^}]*\} (\d+)$/gm)].map(([, count]) => Number(count));
  if (counts.length === 0) throw new Error('the sidecar does not count its connections');
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Sends the segments, a turn of the loop apart, and reads until the connection ends, or nothing moves for `quietMs`. */
function exchange(
  address: string,
  pieces: readonly string[],
  quietMs: number,
): Promise<{ readonly bytes: string; readonly isEnded: boolean }> {
  const [host, port] = address.split(':');
  return new Promise((resolve) => {
    let bytes = '';
    const socket: Socket = connect({ host: host!, port: Number(port), noDelay: true }, () =>
      sendPieces(socket, pieces),
    );
    const end = (isEnded: boolean) => {
      clearTimeout(quiet);
      socket.destroy();
      resolve({ bytes, isEnded });
    };
    const quiet = setTimeout(end, quietMs, false);
    socket.on('data', (chunk) => {
      bytes += chunk.toString('latin1');
      quiet.refresh();
    });
    socket.on('error', () => {});
    socket.once('close', () => end(true));
  });
}
