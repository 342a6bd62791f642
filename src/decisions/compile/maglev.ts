/** The look-up table of Maglev ("Maglev: A Fast and Reliable Software Network Load Balancer", Eisenbud et al. 2016), with weights. */
import { limits } from '../../model/limits.ts';
import { xxhash } from '../../proxy/hash-key.ts';
import type { RingMember } from './ring.ts';

const size = limits.maglevEntries;
const unowned = 0xffff;

/** Each entry is the index of the member that owns it. Members have weight; there are fewer than entries. */
export function buildMaglev(members: readonly RingMember[]): Uint16Array {
  const table = new Uint16Array(size).fill(unowned);
  const next = new Int32Array(members.length);
  const skips = new Int32Array(members.length);
  for (let i = 0; i < members.length; i++) {
    const { address } = members[i]!;
    next[i] = Number(xxhash.h64(address, 0n) % BigInt(size));
    skips[i] = Number(xxhash.h64(address, 1n) % BigInt(size - 1)) + 1;
  }
  // A member takes its turn whenever its credit reaches that of the heaviest, which takes one in every round (Envoy).
  const heaviest = members.reduce((most, { weight }) => Math.max(most, weight), 0);
  const credits = new Float64Array(members.length);
  for (let taken = 0; ; ) {
    for (let i = 0; i < members.length; i++) {
      credits[i]! += members[i]!.weight;
      if (credits[i]! < heaviest) continue;
      credits[i]! -= heaviest;
      let at = next[i]!;
      while (table[at] !== unowned) at = (at + skips[i]!) % size;
      table[at] = i;
      next[i] = (at + skips[i]!) % size;
      if (++taken === size) return table;
    }
  }
}
