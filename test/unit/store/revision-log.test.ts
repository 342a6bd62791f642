import { describe, expect, it } from 'vitest';
import { defaultRetention, type LoggedRevision, RevisionLog } from '../../../src/control/store/revision-log.ts';
import { limits } from '../../../src/model/limits.ts';

const entry = (revision: number, atMs: number, chars = 0): LoggedRevision => ({
  revision: {
    revision,
    who: 'test',
    message: '',
    atMs,
    changes: [{ key: 'k', before: null, after: 'x'.repeat(chars) }],
  },
  requestId: `request-${revision}`,
});

/** The revisions that are left after each was committed in turn. */
function kept(log: RevisionLog, entries: readonly LoggedRevision[]): readonly number[] {
  for (const each of entries) {
    log.dropOldest(log.surplusWith(each).length);
    log.append(each);
  }
  return log.newest(entries.length).map(({ revision }) => revision);
}

describe('what a store remembers', () => {
  it('is bounded by count', () => {
    const entries = [1, 2, 3, 4, 5].map((revision) => entry(revision, 0));
    expect(kept(new RevisionLog({ countMax: 3, ageMsMax: 1 }), entries)).toEqual([5, 4, 3]);
    expect(kept(new RevisionLog({ countMax: 1, ageMsMax: 1 }), entries)).toEqual([5]);
  });

  it('is bounded by age before the newest revision, whatever the clock says now', () => {
    const log = new RevisionLog({ countMax: 100, ageMsMax: 1_000 });
    expect(kept(log, [entry(1, 0), entry(2, 400), entry(3, 1_000)])).toEqual([3, 2, 1]);
    expect(log.surplusWith(entry(4, 1_001))).toEqual([1]);
    expect(log.surplusWith(entry(4, 1_401))).toEqual([1, 2]);
    // After a year of quiet what is replaced now can still be returned to: the newest revision tells what it replaced.
    expect(kept(log, [entry(4, 1e12)])).toEqual([4]);
    expect(log.after(3, 4)).toHaveLength(1);
    expect(log.after(2, 4)).toBeNull();
  });

  it('has no gaps, though a clock was set back', () => {
    const log = new RevisionLog({ countMax: 100, ageMsMax: 1_000 });
    expect(kept(log, [entry(1, 5_000), entry(2, 100), entry(3, 5_500)])).toEqual([3, 2, 1]);
  });

  it('is bounded by size, and forgets who asked for what is gone', () => {
    const log = new RevisionLog();
    const half = limits.historyCharsMax / 2;
    expect(kept(log, [entry(1, 0, half), entry(2, 0, half / 2), entry(3, 0, half)])).toEqual([3, 2]);
    expect(log.revisionOf('request-1')).toBeNull();
    expect(log.revisionOf('request-2')).toBe(2);
    expect(kept(log, [entry(4, 0, 3 * half)])).toEqual([4]);
  });

  it('is what limits.ts says unless it is told otherwise', () => {
    expect(defaultRetention).toEqual({ countMax: limits.revisionsKeptMax, ageMsMax: limits.historyAgeMs });
  });
});
