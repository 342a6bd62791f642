// A steady stream of requests: each at its time, whatever became of the one before, so that a slow answer does not hide later ones.
import { Agent, get } from 'node:http';

const requestTimeoutMs = 10_000;
const reasonsKept = 5;

/** What became of the requests that began in one phase. */
class Tally {
  answers = 0;
  failed = 0;
  byVersion = new Map();

  get sent() {
    return this.answers + this.failed;
  }
}

export class Traffic {
  #url;
  #intervalMs;
  #agent = new Agent({ keepAlive: true, timeout: 4_000, maxSockets: 64 });
  #timer = null;
  #startedAtMs = 0;
  #sent = 0;
  #underWay = new Set();
  #phase = new Tally();
  /** Over all phases. */
  failed = 0;
  /** Why the first few failed. */
  reasons = [];

  constructor(url, requestsPerSecond) {
    this.#url = url;
    this.#intervalMs = 1000 / requestsPerSecond;
  }

  start() {
    this.#startedAtMs = performance.now();
    this.#timer = setInterval(() => this.#sendDue(), this.#intervalMs);
  }

  /** Requests from now on are counted anew; answers with the tally so far, once the requests that it counts are done. */
  async nextPhase() {
    const ended = this.#phase;
    this.#phase = new Tally();
    await Promise.all(this.#underWay);
    return ended;
  }

  /** Resolves once the last request is done. */
  async stop() {
    clearInterval(this.#timer);
    const last = await this.nextPhase();
    this.#agent.destroy();
    return last;
  }

  #sendDue() {
    const due = Math.floor((performance.now() - this.#startedAtMs) / this.#intervalMs);
    for (; this.#sent < due; this.#sent++) {
      const request = this.#send(this.#phase).finally(() => this.#underWay.delete(request));
      this.#underWay.add(request);
    }
  }

  async #send(tally) {
    try {
      const { version } = JSON.parse(await this.#fetch());
      tally.answers++;
      tally.byVersion.set(version, (tally.byVersion.get(version) ?? 0) + 1);
    } catch (error) {
      tally.failed++;
      this.failed++;
      if (this.reasons.length < reasonsKept) this.reasons.push(error.message);
    }
  }

  #fetch() {
    return new Promise((resolve, reject) => {
      const signal = AbortSignal.timeout(requestTimeoutMs);
      const request = get(this.#url, { agent: this.#agent, signal }, (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () => {
          const text = Buffer.concat(chunks).toString();
          if (response.statusCode === 200) resolve(text);
          else
            reject(new Error(`${response.statusCode} ${response.headers['weft-failure'] ?? ''} ${text.slice(0, 200)}`));
        });
      });
      request.once('error', reject);
    });
  }
}
