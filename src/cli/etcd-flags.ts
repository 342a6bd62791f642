/** What a command needs beside the address of a store on etcd: certificates and a password, out of files or of the environment. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { type EtcdAccess, isEtcdUrl, parseEtcdUrl } from '../control/store/etcd-location.ts';
import { reasonOf, StoreError } from '../control/store/store-error.ts';
import { embeddedDirectory, unknownStore } from '../control/store/store-location.ts';
import { usageError } from './terminal.ts';

export interface EtcdFlags {
  readonly etcdCa?: string;
  readonly etcdCert?: string;
  readonly etcdKey?: string;
  readonly etcdPasswordFile?: string;
}

const fileBytesMax = 1024 * 1024;

export function addEtcdFlags(command: Command): Command {
  return command
    .option(
      '--etcd-ca <file>',
      'roots that etcds:// members are checked against, in PEM (default: those of the system)',
    )
    .option('--etcd-cert <file>', 'client certificate for etcds://, in PEM')
    .option('--etcd-key <file>', 'its key')
    .option('--etcd-password-file <file>', 'password of the USER in the address (or WEFT_ETCD_PASSWORD)');
}

/** @throws CliError (exit code 2) for an address that cannot be meant; it repeats no password. */
export function checkStoreUrl(flag: string, url: string): void {
  try {
    if (embeddedDirectory(url) !== null) return;
    if (!isEtcdUrl(url)) throw unknownStore();
    parseEtcdUrl(url);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    throw usageError(`${flag}: ${error.message}`);
  }
}

/** Of the stores that are named, whether embedded or not. Rejects with CliError (exit code 2). */
export async function readEtcdAccess(
  { etcdCa, etcdCert, etcdKey, etcdPasswordFile }: EtcdFlags,
  urls: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<EtcdAccess> {
  const hasFlag = [etcdCa, etcdCert, etcdKey].some((flag) => flag !== undefined);
  if (hasFlag && !urls.some((url) => url.startsWith('etcds:')))
    throw usageError('--etcd-ca, --etcd-cert and --etcd-key are for TLS: name the store as etcds://HOST:PORT.');
  if ((etcdCert === undefined) !== (etcdKey === undefined))
    throw usageError('--etcd-cert and --etcd-key belong together: name both, or neither.');
  const [caPem, certificatePem, keyPem, passwordText] = await Promise.all([
    readPem('--etcd-ca', etcdCa),
    readPem('--etcd-cert', etcdCert),
    readPem('--etcd-key', etcdKey),
    readSmall('--etcd-password-file', etcdPasswordFile),
  ]);
  const password = passwordText?.replace(/\r?\n$/, '') ?? env.WEFT_ETCD_PASSWORD ?? null;
  return { caPem, certificatePem, keyPem, password: password === '' ? null : password };
}

async function readPem(flag: string, file: string | undefined): Promise<string | null> {
  const text = await readSmall(flag, file);
  if (text !== null && !text.includes('-----BEGIN ')) throw usageError(`${flag} ${file} is not in PEM.`);
  return text;
}

async function readSmall(flag: string, file: string | undefined): Promise<string | null> {
  if (file === undefined) return null;
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw usageError(`${flag} ${file} cannot be read: ${reasonOf(error)}.`);
  }
  if (text.length > fileBytesMax) throw usageError(`${flag} ${file} is larger than ${fileBytesMax} bytes.`);
  return text;
}
