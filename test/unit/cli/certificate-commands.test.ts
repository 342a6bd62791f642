import { describe, expect, it } from 'vitest';
import { weft } from './captured-terminal.ts';
import { type Answer, fakeControlPlane } from './fake-control-plane.ts';

const old = 'a'.repeat(64);
const next = 'b'.repeat(64);
const root = (sha256: string, more: object = {}) => ({
  sha256,
  subject: `CN=${sha256[0]}`,
  notBefore: '2025-01-01T00:00:00.000Z',
  notAfter: '2035-01-01T00:00:00.000Z',
  addedAt: '2025-01-01T00:00:00.000Z',
  retiresAt: null,
  isSigning: false,
  ...more,
});
const authority = {
  trustDomain: 'weft.local',
  certificateTtlSeconds: 3600,
  requiresJoinToken: false,
  signing: old,
  roots: [root(old, { isSigning: true })],
  waitingFor: [],
};
const late = { sidecar: 's1', service: 'cart', namespace: 'shop' };
const problem = (status: number, code: string, detail: string, more: object = {}): Answer => ({
  status,
  body: { type: 'about:blank', title: code, status, detail, code, ...more },
});

describe('weft token create', () => {
  const made = {
    token: 'h.c.s',
    expiresAt: '2025-01-02T00:10:00.000Z',
    spiffeId: 'spiffe://weft.local/ns/shop/sa/cart',
  };

  it.each([
    [['--service', 'cart'], /--join for a sidecar of a Service/],
    [['--join', '--service', 'cart', '--role', 'admin'], /not for --join/],
    [['--join', '--service', 'cart', '--ttl', 'none'], /1s to 720h/],
    [['--join'], /--service/],
    [['--join', '--service', 'Cart'], /NAME or NAME\.NAMESPACE/],
    [['--join', '--service', 'cart', '--ttl', '0s'], /1s to 720h/],
    [['--join', '--service', 'cart', '--ttl', '721h'], /1s to 720h/],
    [['--join', '--service', 'cart', '--ttl', 'soon'], /1s to 720h/],
    [['--join', '--service', 'cart', '-o', 'xml'], /text, yaml, json/],
  ])('does not take %j', async (args, message) => {
    const said = await weft(['token', 'create', ...args]);
    expect([said.code, said.out]).toEqual([2, '']);
    expect(said.err).toMatch(message);
  });

  it('prints the token alone, and what it is for beside it', async () => {
    const plane = await fakeControlPlane(() => ({ status: 200, body: made }));
    const flags = ['--join', '--service', 'cart.shop', '--ttl', '10m', '--server', plane.url];
    const said = await weft(['token', 'create', ...flags]);
    expect(said).toEqual({
      code: 0,
      out: 'h.c.s',
      err: 'for spiffe://weft.local/ns/shop/sa/cart, valid until 2025-01-02T00:10:00.000Z',
    });
    expect(plane.asked[0]).toMatchObject({
      method: 'POST',
      url: '/v1/join-tokens',
      body: { service: 'cart', namespace: 'shop', ttlSeconds: 600 },
    });
    expect(JSON.parse((await weft(['token', 'create', ...flags, '-o', 'json'])).out)).toEqual(made);
  });

  it('says why there is none', async () => {
    const plane = await fakeControlPlane(() => problem(503, 'unavailable', 'Not now.'));
    const said = await weft(['token', 'create', '--join', '--service', 'cart', '--server', plane.url]);
    expect(said).toEqual({ code: 1, out: '', err: 'Not now.' });
    expect(plane.asked[0]?.body).toEqual({ service: 'cart', namespace: 'default', ttlSeconds: 3600 });
  });
});

describe('weft ca status', () => {
  it('shows what each root is for', async () => {
    const roots = [
      root(old, { retiresAt: '2025-01-02T01:00:00.000Z' }),
      root('c'.repeat(64)),
      root(next, { isSigning: true }),
    ];
    const plane = await fakeControlPlane(() => ({ status: 200, body: { ...authority, roots, signing: next } }));
    const { code, out } = await weft(['ca', 'status', '--server', plane.url]);
    expect(code).toBe(0);
    expect(out).toContain('trust domain weft.local, certificates live 3600 s, no join token was made yet');
    const states = out.split('\n').flatMap((line) => /^([abc]{12}) +(\w+) .*?Z +(\S+)/.exec(line)?.slice(1) ?? []);
    expect(states).toEqual([
      ...[old.slice(0, 12), 'leaving', '2025-01-02T01:00:00.000Z'],
      ...['cccccccccccc', 'believed', '-'],
      ...[next.slice(0, 12), 'signing', '-'],
    ]);
  });

  it('says whom the next root waits for, and when nothing is signed', async () => {
    const body = { ...authority, requiresJoinToken: true, signing: null, roots: [root(old)], waitingFor: [late] };
    const plane = await fakeControlPlane(() => ({ status: 200, body }));
    const { out } = await weft(['ca', 'status', '--server', plane.url]);
    expect(out).toContain(
      'sidecars need a join token\nno certificates are signed now\nwaiting for 1 sidecar: cart.shop (s1)',
    );
    expect(out).toMatch(/aaaaaaaaaaaa +joining/);
    expect(JSON.parse((await weft(['ca', 'status', '-o', 'json', '--server', plane.url])).out)).toEqual(body);
  });
});

describe('weft ca rotate', () => {
  it('names the sidecars that did not answer, and fails', async () => {
    const plane = await fakeControlPlane(({ method }) =>
      method === 'GET'
        ? { status: 200, body: authority }
        : problem(504, 'not-applied', 'Rotate again to go on.', {
            missing: [late],
            refused: [{ ...late, sidecar: 's2', reason: 'no room' }],
          }),
    );
    const said = await weft(['ca', 'rotate', '--timeout', '2s', '--server', plane.url]);
    expect([said.code, said.out]).toEqual([1, '']);
    expect(said.err).toBe(
      'Rotate again to go on.\n  cart.shop (s2) refused it: no room\n  cart.shop (s1) has not answered',
    );
    expect(plane.asked.map(({ url }) => url)).toContain('/v1/ca/rotate?timeoutMs=2000');
  });

  it('says other refusals as they are', async () => {
    const plane = await fakeControlPlane(() => problem(503, 'not-signing', 'It does not sign.'));
    expect(await weft(['ca', 'rotate', '--server', plane.url])).toMatchObject({ code: 1, err: 'It does not sign.' });
  });

  it('says whom it waits for, once', async () => {
    let [asked, answerRotation] = [0, (_: Answer) => {}];
    const rotated = new Promise<Answer>((resolve) => {
      answerRotation = resolve;
    });
    const plane = await fakeControlPlane(({ method }) => {
      if (method === 'POST') return rotated;
      // Who asks a second time has said what the first answer told.
      if (++asked === 2) answerRotation({ status: 200, body: authority });
      return { status: 200, body: { ...authority, waitingFor: [late] } };
    });
    const said = await weft(['ca', 'rotate', '--server', plane.url]);
    expect([said.code, said.err]).toEqual([0, 'waiting for 1 sidecar: cart.shop (s1)']);
  });

  it('shows what is so afterwards', async () => {
    const body = { ...authority, signing: next, roots: [root(old), root(next, { isSigning: true })] };
    const plane = await fakeControlPlane(() => ({ status: 200, body }));
    const { code, out } = await weft(['ca', 'rotate', '--server', plane.url]);
    expect(code).toBe(0);
    expect(out).toContain('certificates are signed with bbbbbbbbbbbb now');
    expect(out).toMatch(/bbbbbbbbbbbb +signing/);
    expect(JSON.parse((await weft(['ca', 'rotate', '-o', 'json', '--server', plane.url])).out)).toEqual(body);
  });

  it.each([
    [true, 'Join tokens that were made before are void: make new ones with weft token create --join.'],
    [false, ''],
  ])('with join tokens %s says on standard error %j', async (requiresJoinToken, err) => {
    const body = { ...authority, requiresJoinToken };
    const plane = await fakeControlPlane(() => ({ status: 200, body }));
    expect(await weft(['ca', 'rotate', '--server', plane.url])).toMatchObject({ code: 0, err });
  });
});

describe('weft control-plane', () => {
  it.each([
    [['--trust-domain', 'Mesh'], /lower-case letters/],
    [['--trust-domain', 'a/b'], /lower-case letters/],
    [['--certificate-ttl', '9s'], /10s to 168h/],
    [['--certificate-ttl', '169h'], /10s to 168h/],
    [['--certificate-ttl', '1d'], /10s to 168h/],
  ])('does not take %j', async (flags, message) => {
    const said = await weft(['control-plane', ...flags]);
    expect([said.code, said.out]).toEqual([2, '']);
    expect(said.err).toMatch(message);
  });
});
