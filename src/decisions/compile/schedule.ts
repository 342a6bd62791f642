/** Weights made into a fixed order in which tickets walk: smooth, and exact in every full turn. */

/**
 * Reduces weights by their greatest common divisor and, where their sum is still above `sumMax`, rounds them to fit; a weight above 0
 * stays above 0. There are at most `sumMax` weights.
 */
export function fitWeights(weights: readonly number[], sumMax: number): number[] {
  const divisor = weights.reduce(greatestCommonDivisor, 0);
  if (divisor === 0) return weights.map(() => 0);
  const reduced = weights.map((weight) => weight / divisor);
  const sum = reduced.reduce((a, b) => a + b, 0);
  if (sum <= sumMax) return reduced;

  // Largest remainder, with at least 1 for each, so that the sum is `sumMax` exactly.
  const fitted = reduced.map((weight) => (weight === 0 ? 0 : Math.max(1, Math.floor((weight * sumMax) / sum))));
  let rest = sumMax - fitted.reduce((a, b) => a + b, 0);
  const byRemainder = reduced
    .map((weight, index) => ({ index, remainder: (weight * sumMax) / sum - fitted[index]! }))
    .sort((a, b) => b.remainder - a.remainder);
  for (let i = 0; rest > 0; i = (i + 1) % byRemainder.length, rest--) fitted[byRemainder[i]!.index]!++;
  // Many weights that were lifted to 1 take their room from the heaviest.
  while (rest < 0) {
    const heaviest = fitted.indexOf(Math.max(...fitted));
    const taken = Math.min(-rest, fitted[heaviest]! - 1);
    fitted[heaviest]! -= taken;
    rest += taken;
  }
  return fitted;
}

/**
 * Smooth weighted round robin (nginx, 2012): of the candidates, the one whose claim is highest is next, and pays the sum. 5/1/1 gives
 * a a b a c a a. Entries are indexes into `weights`, which were fitted; empty when all are 0.
 */
export function smoothSchedule(weights: readonly number[]): Uint16Array {
  const members: number[] = [];
  for (let i = 0; i < weights.length; i++) if (weights[i]! > 0) members.push(i);
  const sum = weights.reduce((a, b) => a + b, 0);
  if (sum === members.length) return Uint16Array.from(members);

  const classes = classesOf(members, weights);
  const schedule = new Uint16Array(sum);
  for (let entry = 0; entry < sum; entry++) {
    let best = classes[0]!;
    for (const one of classes) {
      // The turns of a class's first member have added its weight so often, and each entry that it got has cost the sum.
      one.claim = (entry + 1) * one.weight - one.rounds * sum;
      if (one.claim > best.claim || (one.claim === best.claim && nextOf(one) < nextOf(best))) best = one;
    }
    schedule[entry] = nextOf(best);
    if (++best.next < best.members.length) continue;
    best.next = 0;
    best.rounds++;
  }
  return schedule;
}

/** Members of the same weight have entries in turn, so that only the first of each class has to be compared: there are few weights. */
interface WeightClass {
  readonly weight: number;
  readonly members: readonly number[];
  /** Whose turn it is within the class. */
  next: number;
  /** How many entries each member before `next` has beyond those behind it, and those behind it have. */
  rounds: number;
  claim: number;
}

const nextOf = ({ members, next }: WeightClass): number => members[next]!;

function classesOf(members: readonly number[], weights: readonly number[]): WeightClass[] {
  const byWeight = new Map<number, number[]>();
  for (const member of members) {
    const weight = weights[member]!;
    const known = byWeight.get(weight);
    if (known === undefined) byWeight.set(weight, [member]);
    else known.push(member);
  }
  return Array.from(byWeight, ([weight, of]) => ({ weight, members: of, next: 0, rounds: 0, claim: 0 }));
}

/** Running sum, for drawing by weight. */
export function cumulativeWeights(weights: readonly number[]): Float64Array {
  let sum = 0;
  return Float64Array.from(weights, (weight) => {
    sum += weight;
    return sum;
  });
}

function greatestCommonDivisor(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}
