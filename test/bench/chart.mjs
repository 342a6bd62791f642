// The chart: a row for each scenario, a point for each contestant's CPU time against the baseline, a line through its range. Plain SVG.
import { loads, messages, topologies } from './scenarios.mjs';
import { short } from './statistics.mjs';

/** Told apart also without colours: by their order in the legend, and by shape. */
const marks = {
  weft: { label: 'Weft', colour: '#d6336c', shape: 'circle' },
  nginx: { label: 'nginx', colour: '#2b8a3e', shape: 'bar' },
  haproxy: { label: 'haproxy', colour: '#1971c2', shape: 'square' },
  relay: { label: 'smallest relay', colour: '#868e96', shape: 'diamond' },
  'http-proxy': { label: 'http-proxy', colour: '#e8590c', shape: 'triangle' },
  fastify: { label: '@fastify/http-proxy', colour: '#9c36b5', shape: 'cross' },
};

const width = 860;
const rowHeight = 18;
const headHeight = 78;
const topologyHeight = 30;
const plot = { left: 220, right: width - 30 };
/** Ratios at the edges of the plot; what lies beyond stands at the edge. */
const range = { min: 0.25, max: 8 };
const ticks = [0.25, 0.5, 1, 2, 4, 8];
const ink = '#212529';
const faint = '#dee2e6';

/** @param document of a run; scenarios without a baseline are left out */
export function chartOf(document) {
  const shown = document.scenarios.filter(({ baseline }) => baseline !== null);
  const groups = Object.entries(topologies)
    .map(([topology, { title }]) => ({ title, rows: shown.filter((scenario) => scenario.topology === topology) }))
    .filter(({ rows }) => rows.length > 0);
  const height = headHeight + groups.reduce((sum, { rows }) => sum + topologyHeight + rows.length * rowHeight, 0) + 30;
  const names = Object.keys(marks).filter((name) =>
    shown.some((scenario) => contestantOf(scenario, name) !== undefined),
  );
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="${ink}" role="img">`,
    `<title>CPU time for one request against ${baselineNames(shown)}, less is better</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="14" y="24" font-size="15" font-weight="600">CPU time for one request against ${baselineNames(shown)}: less is better</text>`,
    legendOf(names),
    ...gridOf(height),
  ];
  let y = headHeight;
  for (const { title, rows } of groups) {
    parts.push(`<text x="14" y="${y + 19}" font-weight="600">${escaped(title)}</text>`);
    y += topologyHeight;
    for (const row of rows) {
      parts.push(...rowOf(row, names, y + rowHeight / 2));
      y += rowHeight;
    }
  }
  return `${[...parts, '</svg>'].join('\n')}\n`;
}

function rowOf(scenario, names, y) {
  const label = `${loads[scenario.load].title}, ${messages[scenario.message].title}`;
  const parts = [
    `<line x1="${plot.left}" x2="${plot.right}" y1="${y}" y2="${y}" stroke="${faint}" stroke-width="0.5"/>`,
    `<text x="${plot.left - 12}" y="${y + 4}" text-anchor="end">${escaped(label)}</text>`,
  ];
  for (const name of [...names].reverse()) {
    const spread = contestantOf(scenario, name)?.againstBaseline?.cpuUs;
    if (!spread) continue;
    const { label: who, colour, shape } = marks[name];
    const [from, at, to] = [spread.min, spread.median, spread.max].map(placeOf);
    const said = `${who}, ${label}: ${short(spread.median)} (${short(spread.min)} to ${short(spread.max)})`;
    parts.push(
      `<g fill="${colour}" stroke="${colour}"><title>${escaped(said)}</title><line x1="${from}" x2="${to}" y1="${y}" y2="${y}" stroke-width="2" stroke-opacity="0.45"/>${markOf(shape, at, y)}</g>`,
    );
  }
  return parts;
}

function legendOf(names) {
  let x = 20;
  const parts = names.map((name) => {
    const { label, colour, shape } = marks[name];
    const mark = `<g fill="${colour}" stroke="${colour}">${markOf(shape, x, 46)}</g><text x="${x + 10}" y="50">${escaped(label)}</text>`;
    x += 34 + label.length * 7;
    return mark;
  });
  return parts.join('');
}

function gridOf(height) {
  return ticks.map((tick) => {
    const x = placeOf(tick);
    const stroke = tick === 1 ? `stroke="${ink}" stroke-width="1"` : `stroke="${faint}" stroke-width="1"`;
    const labels = [headHeight - 6, height - 10].map(
      (y) => `<text x="${x}" y="${y}" text-anchor="middle" font-size="11">${tick}</text>`,
    );
    return `<line x1="${x}" x2="${x}" y1="${headHeight}" y2="${height - 24}" ${stroke}/>${labels.join('')}`;
  });
}

function markOf(shape, x, y) {
  const path = (d) => `<path d="${d}"/>`;
  switch (shape) {
    case 'circle':
      return `<circle cx="${x}" cy="${y}" r="4.5"/>`;
    case 'square':
      return `<rect x="${x - 3.5}" y="${y - 3.5}" width="7" height="7"/>`;
    case 'bar':
      return `<rect x="${x - 1}" y="${y - 6}" width="2" height="12"/>`;
    case 'diamond':
      return path(`M${x} ${y - 5}l5 5l-5 5l-5 -5z`);
    case 'triangle':
      return path(`M${x} ${y - 5}l5 9h-10z`);
    default:
      return `<path d="M${x - 4} ${y - 4}l8 8m0 -8l-8 8" stroke-width="2"/>`;
  }
}

/** Equal ratios are equally far apart. */
function placeOf(value) {
  const within = Math.min(range.max, Math.max(range.min, value));
  const share = Math.log(within / range.min) / Math.log(range.max / range.min);
  return Number((plot.left + share * (plot.right - plot.left)).toFixed(1));
}

const contestantOf = (scenario, name) =>
  scenario.contestants.find((one) => one.name === name && one.voidBecause === null);

const baselineNames = (scenarios) => [...new Set(scenarios.map(({ baseline }) => marks[baseline].label))].join(' or ');

const escaped = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
