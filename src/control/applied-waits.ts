/** Who waits until a revision is in force on all sidecars, and for which of them still. */
import { limits } from '../model/limits.ts';
import type { AppliedReport, SidecarName } from './fleet.ts';
import { type Member, nameOf, outcomeOf, reasonOf } from './fleet-member.ts';
import type { StoreClock } from './store/store.ts';

interface Wait {
  readonly revision: number;
  /** Of those that it concerns, 1 to 100. */
  readonly percent: number;
  /** Neither applied nor refused yet. Null: this control plane has not seen the revision itself. */
  open: Set<Member> | null;
  /** Those that had to take something for it, as far as they still count. */
  readonly concerned: Set<Member>;
  /** Those of them whose refusal stands. */
  readonly refused: Set<Member>;
  readonly end: () => void;
}

export interface AppliedWaitsOptions {
  readonly clock: StoreClock;
  readonly members: () => Iterable<Member>;
  /** The newest revision that the publisher has taken in. */
  readonly newest: () => number;
}

export class AppliedWaits {
  readonly #clock: StoreClock;
  readonly #members: () => Iterable<Member>;
  readonly #newest: () => number;
  readonly #waits = new Set<Wait>();
  #isClosed = false;

  constructor({ clock, members, newest }: AppliedWaitsOptions) {
    this.#clock = clock;
    this.#members = members;
    this.#newest = newest;
  }

  /** See Fleet.waitApplied. Without a timeout, beyond `limits.watchersMax` waits, and after `close`, the answer is what is true at once. */
  wait(revision: number, timeoutMs: number, percent = 100): Promise<AppliedReport> {
    if (timeoutMs <= 0 || this.#isClosed || this.#waits.size >= limits.watchersMax)
      return Promise.resolve(this.#report(revision, false));
    return new Promise((resolve) => {
      const wait: Wait = {
        revision,
        percent,
        open: null,
        concerned: new Set(),
        refused: new Set(),
        end: () => {
          cancelTimer();
          this.#waits.delete(wait);
          resolve(this.#report(revision, isEnough(wait)));
        },
      };
      const cancelTimer = this.#clock.after(timeoutMs, wait.end);
      this.#waits.add(wait);
      this.#begin(wait);
    });
  }

  /** The member came further, or fell back, or is new. */
  update(member: Member): void {
    const newest = this.#newest();
    for (const wait of this.#waits) {
      if (wait.open === null) continue;
      place(wait, wait.open, member, outcomeOf(member, wait.revision, newest));
      endIfDone(wait);
    }
  }

  /** The member is gone: nobody waits for it any more. */
  remove(member: Member): void {
    for (const wait of this.#waits) {
      wait.concerned.delete(member);
      wait.refused.delete(member);
      wait.open?.delete(member);
      endIfDone(wait);
    }
  }

  /** The publisher has taken in a revision. */
  advance(): void {
    for (const wait of this.#waits) if (wait.open === null) this.#begin(wait);
  }

  close(): void {
    this.#isClosed = true;
    for (const wait of [...this.#waits]) wait.end();
  }

  #begin(wait: Wait): void {
    const newest = this.#newest();
    if (newest < wait.revision) return;
    wait.open = new Set();
    for (const member of this.#members()) place(wait, wait.open, member, outcomeOf(member, wait.revision, newest));
    endIfDone(wait);
  }

  /** That all have it is enough, whatever was asked for. */
  #report(revision: number, isEnoughOfThem: boolean): AppliedReport {
    const applied: SidecarName[] = [];
    const missing: SidecarName[] = [];
    const refused: (SidecarName & { reason: string })[] = [];
    const newest = this.#newest();
    for (const member of this.#members()) {
      const name = nameOf(member);
      const outcome = outcomeOf(member, revision, newest);
      if (outcome === 'applied') applied.push(name);
      else if (outcome === 'refused') refused.push({ ...name, reason: reasonOf(member) ?? '' });
      else missing.push(name);
    }
    return { revision, isEnough: isEnoughOfThem || missing.length + refused.length === 0, applied, missing, refused };
  }
}

/** A wait begins right after its commit, when nobody has answered: who has it in force then had nothing to take. */
function place(wait: Wait, open: Set<Member>, member: Member, outcome: ReturnType<typeof outcomeOf>): void {
  if (outcome === 'missing') open.add(member);
  else open.delete(member);
  if (outcome === 'refused') wait.refused.add(member);
  else wait.refused.delete(member);
  if (outcome !== 'applied') wait.concerned.add(member);
}

function endIfDone(wait: Wait): void {
  if (wait.open?.size === 0 || (wait.percent < 100 && isEnough(wait))) wait.end();
}

function isEnough({ open, concerned, refused, percent }: Wait): boolean {
  if (open === null) return false;
  const applied = concerned.size - open.size - refused.size;
  return applied * 100 >= percent * concerned.size;
}
