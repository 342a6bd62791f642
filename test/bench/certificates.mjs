// The keys and certificates of one run, made by openssl: a root, P-256 leaves for nginx and for the sidecars.
import { execFileSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';

export const trustDomain = 'weft.local';
export const identityOf = (service) => `spiffe://${trustDomain}/ns/default/sa/${service}`;

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

export class Certificates {
  constructor(room) {
    this.room = room;
    this.directory = room.makeDirectory('certificates');
    this.rootCertificate = join(this.directory, 'root.crt');
    this.rootKey = join(this.directory, 'root.key');
    openssl([
      ...['req', '-x509', ...newKey, '-keyout', this.rootKey, '-out', this.rootCertificate, '-days', '2'],
      ...['-subj', '/O=weft-bench/CN=root', '-addext', 'basicConstraints=critical,CA:TRUE'],
      ...['-addext', 'keyUsage=critical,keyCertSign,cRLSign', '-addext', `subjectAltName=URI:spiffe://${trustDomain}`],
    ]);
  }

  /** A leaf for both sides of a connection; `subjectAltName` as openssl writes it. */
  leaf(name, subjectAltName) {
    const certificate = join(this.directory, `${name}.crt`);
    const key = join(this.directory, `${name}.key`);
    openssl([
      ...['req', '-x509', ...newKey, '-keyout', key, '-out', certificate, '-days', '1'],
      ...['-CA', this.rootCertificate, '-CAkey', this.rootKey, '-subj', `/O=weft-bench/CN=${name}`],
      ...['-addext', 'basicConstraints=critical,CA:FALSE', '-addext', 'keyUsage=critical,digitalSignature'],
      ...['-addext', 'extendedKeyUsage=serverAuth,clientAuth', '-addext', `subjectAltName=${subjectAltName}`],
    ]);
    return { certificate, key };
  }

  /** A directory as `--identity-dir` wants it. */
  identityDir(service) {
    const directory = this.room.makeDirectory(`identity-${service}`);
    const { certificate, key } = this.leaf(`service-${service}`, `URI:${identityOf(service)}`);
    copyFileSync(certificate, join(directory, 'svid.pem'));
    copyFileSync(key, join(directory, 'key.pem'));
    copyFileSync(this.rootCertificate, join(directory, 'bundle.pem'));
    return directory;
  }
}

function openssl(args) {
  try {
    execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 10_000 });
  } catch (error) {
    throw new Error(`openssl ${args[0]} failed: ${String(error.stderr).trim().slice(-300)}`, { cause: error });
  }
}
