/** What a control plane makes of too much: each refusal is clear, what was held is given back, and others are served meanwhile. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { until } from '../e2e/harness.ts';
import { WatchCrowd } from '../fixtures/watch-crowd.ts';
import { type ApiUnderTest, expectProblem, service } from './api-harness.ts';
import { apiRoom } from './api-room.ts';

const { cleanups, start } = apiRoom();

function raw(api: ApiUnderTest, head: string): { socket: Socket; text: () => string } {
  const [host, port] = api.plane.api.split(':') as [string, string];
  const socket = connect(Number(port), host);
  cleanups.push(() => socket.destroy());
  socket.on('error', () => undefined);
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
  });
  socket.write(`${head}\r\nhost: ${host}\r\n`);
  return { socket, text: () => text };
}

const big = (name: string, chars: number) => service(name, {}, { annotations: { note: 'x'.repeat(chars) } });

describe('a crowd of watchers', () => {
  it('is served as far as there is room, and told to come back beyond it', async () => {
    const api = await start({ watchersMax: 60 });
    const crowd = await WatchCrowd.open(api.plane.api, 300);
    cleanups.push(() => crowd.close());
    expect(crowd.answers).toEqual({ 200: 60, 503: 240 });
    for (const refusal of crowd.refusals) {
      expect(refusal).toMatch(/\r\nretry-after: 1\r\n/);
      expect(refusal).toContain('"code":"too-many-watchers"');
    }
    expect((await api.put('/v1/services/default/cart', service('cart'))).status).toBe(201);
    await until('all hear of it', () => crowd.countOf('"name":"cart"') === 60);
    crowd.close();
    await until('there is room again', async () => {
      const again = await WatchCrowd.open(api.plane.api, 1);
      again.close();
      return again.answers['200'] === 1;
    });
  });
});

describe('large bodies', () => {
  it('have room for so many at once, and their room is given back', async () => {
    const api = await start({ heldBytes: { bodyBytesMax: 1_000_000 } });
    const half = 'x'.repeat(600_000);
    const send = () => {
      const one = raw(api, 'POST /v1/transactions HTTP/1.1');
      one.socket.write(`content-type: application/json\r\ncontent-length: 700000\r\n\r\n${half}`);
      return one;
    };
    const first = send();
    // What the second one brings is too much beside the first, whichever of them is read first.
    const second = send();
    await until('one is refused', () => `${first.text()}${second.text()}`.includes('HTTP/1.1 503'));
    expect(`${first.text()}${second.text()}`).toMatch(/retry-after: 1\r\n/);
    expect(`${first.text()}${second.text()}`).toContain('Too much is being sent at once');
    const refused = first.text().includes('503') ? first : second;
    if (!refused.socket.closed) await once(refused.socket, 'close');
    // The other one goes on.
    const other = refused === first ? second : first;
    other.socket.write('x'.repeat(100_000));
    await until('the other is read', () => other.text().includes('HTTP/1.1 400'));
    other.socket.destroy();
    await until('there is room', async () => (await api.put('/v1/services/default/a', big('a', 700_000))).status < 300);
    // Again and again: nothing is lost of the room.
    for (let round = 0; round < 5; round++)
      expect((await api.put('/v1/services/default/a', big('a', 700_000 + round))).status).toBe(200);
  });

  it('that break off give their room back', async () => {
    const api = await start({ heldBytes: { bodyBytesMax: 1_000_000 } });
    for (let round = 0; round < 5; round++) {
      const one = raw(api, 'POST /v1/transactions HTTP/1.1');
      one.socket.write(`content-type: application/json\r\ncontent-length: 900000\r\n\r\n${'x'.repeat(800_000)}`);
      await until('it is there', () => one.socket.bytesWritten > 800_000 && one.socket.writableLength === 0);
      one.socket.destroy();
    }
    await until('there is room', async () => (await api.put('/v1/services/default/a', big('a', 800_000))).status < 300);
  });
});

describe('large answers', () => {
  const list = 'GET /v1/services HTTP/1.1';

  it('have room for so many at once; who takes nothing of his is cut, and the room is free again', async () => {
    const api = await start({ heldBytes: { answerBytesMax: 30_000_000, answerIdleMs: 1_000 } });
    for (let i = 0; i < 20; i++) await api.put(`/v1/services/default/s${i}`, big(`s${i}`, 1_000_000));
    const lazy = raw(api, list);
    lazy.socket.write('\r\n');
    await once(lazy.socket, 'data');
    lazy.socket.pause();
    // His 20 MB are on their way (the kernel takes up to ten), and leave no room for 20 more.
    await until('another one finds no room', async () => {
      const answer = await api.get('/v1/services');
      if (answer.status === 200) return false;
      expectProblem(answer, 503, 'unavailable', /Too many large answers/);
      expect(answer.headers.get('retry-after')).toBe('1');
      return true;
    });
    // Small ones are not in the way.
    expect((await api.get('/v1/status')).status).toBe(200);
    await until('he is cut', async () => (await api.get('/v1/services')).status === 200);
    lazy.socket.resume();
    if (!lazy.socket.closed) await once(lazy.socket, 'close');
    expect(lazy.text().length).toBeLessThan(20_000_000);
  });
});
