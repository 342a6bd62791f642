import { describe, expect, it } from 'vitest';
import { compileUnit } from '../../../src/decisions/compile/compile-unit.ts';
import type { Service } from '../../../src/model/resources.ts';
import type { ServiceUnit } from '../../../src/model/snapshot.ts';
import { SharedLiveState } from '../../../src/proxy/live-state.ts';
import { SlotTable } from '../../../src/proxy/slot-table.ts';
import { type CompileUnits, InForce } from '../../../src/sidecar/in-force.ts';
import { LoopConfiguration } from '../../../src/sidecar/loop-configuration.ts';
import { backendServices, routesOf, serviceOf } from '../../fixtures/large-mesh.ts';

const service = (name: string, ...endpoints: string[]): Service => ({
  apiVersion: 'weft.mesh/v1',
  kind: 'Service',
  metadata: { name },
  spec: { endpoints },
});

function inForce(compile: CompileUnits) {
  const live = new SharedLiveState(() => 0, false);
  const swaps: number[] = [];
  const loop = new LoopConfiguration(live, () => 0);
  const inForce = new InForce({
    namespace: 'default',
    compile,
    slots: new SlotTable({ live, random: () => 0, nowMs: () => 0 }),
    prepare: (change) => loop.prepare(change),
    swap: async (change) => {
      loop.swap(change);
      swaps.push(change.revision);
    },
  });
  const configuration = {
    apply: (...args: Parameters<InForce['apply']>) => inForce.apply(...args),
    get current() {
      return loop.current;
    },
    get snapshot() {
      return inForce.snapshot;
    },
  };
  return { configuration, swaps };
}

describe('the configuration in force', () => {
  it('stays what it was when the next one cannot be compiled, and takes the one after', async () => {
    let isBroken = false;
    const { configuration, swaps } = inForce(async (units) => {
      if (isBroken) throw new Error('no');
      return units.map(compileUnit);
    });
    await configuration.apply([service('cart', 'a:1')], 1);
    isBroken = true;
    await expect(configuration.apply([service('cart', 'b:1')], 2)).rejects.toThrow('no');
    expect(configuration.current?.revision).toBe(1);
    expect(configuration.current?.findByHost('cart')?.endpoints.map(({ address }) => address)).toEqual(['a:1']);
    isBroken = false;
    await configuration.apply([service('cart', 'b:1')], 3);
    expect(configuration.current?.findByHost('cart')?.endpoints.map(({ address }) => address)).toEqual(['b:1']);
    expect(swaps).toEqual([1, 3]);
  });

  it('compiles changed units only, and keeps the others as they are', async () => {
    const compiled: string[] = [];
    const { configuration } = inForce(async (units: readonly ServiceUnit[]) => {
      compiled.push(units.map(({ name }) => name).join(' '));
      return units.map(compileUnit);
    });
    const [cart, web] = [service('cart', 'a:1'), service('web', 'c:1')];
    await configuration.apply([cart, web], 1);
    const before = configuration.current?.find('cart.default');
    await configuration.apply([cart, service('web', 'd:1')], 2);
    expect(compiled).toEqual(['cart.default web.default', 'web.default']);
    expect(configuration.current?.find('cart.default')).toBe(before);
  });

  it('retires the way to an endpoint that left, and keeps the way to one that stays', async () => {
    const { configuration } = inForce(async (units) => units.map(compileUnit));
    await configuration.apply([service('cart', 'a:1', 'b:1')], 1);
    const retired: string[] = [];
    for (const endpoint of configuration.current!.find('cart.default')!.endpoints) {
      endpoint.upstream = {
        isAvoided: false,
        trouble: '',
        open: () => {
          throw new Error('not here');
        },
        retire: () => retired.push(endpoint.address),
        destroy: () => {},
        stats: { connections: 0, idle: 0, pending: 0, opened: 0, connectFailures: 0 },
      };
    }
    await configuration.apply([service('cart', 'b:1', 'c:1')], 2);
    expect(retired).toEqual(['a:1']);
    const kept = configuration
      .current!.find('cart.default')!
      .endpoints.map(({ address, upstream }) => [address, upstream !== null]);
    expect(kept).toEqual([
      ['b:1', true],
      ['c:1', false],
    ]);
  });

  it('takes one after the other, in order', async () => {
    const { configuration, swaps } = inForce(async (units) => {
      // The first takes longer than the second.
      await new Promise((resolve) => setImmediate(resolve));
      return units.map(compileUnit);
    });
    await Promise.all([
      configuration.apply([service('cart', 'a:1')], 1),
      configuration.apply([service('cart', 'b:1')], 2),
    ]);
    expect(swaps).toEqual([1, 2]);
  });

  it('does not hold the loop while 10,000 rules and 5,000 endpoints come into force', async () => {
    // Compiling is the pool's work: what is left to the loop is all the rest.
    const { configuration, swaps } = inForce(async (units) => {
      const compiled = units.map(compileUnit);
      turns = 0;
      return compiled;
    });
    let turns = 0;
    let isOver = false;
    const turn = () => {
      turns++;
      if (!isOver) setImmediate(turn);
    };
    const objects = [serviceOf('shop', 5_000), ...backendServices(), ...routesOf('mixed', 10_000)];
    setImmediate(turn);
    const applied = configuration.apply(objects, 1);
    await new Promise<void>((resolve) => setImmediate(resolve));
    expect(swaps).toEqual([]);
    await applied;
    isOver = true;
    // Behind the compilation there are still the slots, the endpoints and the hosts to be opened.
    expect(turns).toBeGreaterThan(1);
    expect(configuration.current?.findByHost('shop')?.endpoints).toHaveLength(5_000);
  });
});
