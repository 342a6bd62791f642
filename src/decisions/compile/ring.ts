/** The ring of RingHash (ketama): every endpoint owns points on a circle of 2^32, a key goes to the next point. */
import { limits } from '../../model/limits.ts';
import { xxhash } from '../../proxy/hash-key.ts';

export interface RingMember {
  readonly address: string;
  readonly weight: number;
}

export interface Ring {
  /** Ascending. */
  readonly positions: Uint32Array;
  /** Index of the member that owns each point. */
  readonly owners: Uint16Array;
}

/**
 * Fewer make shares too uneven: an endpoint's share scatters by 1/sqrt(points), and adding one to N must move at most 1.2/(N+1) of the
 * keys; with 512 that is 4.5 standard deviations away.
 */
const pointsPerMemberMin = 512;

const isLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** A power of two, so that `owner` fits below a position in one float64 that the engine can sort natively. */
const ownerRange = 2 ** 16;

/** Members have weight; `entriesMin` is the least number of points in all. */
export function buildRing(members: readonly RingMember[], entriesMin: number): Ring {
  const counts = pointCounts(members, entriesMin);
  const points = new Float64Array(counts.reduce((a, b) => a + b, 0));
  const hash = new BigUint64Array(1);
  const [low, high] = isLittleEndian ? [0, 1] : [1, 0];
  const halves = new Uint32Array(hash.buffer);
  const text = new TextEncoder();
  let at = 0;
  for (let member = 0; member < members.length; member++) {
    const address = text.encode(members[member]!.address);
    const count = counts[member]!;
    // As ketama does, one hash yields several points: here its two halves.
    for (let i = 0; i < count; i += 2) {
      hash[0] = xxhash.h64Raw(address, BigInt(i));
      points[at++] = halves[high]! * ownerRange + member;
      if (i + 1 < count) points[at++] = halves[low]! * ownerRange + member;
    }
  }
  points.sort();
  const positions = new Uint32Array(points.length);
  const owners = new Uint16Array(points.length);
  for (let i = 0; i < points.length; i++) {
    positions[i] = Math.floor(points[i]! / ownerRange);
    owners[i] = points[i]! % ownerRange;
  }
  return { positions, owners };
}

/**
 * Points per member. The lightest gets a power of two that does not change as members come and go (but where a large ring is asked for
 * and their number passes a power of two): were it a share of a fixed total, every change would move keys between the others too.
 */
function pointCounts(members: readonly RingMember[], entriesMin: number): number[] {
  const lightest = members.reduce((least, { weight }) => Math.min(least, weight), Number.POSITIVE_INFINITY);
  const asked = 2 ** Math.ceil(Math.log2(entriesMin / members.length));
  const points = Math.max(pointsPerMemberMin, asked);
  const shares = members.map(({ weight }) => weight / lightest);
  const total = points * shares.reduce((a, b) => a + b, 0);
  const scale = points * Math.min(1, limits.ringEntriesMax / total);
  return shares.map((share) => Math.max(1, Math.floor(share * scale)));
}
