/** The trailers of a request, as an HTTP/1.1 endpoint reads them. */
import { afterEach, describe, expect, it } from 'vitest';
import { headerList } from '../../../src/proxy/headers.ts';
import { get, makePool, type Origin, okEmpty, Recording, startOrigin } from './recording.ts';

let origin: Origin | null = null;
afterEach(() => {
  origin?.close();
  origin = null;
});

describe('a chunked request', () => {
  it.each<[string, string[], string]>([
    ['with trailers', ['X-Sum', 'caf\xe9', 'x-t', ''], '3\r\nabc\r\n0\r\nX-Sum: caf\xe9\r\nx-t: \r\n\r\n'],
    ['without', [], '3\r\nabc\r\n0\r\n\r\n'],
  ])('%s ends with them', async (_, trailers, body) => {
    let received = '';
    origin = await startOrigin((socket) => {
      socket.on('data', (bytes) => {
        received += bytes.toString('latin1');
        if (/\r\n0\r\n.*\r\n$/s.test(received) && received.endsWith('\r\n\r\n')) socket.write(okEmpty);
      });
    });
    const pool = makePool(origin.port);
    const recording = new Recording();
    const stream = pool.open({ ...get, method: 'POST', bodyBytes: -1 }, recording);
    stream.write(Buffer.from('abc'));
    stream.end(headerList(trailers));
    await recording.ended;
    pool.destroy();
    expect(recording.head?.status).toBe(200);
    expect(received.slice(received.indexOf('\r\n\r\n') + 4)).toBe(body);
  });

  it('of a known length has none to carry them, and sends none', async () => {
    let received = '';
    origin = await startOrigin((socket) => {
      socket.on('data', (bytes) => {
        received += bytes.toString('latin1');
        if (received.endsWith('abc')) socket.write(okEmpty);
      });
    });
    const pool = makePool(origin.port);
    const recording = new Recording();
    const stream = pool.open({ ...get, method: 'POST', bodyBytes: 3 }, recording);
    stream.write(Buffer.from('abc'));
    stream.end(headerList(['X-Sum', '1']));
    await recording.ended;
    pool.destroy();
    expect(received.endsWith('Content-Length: 3\r\n\r\nabc')).toBe(true);
  });
});
