/**
 * Which of many names occur most, in room for a few (Metwally, Agrawal, El Abbadi: Efficient computation of frequent and top-k elements, 2005):
 * who finds no room takes that of the rarest and inherits its count as what may be too much. What is told is what was surely counted.
 */
export interface Counted<Value> {
  readonly value: Value;
  /** At least so often. */
  readonly count: number;
}

interface Place<Value> {
  readonly value: Value;
  count: number;
  /** How much of the count may be that of those who had the place before. */
  readonly inherited: number;
}

export class Busiest<Value> {
  private readonly places = new Map<string, Place<Value>>();

  constructor(private readonly placesMax: number) {}

  note(name: string, value: Value): void {
    const place = this.places.get(name);
    if (place !== undefined) {
      place.count++;
      return;
    }
    const inherited = this.places.size < this.placesMax ? 0 : this.dismissRarest();
    this.places.set(name, { value, count: inherited + 1, inherited });
  }

  /** Busiest first, those that were surely there more than once; and begins anew. */
  take(): readonly Counted<Value>[] {
    const counted = Array.from(this.places.values(), ({ value, count, inherited }) => ({
      value,
      count: count - inherited,
    }));
    this.places.clear();
    return counted.filter(({ count }) => count > 1).sort((a, b) => b.count - a.count);
  }

  private dismissRarest(): number {
    let rarest = '';
    let count = Number.POSITIVE_INFINITY;
    for (const [name, place] of this.places) {
      if (place.count >= count) continue;
      rarest = name;
      count = place.count;
    }
    this.places.delete(rarest);
    return count;
  }
}
