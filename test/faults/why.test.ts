/** Twenty-one failures are planted, and the first line of `weft why` names what was planted, and nothing else that could have been. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { limits } from '../../src/model/limits.ts';
import { Bench } from '../e2e/harness.ts';
import { fieldsMax, type Planted, PlantedMesh, timeoutsMs } from '../e2e/planted-failures.ts';

const bench = new Bench();
let mesh: PlantedMesh;
beforeAll(async () => {
  mesh = await PlantedMesh.start(bench);
}, 180_000);
afterAll(() => bench.close());

interface Case {
  readonly name: string;
  readonly plant: () => Promise<Planted>;
  /** The whole line; times and what chance decides are patterns. */
  readonly says: () => RegExp;
  /** What must stand below the first line. */
  readonly below: RegExp;
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
/** `said`: literal, but for `<...>`, which is a pattern. */
const line = (said: string): RegExp =>
  new RegExp(
    `^${said
      .split(/<(.*?)>/)
      .map((part, i) => (i % 2 === 0 ? escaped(part) : part))
      .join('')}$`,
  );
const failed = (said: string): RegExp => line(`It failed after <[0-9.]+> ms with ${said}`);

/** Written down from what is planted, not from what is printed. */
const cases: readonly Case[] = [
  {
    name: 'unknown host',
    plant: () => mesh.call('nobody'),
    says: () => failed('404 unknown-service: No Service or route claims this host (nobody).'),
    below: /called +nobody, which no Service here claims/,
  },
  {
    name: 'no route',
    plant: () => mesh.call('cart', '/nothing'),
    says: () =>
      failed(
        '404 no-route: The Service has routes, and none of them matches this request (GET /nothing of cart.default).',
      ),
    below: /- default\/cart\/items: GET path \/items or below: no, its path is another one/,
  },
  {
    name: 'wrong method',
    plant: () => mesh.call('cart', '/items/7', { method: 'DELETE' }),
    says: () =>
      failed(
        '404 no-route: The Service has routes, and none of them matches this request (DELETE /items/7 of cart.default: rules take it with GET only).',
      ),
    below:
      /change +Use a method that the rules take[\s\S]*default\/cart\/items: GET path \/items or below: no, the method is DELETE/,
  },
  {
    name: 'weight 0',
    plant: () => mesh.call('cart', '/zero'),
    says: () =>
      failed(
        '500 no-backend: All backends of the route have weight 0, or it has none (default/cart/zero: default/cart has weight 0).',
      ),
    below: /\* default\/cart\/zero: path \/zero or below: it matches[\s\S]*backends +default\/cart weight 0/,
  },
  {
    name: 'all endpoints set aside after they could not be reached',
    plant: () => mesh.setAside(),
    says: () => {
      const [a, b] = mesh.closed.map(escaped);
      const tries = `<(${a}|${b})> connect-refused, <(${a}|${b})> connect-refused`;
      return failed(
        `503 connect-refused: The endpoint refused the connection (<(${a}|${b})>: set aside for a moment: connect ECONNREFUSED <(${a}|${b})>; before it ${tries}; all 2 endpoints of aside.default were tried).`,
      );
    },
    below: /endpoints .*no link to it could be made a moment ago: connect-refused/,
  },
  {
    name: 'all endpoints refusing',
    plant: () => mesh.call('refusing'),
    says: () => {
      const [a, b] = mesh.closed.map(escaped);
      const tries = `<(${a}|${b})> connect-refused, <(${a}|${b})> connect-refused`;
      return failed(
        `503 connect-refused: The endpoint refused the connection (<(${a}|${b})>; before it ${tries}; all 2 endpoints of refusing.default were tried).`,
      );
    },
    below: /endpoints .*weight 1, 0 requests at it.*tried or passed over/,
  },
  {
    name: 'request timeout',
    plant: () => mesh.call('slow'),
    says: () =>
      failed(
        `504 request-timeout: The request took longer than its timeout (The answer of ${mesh.tcp.silent} was not complete within ${timeoutsMs.request} ms (timeouts.request)).`,
      ),
    below: /timeouts\.request 200 ms/,
  },
  {
    name: 'per-try timeout',
    plant: () => mesh.call('try'),
    says: () =>
      failed(
        `504 per-try-timeout: The attempt took longer than its timeout (The answer of ${mesh.tcp.silent} did not begin within ${timeoutsMs.perTry} ms (timeouts.backendRequest)).`,
      ),
    below: /timeouts\.backendRequest 150 ms/,
  },
  {
    name: 'idle timeout',
    plant: () => mesh.call('idle'),
    says: () =>
      failed(
        `504 idle-timeout: No byte moved for longer than the idle timeout (Nothing came from ${mesh.tcp.silent} for ${timeoutsMs.idle} ms (timeouts.idle)).`,
      ),
    below: /timeouts\.idle 300 ms/,
  },
  {
    name: 'pool full',
    plant: () => mesh.poolFull(),
    says: () =>
      failed(
        `503 pool-full: The limit of connections and waiting requests to the endpoint is reached (${mesh.tcp.silent}: its ${limits.poolConnectionsMax} connections are busy, and ${limits.poolPendingMax} requests wait for one; before it ${mesh.tcp.silent} pool-full, ${mesh.tcp.silent} pool-full; it is the only endpoint of busy.default).`,
      ),
    below: /20\d\d requests at it/,
  },
  {
    name: 'body too large',
    plant: () => mesh.call('small', '/', { method: 'POST', body: 'x'.repeat(11) }),
    says: () =>
      failed(
        '413 body-too-large: The request body is larger than the limit (The body is larger than 10 bytes (spec.limits.requestBodyBytes of the Service small.default)).',
      ),
    below: /limits +requestBodyBytes 10/,
  },
  {
    name: 'header flood',
    plant: () => mesh.headerFlood(),
    says: () =>
      line(
        `It was refused with 431 headers-too-large before it became a request: The header fields are larger than the limit (There are more than ${fieldsMax} fields (--limit outbound.head-fields)).`,
      ),
    below: /listener +outbound \(outbound\)[\s\S]*asked +GET {2}cart {2}\/items/,
  },
  {
    name: 'reset before the answer',
    plant: () => mesh.call('resetting', '/', { method: 'POST' }),
    says: () =>
      failed(`502 upstream-reset: The endpoint closed the connection before it had answered (${mesh.tcp.resetting}).`),
    below: /attempts +1 of at most 3/,
  },
  {
    name: 'reset during the answer',
    plant: () => mesh.call('cutting'),
    says: () =>
      failed(`200 answer-cut: The endpoint closed the connection in the middle of its answer (${mesh.tcp.cutting}).`),
    below: /change +Look into the app's log/,
  },
  {
    name: 'garbage for an answer',
    plant: () => mesh.call('garbled'),
    says: () =>
      failed(
        `502 upstream-garbage: The endpoint answered with something that is not valid HTTP (${mesh.tcp.garbled}).`,
      ),
    below: /change +Mend the app/,
  },
  {
    name: 'expired certificate',
    plant: () => mesh.expiredCertificate(),
    says: () => {
      const { link } = mesh.linked.expired!.sidecar.ready;
      return failed(
        `503 link-handshake-failed: The TLS handshake of the link to the far sidecar failed (${link}: <(set aside for a moment: )?>its certificate has expired; before it ${link} link-handshake-failed, ${link} link-handshake-failed; it is the only endpoint of expired.default).`,
      );
    },
    below: /1\. \S+ link-handshake-failed: .*its certificate has expired/,
  },
  {
    name: 'wrong identity',
    plant: () => mesh.call('pay'),
    says: () => {
      const { link } = mesh.linked.other!.sidecar.ready;
      const [is, expected] = ['other', 'pay'].map((name) => `spiffe://weft.local/ns/default/sa/${name}`);
      return failed(
        `503 wrong-identity: The endpoint proved to be somebody else than it should be (${link}: <(set aside for a moment: )?>it is ${is}, not ${expected}; before it ${link} wrong-identity, ${link} wrong-identity; it is the only endpoint of pay.default).`,
      );
    },
    below: /change +Look who listens at that address/,
  },
  {
    name: 'drain',
    plant: () => mesh.drained(),
    says: () => {
      const { link } = mesh.linked.drained!.sidecar.ready;
      return failed(
        `503 draining: The far sidecar is draining, and takes no new link (${link}: <(set aside for a moment: )?><.*?>; before it ${link} draining, ${link} draining; it is the only endpoint of drained.default).`,
      );
    },
    below: /endpoints .*it drains/,
  },
  {
    name: 'stale configuration',
    plant: () => mesh.staleConfiguration(),
    says: () =>
      failed(
        '503 connect-refused: The endpoint refused the connection (<127\\.0\\.0\\.1:\\d+: .*>; it is the only endpoint of shop.default). Its configuration may be out of date since <20\\S+Z>: no control plane answers: <(?:it closed the connection|.*ECONNREFUSED).*>.',
      ),
    below: /change +First let this sidecar reach its control plane/,
  },
  {
    name: 'link lost',
    plant: () => mesh.linkLost(),
    says: () =>
      failed(
        `502 link-lost: The link to the far sidecar broke before it had answered (${mesh.linked.lost!.sidecar.ready.link}: the connection was closed).`,
      ),
    below: /change +Look whether the far sidecar ended or the network broke/,
  },
  {
    name: 'client gone',
    plant: () => mesh.clientGone(),
    says: () =>
      failed(
        `499 client-gone: The client went away before the answer was complete (before ${mesh.tcp.silent} had answered).`,
      ),
    below: /change +Look at the client's own timeout/,
  },
];

describe('the first line of `weft why`', () => {
  it('names the cause of each of 21 planted failures, and of no other', async () => {
    const told: { readonly name: string; readonly first: string; readonly rest: string; readonly index: number }[] = [];
    for (const [index, { name, plant }] of cases.entries()) {
      const { id, sidecar } = await plant();
      const { code, stdout, stderr } = await bench.run(['why', id, '--admin', sidecar.ready.admin]);
      expect([code, stderr], name).toEqual([0, '']);
      const [first = '', ...rest] = stdout.trimEnd().split('\n');
      told.push({ name, first, rest: rest.join('\n'), index });
      console.log(`${name}: ${first}`);
    }
    expect(told).toHaveLength(21);
    for (const { name, first, rest, index } of told) {
      expect(first, name).toMatch(cases[index]!.says());
      expect(rest, name).toMatch(cases[index]!.below);
      // A pattern that another cause could meet would say nothing.
      const met = cases.filter(({ says }) => says().test(first)).map((each) => each.name);
      expect(met, name).toEqual([name]);
    }
  });
});
