// What a simulation came to, in tables.
import { aligned } from '../bench/report.mjs';
import { rangeLine, short } from '../bench/statistics.mjs';

const ms = (value) => `${value.toFixed(0)} ms`;
const seconds = (value) => `${(value / 1_000).toFixed(1)} s`;
const us = (value) => `${short(value)} µs`;

const rowsOf = {
  join: ({ connectedMs, settledMs, cpuUsPerSidecar, pushesPerSidecar, bytesPerSidecar, emptyMib, residentMib }) => [
    ['all connected', seconds(connectedMs)],
    ['all with everything', seconds(settledMs)],
    ['control-plane CPU, a sidecar', us(cpuUsPerSidecar)],
    ['ChangeSets, bytes, a sidecar', `${pushesPerSidecar.toFixed(1)}, ${bytesPerSidecar.toFixed(0)}`],
    ['resident before, after', `${emptyMib.toFixed(0)}, ${residentMib.toFixed(0)} MiB`],
  ],
  idle: ({ coreShare, cpuUsPerSidecarSecond, pushes, residentMib, kibPerSidecar }) => [
    ['leases and connections: share of a core', `${(coreShare * 100).toFixed(1)} %`],
    ['the same, a sidecar and second', us(cpuUsPerSidecarSecond)],
    ['ChangeSets sent', String(pushes)],
    ['resident', `${residentMib.toFixed(0)} MiB, ${kibPerSidecar.toFixed(1)} KiB a sidecar`],
  ],
  reports: ({ coreShare, cpuUsPerSidecarSecond }) => [
    ['a report a second from each: share of a core', `${(coreShare * 100).toFixed(1)} %`],
    ['the same, a sidecar and second', us(cpuUsPerSidecarSecond)],
  ],
  changes: (part) => [
    ['committed to applied, p50', `${rangeLine(part.p50Ms)} ms`],
    ['p99', `${rangeLine(part.p99Ms)} ms`],
    ['last sidecar', `${rangeLine(part.maxMs)} ms`],
    ['asked to answered, with wait=applied', `${rangeLine(part.answeredMs)} ms`],
    ['control-plane CPU, a sidecar', `${rangeLine(part.cpuUsPerSidecar)} µs`],
    ['the same with leases and connections meanwhile', `${rangeLine(part.allCpuUsPerSidecar)} µs`],
    ['control-plane CPU, a change that concerns nobody', `${rangeLine(part.forNobodyCpuUs, ms1)} ms`],
    ['ChangeSets, bytes, a sidecar', `${short(part.pushesPerSidecar.median)}, ${short(part.bytesPerSidecar.median)}`],
  ],
  churn: (part) => [
    ['changes', `${part.changes} in ${part.seconds.toFixed(1)} s`],
    ['ChangeSets, bytes, a sidecar', `${part.pushesPerSidecar.toFixed(1)}, ${part.bytesPerSidecar.toFixed(0)}`],
    ['last change committed to applied, p99, last', `${ms(part.lastP99Ms)}, ${ms(part.lastMaxMs)}`],
    ['control-plane CPU, a sidecar', us(part.cpuUsPerSidecar)],
  ],
  reconnect: (part) => [
    ['killed to ready again', seconds(part.readyMs)],
    ['killed to back with everything, p50, p99, last', [part.p50Ms, part.p99Ms, part.maxMs].map(seconds).join(', ')],
    ['control-plane CPU, a sidecar, start included', us(part.cpuUsPerSidecar)],
    ['failed tries', String(part.failures)],
    [
      'first ChangeSet: objects, bytes, a sidecar',
      `${part.firstObjectsPerSidecar.toFixed(2)}, ${part.firstBytesPerSidecar.toFixed(0)}`,
    ],
    ['sidecars that were not resumed', String(part.notResumed)],
  ],
  slow: (part) => [
    ['slow or stopped', String(part.slowSidecars)],
    ['the others: committed to applied, p99', `${rangeLine(part.p99Ms)} ms`],
    ['resident before, beside them', `${part.beforeMib.toFixed(0)}, ${part.besideMib.toFixed(0)} MiB`],
    ['woken to back with everything', seconds(part.backMs)],
  ],
};

function ms1(valueUs) {
  return (valueUs / 1_000).toFixed(1);
}

export const tableOf = (part, figures) => `\n${part}\n${aligned(rowsOf[part](figures))}`;
