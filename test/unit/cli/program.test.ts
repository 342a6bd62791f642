import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { version } from '../../../src/model/version.ts';
import { weft } from './captured-terminal.ts';

const commands = [
  ...['control-plane', 'sidecar', 'run', 'apply', 'diff', 'get', 'describe', 'edit', 'delete', 'history', 'rollback'],
  ...['explain', 'status', 'stat', 'completion'],
];

describe('the command line', () => {
  it.each([
    [['aply', '-f', 'x'], /Did you mean apply/],
    [['apply', '-f', 'x', '--messag', 'x'], /Did you mean --message/],
    [['sidecar'], /--service <name>/],
    [['sidecar', '--service', 'Cart'], /lower-case/],
    [['sidecar', '--service', 'cart', '--outbound', '15001'], /Expected HOST:PORT/],
    [['sidecar', '--service', 'cart', '--outbound', '[:::::]:0'], /Expected HOST:PORT/],
    [['sidecar', '--service', 'cart', '--inbound', '1.2.3:0'], /Expected HOST:PORT/],
    [['sidecar', '--service', 'cart', '--outbound', '0.0.0.0:15001'], /open to other machines/],
    [['sidecar', '--service', 'cart', '--outbound', '127.0.0.1:15000'], /--outbound and --admin cannot both/],
    [['sidecar', '--service', 'cart', '--inbound', '127.0.0.1:0'], /--app/],
    [['sidecar', '--service', 'cart', '--config', 'a', '--control-plane', 'http://h:1'], /exclude each other/],
    [['sidecar', '--service', 'cart', '--control-plane', 'ftp://h:1'], /http:\/\/HOST:PORT/],
    [['sidecar', '--service', 'cart', '--control-plane', 'https://h:1'], /needs a join token/],
    [['sidecar', '--service', 'cart', '--outbound-http', 'nginx'], /uws, node/],
    [['sidecar', '--service', 'cart', '--drain-timeout', 'soon'], /duration/],
    [['run', '--service', 'cart', '--', 'true'], /--app-port/],
    [['run', '--service', 'cart', '--app-port', '0', '--', 'true'], /1 to 65535/],
    [['run', '--service', 'cart', '--app-port', '80'], /command/],
    [['control-plane', '--tls-cert', 'a.crt'], /--tls-cert and --tls-key belong together/],
    [['control-plane', '--tls-name', 'a b'], /host name/],
    [['control-plane', '--store', 'redis://h'], /embedded:DIR/],
    [['control-plane', '--listen', '127.0.0.1:7071'], /cannot both be/],
    [['get', 'pods'], /no kind "pods"/],
    [['get', 'services', '-o', 'xml'], /table, yaml, json/],
    [['delete'], /KIND NAME, KIND\/NAME, or -f FILE/],
    [['delete', 'service', 'cart', '-f', 'x'], /leave KIND, NAME/],
    [['apply', '-f', 'x', '--wait', 'forever'], /applied/],
    [['apply', '-f', 'x', '--wait', 'applied', '--percent', '0'], /1 to 100/],
    [['apply', '-f', 'x', '--wait', 'applied', '--percent', '9.5'], /1 to 100/],
    [['status', '--server', 'nowhere/at/all'], /http:\/\/HOST:PORT/],
    [['control-plane', '--history-count', '0'], /1 to 100000/],
    [['control-plane', '--history-age', '10s'], /1m to 87600h/],
    [['rollback', 'yesterday'], /number of a revision/],
    [['rollback'], /revision/],
  ])('refuses %j with code 2 and says why', async (args, reason) => {
    const { code, out, err } = await weft(args);
    expect(err).toMatch(reason);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).not.toMatch(/\n\s+at /);
  });

  it('shows the help, with code 2, when no command is named', async () => {
    const { code, err } = await weft([]);
    expect(code).toBe(2);
    for (const name of commands) expect(err).toContain(`  ${name} `);
  });

  it.each(commands)('describes %s with examples', async (name) => {
    const { code, out } = await weft([name, '--help']);
    expect(code).toBe(0);
    expect(out).toMatch(/^Usage: weft /);
    expect(out).toContain('Examples:');
    expect((await weft(['help', name])).out).toBe(out);
  });

  it('documents the exit codes and the environment', async () => {
    const { code, out } = await weft(['--help']);
    expect(code).toBe(0);
    expect(out).toMatch(/Exit codes: 0 done, 1 failed, 2 /);
    for (const name of ['WEFT_SERVER', 'WEFT_TOKEN', 'WEFT_CA', 'WEFT_LOG_LEVEL']) expect(out).toContain(name);
  });

  it('says the version of the package', async () => {
    expect(await weft(['--version'])).toEqual({ code: 0, out: '1.2.3', err: '' });
    expect(JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))).toMatchObject({
      version,
    });
  });
});
