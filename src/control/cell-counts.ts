/**
 * Numbers by the number of a cell, of very many cells of which few have one: a hash table with open addressing in two typed arrays. It begins small,
 * doubles, and never has more than `slotsMax` places, of which three quarters are used.
 */
const slotsMin = 1_024;
const bytesPerSlot = Int32Array.BYTES_PER_ELEMENT + Float64Array.BYTES_PER_ELEMENT;
const none = -1;

export class CellCounts {
  #keys = new Int32Array(slotsMin).fill(none);
  #amounts = new Float64Array(slotsMin);
  #size = 0;

  constructor(private readonly slotsMax: number) {}

  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    return this.#keys.length * bytesPerSlot;
  }

  /** `cell` from 0. False: it has no place, and there is none left. */
  add(cell: number, amount: number): boolean {
    if (amount === 0) return true;
    let slot = this.#slotOf(cell);
    if (this.#keys[slot] === none) {
      if (4 * (this.#size + 1) > 3 * this.#keys.length) {
        if (this.#keys.length >= this.slotsMax) return false;
        this.#grow();
        slot = this.#slotOf(cell);
      }
      this.#keys[slot] = cell;
      this.#size++;
    }
    this.#amounts[slot]! += amount;
    return true;
  }

  forEach(visit: (cell: number, amount: number) => void): void {
    for (let slot = 0; slot < this.#keys.length; slot++) {
      const cell = this.#keys[slot]!;
      if (cell !== none) visit(cell, this.#amounts[slot]!);
    }
  }

  /** Where the cell is, or may be put. */
  #slotOf(cell: number): number {
    const mask = this.#keys.length - 1;
    // Fibonacci hashing: neighbours, which cells of one series are, end up far from each other.
    let slot = (Math.imul(cell, 0x9e3779b1) >>> 8) & mask;
    while (this.#keys[slot] !== none && this.#keys[slot] !== cell) slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const [keys, amounts] = [this.#keys, this.#amounts];
    this.#keys = new Int32Array(2 * keys.length).fill(none);
    this.#amounts = new Float64Array(2 * keys.length);
    keys.forEach((cell, from) => {
      if (cell === none) return;
      const slot = this.#slotOf(cell);
      this.#keys[slot] = cell;
      this.#amounts[slot] = amounts[from]!;
    });
  }
}
