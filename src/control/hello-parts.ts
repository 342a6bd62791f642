/** A Hello that comes in several frames, gathered: each part is looked at once, and the whole is made when the last one is there. */
import { limits } from '../model/limits.ts';
import type { Hello } from '../wire/sidecar-frame.ts';
import { faultOfHello, type HelloFault, tooManyObjects, tooManySubscriptions } from './hello-check.ts';

export class HelloParts {
  readonly #held = new Map<string, string>();
  readonly #hosts = new Set<string>();
  #count = 0;
  #bytes = 0;

  /** `bytes`: how long its frame was. Null: nothing is wrong with it. */
  add(part: Hello, bytes: number): HelloFault | null {
    const fault = faultOfHello(part);
    if (fault !== null) return fault;
    this.#bytes += bytes;
    if (++this.#count > limits.helloPartsMax || this.#bytes > limits.helloBytesMax) return tooLarge;
    for (const [key, version] of part.held) this.#held.set(key, version);
    for (const host of part.hosts) this.#hosts.add(host);
    if (this.#held.size > limits.heldObjectsMax) return tooManyObjects;
    return this.#hosts.size > limits.subscriptionsMax ? tooManySubscriptions : null;
  }

  /** Hosts are in it once. All but these lists is as the last part says. */
  whole(last: Hello): Hello {
    return { ...last, held: this.#held, hosts: [...this.#hosts] };
  }
}

const tooLarge: HelloFault = {
  code: 'bad-hello',
  message: `a Hello has at most ${limits.helloPartsMax} parts and ${limits.helloBytesMax} bytes`,
};
