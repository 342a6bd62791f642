/** Serial numbers of certificates: random, so that they tell nothing and never meet (CA/Browser Forum asks for 64 bits of it). */
import { randomBytes } from 'node:crypto';

/** 128 bits in hex, positive and without leading zeros as DER wants it, 126 of them random. */
export function randomSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return bytes.toString('hex');
}
