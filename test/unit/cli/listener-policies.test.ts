/** The flags that say what a listener makes of requests. */
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { addSidecarFlags, type SidecarFlags, sidecarOptionsOf } from '../../../src/cli/sidecar-flags.ts';

/** Of a sidecar with a listener of every kind. */
function policiesOf(...args: string[]) {
  return policiesAt(true, '--inbound', '127.0.0.1:0', ...args);
}

function policiesAt(hasApp: boolean, ...args: string[]) {
  const command = addSidecarFlags(new Command())
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  const flags = command.parse(['--service', 'cart', ...args], { from: 'user' }).opts<SidecarFlags>();
  return sidecarOptionsOf(flags, hasApp ? { host: '127.0.0.1', port: 1 } : null).listenerPolicies;
}

const off = { paths: 'normalise', forwarding: { xForwarded: 'off', forwarded: 'off', addsVia: false } };

describe('the policies of the listeners', () => {
  it('are off where nobody outside the mesh calls, and append X-Forwarded fields where they do', () => {
    expect(policiesOf()).toEqual({
      outbound: off,
      inbound: { paths: 'normalise', forwarding: { xForwarded: 'append', forwarded: 'off', addsVia: false } },
      link: off,
    });
  });

  it('are said for each listener', () => {
    const args =
      '--paths inbound=refuse --paths link=raw --x-forwarded inbound=replace --x-forwarded outbound=append ' +
      '--forwarded inbound=append --via link=on --via inbound=off';
    expect(policiesOf(...args.split(' '))).toEqual({
      outbound: { paths: 'normalise', forwarding: { xForwarded: 'append', forwarded: 'off', addsVia: false } },
      inbound: { paths: 'refuse', forwarding: { xForwarded: 'replace', forwarded: 'append', addsVia: false } },
      link: { paths: 'raw', forwarding: { xForwarded: 'off', forwarded: 'off', addsVia: true } },
    });
  });

  it.each([
    ['--paths', 'refuse', /Expected LISTENER=VALUE: outbound, inbound, link and normalise, refuse, raw/],
    ['--paths', 'admin=raw', /Expected LISTENER=VALUE/],
    ['--paths', '__proto__=raw', /Expected LISTENER=VALUE/],
    ['--x-forwarded', 'inbound=on', /append, replace, off, for instance inbound=replace/],
    ['--forwarded', 'inbound=append=off', /Expected LISTENER=VALUE/],
    ['--via', 'link=append', /on, off/],
  ])('%s %s cannot be meant', (flag, value, message) => {
    expect(() => policiesOf(flag, value)).toThrow(message);
  });

  it('are said once', () => {
    expect(() => policiesOf('--via', 'link=on', '--via', 'link=off')).toThrow(/--via is said twice of link/);
  });

  it.each(['--paths inbound=raw', '--x-forwarded inbound=replace', '--forwarded inbound=append', '--via inbound=off'])(
    '%s needs its listener',
    (given) => {
      const message = `${given.split('=')[0]}: there is no inbound listener (--inbound).`;
      expect(() => policiesAt(false, ...given.split(' '))).toThrow(expect.objectContaining({ message, exitCode: 2 }));
      expect(() => policiesAt(true, ...given.split(' '), '--advertise', '127.0.0.1')).toThrow(message);
      expect(() => policiesOf(...given.split(' '))).not.toThrow();
    },
  );

  it('need a link, which is there with an app and a control plane', () => {
    const given = ['--paths', 'link=raw'];
    const message = '--paths link: there is no link listener (--link).';
    expect(() => policiesAt(false, ...given)).toThrow(message);
    expect(() => policiesAt(true, '--config', 'mesh.yaml', '--inbound', '127.0.0.1:0', ...given)).toThrow(message);
    expect(policiesAt(true, '--advertise', '127.0.0.1', ...given).link.paths).toBe('raw');
    expect(policiesAt(true, '--insecure-link', '--link', '127.0.0.1:0', ...given).link.paths).toBe('raw');
  });
});
