/** The names of the series in a window, each with a number. A series that has left the window makes room for another. */
import { limits } from '../model/limits.ts';
import type { SeriesDelta } from '../model/report.ts';
import { otherLabel } from '../telemetry/series.ts';

export type SeriesName = Pick<SeriesDelta, 'direction' | 'source' | 'destination' | 'route'>;

const controlCharacter = /\p{Cc}/u;

/** Numbers of what has no name of its own, by direction; those of others follow. */
const others = { outbound: 0, inbound: 1 } as const;

export class WindowSeries {
  readonly #numbers = new Map<string, number>();
  readonly #names: SeriesName[] = [
    { direction: 'outbound', source: otherLabel, destination: otherLabel, route: otherLabel },
    { direction: 'inbound', source: otherLabel, destination: otherLabel, route: otherLabel },
  ];
  /** Index of the last slice that it was counted in. */
  readonly #seenIn: number[] = [0, 0];
  readonly #free: number[] = [];

  /** Of a series that is counted in a slice. `limits.statSeriesMax` have one of their own. */
  numberOf(name: SeriesName, slice: number): number {
    const number = this.#find(name);
    this.#seenIn[number] = slice;
    return number;
  }

  nameOf(number: number): SeriesName {
    return this.#names[number]!;
  }

  /** Those that were last counted before this slice are gone. */
  forgetBefore(slice: number): void {
    for (const [key, number] of this.#numbers) {
      if (this.#seenIn[number]! >= slice) continue;
      this.#numbers.delete(key);
      this.#free.push(number);
    }
  }

  #find(name: SeriesName): number {
    const { direction, source, destination, route } = name;
    // Before anything is made of them: they come over the network.
    if (source.length + destination.length + route.length > 3 * limits.reportLabelCharsMax) return others[direction];
    const key = `${direction}\n${source}\n${destination}\n${route}`;
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    // A line of its own in a table of people's would be one that a sidecar forges.
    if (controlCharacter.test(source + destination + route)) return others[direction];
    if (this.#numbers.size >= limits.statSeriesMax) return others[direction];
    const number = this.#free.pop() ?? this.#names.length;
    this.#names[number] = { direction, source, destination, route };
    this.#numbers.set(key, number);
    return number;
  }
}
