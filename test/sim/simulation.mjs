// One simulated mesh: a control plane, its store, and a fleet of sidecars; what is measured of them is in measures.mjs.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ControlPlaneProcess } from './control-plane-process.mjs';
import { bundleFleetProcess, FleetProcesses } from './fleet-processes.mjs';

/** Beside `common`, which every sidecar calls, and the Services of the sidecars. */
const uncalledService = 'nobody';

export class Simulation {
  #directory = mkdtempSync(join(tmpdir(), 'weft-sim-'));
  #file = null;
  #fleets = [];
  #processes = 0;
  #planned = 0;
  #changes = 0;

  /** @param options see sim-options.mjs */
  constructor(options) {
    this.options = options;
    const { executable, nodeFlags } = options;
    this.control = new ControlPlaneProcess({ executable, nodeFlags, directory: this.#directory });
    process.on('exit', () => rmSync(this.#directory, { recursive: true, force: true }));
  }

  /** The control plane with its Services, without any sidecar. */
  async open() {
    this.#file = await bundleFleetProcess();
    await this.control.start();
    const { services } = this.options;
    await this.control.applyServices([
      ...['common', uncalledService],
      ...Array.from({ length: services }, (_, i) => `service-${i}`),
    ]);
  }

  /** Further sidecars, in `processes` processes, which begin to connect. */
  async addFleet({ count, processes, applyMs = 0 }) {
    const { services, calls, sets, registers, joinPerSecond } = this.options;
    const plans = Array.from({ length: processes }, (_, i) => {
      const share = Math.floor(count / processes) + (i < count % processes ? 1 : 0);
      const from = this.#planned;
      this.#planned += share;
      return {
        ...{ from, count: share, services, calls, sets, registers, api: this.control.api, applyMs },
        localAddress: `127.0.1.${++this.#processes}`,
        joinPerSecond: joinPerSecond / processes,
      };
    });
    const fleet = await FleetProcesses.start(this.#file, plans);
    this.#fleets.push(fleet);
    return fleet;
  }

  /** Objects that a sidecar holds: the trust bundle, its own Service and those that it calls, and the registered endpoints of all but `common`. */
  get objectsHeld() {
    const { calls, registers } = this.options;
    return 1 + (calls + 1) + (registers ? calls : 0);
  }

  /** A change that concerns every sidecar. @returns its revision */
  change(options) {
    return this.control.putService('common', this.#endpoints(), options);
  }

  /** One that concerns none. */
  changeForNobody(options) {
    return this.control.putService(uncalledService, this.#endpoints(), options);
  }

  #endpoints() {
    return ['127.0.0.1:9001', '127.0.0.1:9002', `127.0.0.1:${10_000 + (this.#changes++ % 50_000)}`];
  }

  async close() {
    await Promise.all(this.#fleets.map((fleet) => fleet.stop()));
    await this.control.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
