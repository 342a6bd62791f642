import { describe, expect, it } from 'vitest';
import { ReplayedLog } from '../../../src/control/store/replayed-log.ts';
import { commitOf } from './store-contract.ts';

/** Keeps two revisions. */
function logOf(revisions: number): ReplayedLog {
  const log = new ReplayedLog({ countMax: 2, ageMsMax: 3600_000 });
  write(log, revisions);
  return log;
}

function write(log: ReplayedLog, revisions: number): void {
  for (let i = 0; i < revisions; i++) log.take(log.drawUp(commitOf({ key: `value ${i}` })));
}

describe('the surplus of a replayed log', () => {
  it('is what etcd has and the memory keeps no longer', () => {
    expect(logOf(2).surplus).toEqual({ revisions: 0, chars: 0 });
    expect(logOf(7).surplus.revisions).toBe(5);
  });

  it('goes when etcd has forgotten it', () => {
    const log = logOf(7);
    log.forgotten(log.surplus);
    expect(log.surplus).toEqual({ revisions: 0, chars: 0 });
  });

  it('is still what came to it while etcd was asked to forget the rest', () => {
    const log = logOf(7);
    const begun = log.surplus;
    write(log, 4);
    const added = log.surplus.chars - begun.chars;
    expect(added).toBeGreaterThan(0);
    log.forgotten(begun);
    expect(log.surplus).toEqual({ revisions: 4, chars: added });
  });

  it('is never less than nothing, though a new base has counted it anew meanwhile', () => {
    const log = logOf(3);
    log.forgotten({ revisions: 100, chars: 1e6 });
    expect(log.surplus).toEqual({ revisions: 0, chars: 0 });
  });
});
