import { describe, expect, it } from 'vitest';
import { encodeChangeSet } from '../../../src/wire/control-frame.ts';
import { encodeChange } from '../../../src/wire/resource-codec.ts';
import { emptyState, stepFrom, withoutHosts } from '../../sim/held-states.ts';

const put = (name: string, version: string) =>
  encodeChange({
    key: `Service/default/${name}`,
    version,
    object: { apiVersion: 'weft.mesh/v1', kind: 'Service', metadata: { name }, spec: {} },
  });
const remove = (name: string) => encodeChange({ key: `Service/default/${name}`, version: '', object: null });
const changeSet = (revision: number, changes: Uint8Array[], hosts: Record<string, string> = {}) =>
  encodeChangeSet({ revision, changes, hosts: new Map(Object.entries(hosts)) });

describe('what a simulated sidecar holds', () => {
  it('follows the ChangeSets', () => {
    const first = stepFrom(emptyState(), changeSet(3, [put('a', '1'), put('b', '2')], { a: 'a.default' }));
    expect(first.objects).toBe(2);
    const { state } = stepFrom(first.state, changeSet(4, [put('a', '4'), remove('b')], { b: '' }));
    expect(state.revision).toBe(4);
    expect([...state.versions]).toEqual([['Service/default/a', '4']]);
    expect([...state.hosts]).toEqual([
      ['a', 'a.default'],
      ['b', ''],
    ]);
  });

  it('is one object for all who got the same bytes, and only for them', () => {
    const empty = emptyState();
    const first = stepFrom(empty, changeSet(3, [put('a', '1')]));
    expect(stepFrom(empty, changeSet(3, [put('a', '1')]))).toBe(first);
    expect(stepFrom(empty, changeSet(3, [put('a', '2')])).state.versions.get('Service/default/a')).toBe('2');
    expect(stepFrom(empty, changeSet(3, [put('a', '1')]))).toBe(first);
  });

  it('does not change with the buffer that the bytes came in', () => {
    const empty = emptyState();
    const bytes = changeSet(3, [put('a', '1')]);
    stepFrom(empty, bytes);
    bytes.fill(0);
    expect(stepFrom(empty, changeSet(3, [put('a', '1')])).state.revision).toBe(3);
    expect(empty.next).toHaveLength(1);
  });

  it('refuses what cannot follow', () => {
    const { state } = stepFrom(emptyState(), changeSet(3, [put('a', '1')]));
    expect(() => stepFrom(state, changeSet(2, []))).toThrow('revision 2 came after 3');
    expect(() => stepFrom(state, changeSet(4, [remove('b')]))).toThrow(
      'Service/default/b is removed, which is not held',
    );
    expect(() => stepFrom(state, Uint8Array.of(0xff))).toThrow('not a message');
  });

  it('asks for its hosts again on a new connection', () => {
    const known = new WeakMap();
    const { state } = stepFrom(emptyState(), changeSet(3, [put('a', '1')], { a: 'a.default' }));
    const resumed = withoutHosts(state, known);
    expect(resumed).toMatchObject({ revision: 3, versions: state.versions });
    expect(resumed.hosts.size).toBe(0);
    expect(withoutHosts(state, known)).toBe(resumed);
  });
});
