import net from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { frameType, linkCreditFirst, resetReason } from '../../../src/proxy/link/frames.ts';
import { createLinkListener } from '../../../src/proxy/link/link-server.ts';
import { FakeProxy } from '../listener/listener-fakes.ts';
import { frames, LinkRoom, until } from './link-room.ts';

let room: LinkRoom;

beforeEach(() => {
  room = new LinkRoom();
});
afterEach(() => room.close());

describe('a peer that wants to be a burden', () => {
  it('by handshakes that it never finishes is hung up on, and counted', async () => {
    const refused: string[] = [];
    const listener = await createLinkListener({
      host: '127.0.0.1',
      port: 0,
      acceptor: new FakeProxy(),
      security: { tag: 'mutual-tls', identity: { current: null, onChange: () => () => {} } },
      handshakeMs: 50,
      timer: room.timer,
      now: () => room.nowMs,
      onRefused: () => {},
      onCallerRefused: (reason) => refused.push(reason),
    });
    const port = Number(listener.address.split(':')[1]);
    const sockets = Array.from({ length: 20 }, () => net.connect({ host: '127.0.0.1', port }));
    let closed = 0;
    for (const socket of sockets) {
      socket.on('error', () => {});
      socket.resume();
      socket.once('close', () => closed++);
    }
    await until(() => closed === sockets.length);
    expect(refused).toHaveLength(sockets.length);
    await listener.close();
  });

  it('by streams that it opens and resets, and whose answers it gives no credit for, leaves nothing behind', async () => {
    const { address, proxy } = await room.listen();
    const peer = await room.connect(address);
    peer.send(frames.settings);
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    let gone = 0;
    const body = Buffer.alloc(8 * 1024);
    proxy.onAccept = (call) => {
      proxy.calls.length = 0;
      call.answer({ bodyBytes: body.length }, body.toString('latin1'));
      call.whenChanged = () => {
        if (call.gone > 0) gone++;
      };
    };
    const rounds = 200;
    const perRound = 100;
    let id = 0;
    // The first of them take all the credit that the link has.
    const first = Math.ceil(linkCreditFirst / body.length);
    peer.send(...Array.from({ length: first }, () => frames.open(++id)));
    await until(() => peer.dataBytes === linkCreditFirst);
    peer.heard.length = 0;
    gc();
    const before = process.memoryUsage();
    for (let round = 1; round <= rounds; round++) {
      const ids = Array.from({ length: perRound }, () => ++id);
      peer.send(...ids.map((each) => frames.open(each)));
      await until(() => peer.all(frameType.head).length === perRound);
      peer.heard.length = 0;
      peer.send(...ids.map((each) => frames.reset(each, resetReason.cancelled)));
      await until(() => gone === round * perRound);
    }
    // Kept, each would be some 800 bytes.
    await until(() => {
      gc();
      return process.memoryUsage().heapUsed - before.heapUsed < 8 * 1024 * 1024;
    }, 'the memory of the streams that were reset to be given back');
  }, 60_000);
});
