/** deploy/prometheus, deploy/grafana and docs/metrics.md against what real sidecars say: a metric that is renamed breaks this. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { storeOperations } from '../../src/control/control-counts.ts';
import { limits } from '../../src/model/limits.ts';
import { failures } from '../../src/proxy/failure.ts';
import { parts } from '../../src/telemetry/recorder.ts';
import { durationBoundsMs, hopBoundsMs } from '../../src/telemetry/render.ts';
import { statusClasses } from '../../src/telemetry/series.ts';
import { Bench } from '../e2e/harness.ts';
import { type Matcher, namesIn } from './promql-names.ts';
import { type Scraped, scrapeMesh } from './scraped-mesh.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const prometheus = `${root}deploy/prometheus/`;
const read = (path: string): string => readFileSync(`${root}${path}`, 'utf8');

interface Rule {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
  readonly annotations?: Readonly<Record<string, string>>;
}
interface RuleTest {
  readonly promql_expr_test: readonly { readonly expr: string; readonly exp_samples: readonly unknown[] }[];
}
interface Variable {
  readonly name: string;
  readonly type: string;
  readonly definition?: string;
}
interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly fieldConfig?: { readonly defaults: { readonly custom: { readonly stacking: { readonly mode: string } } } };
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

const { groups } = parse(read('deploy/prometheus/rules.yaml')) as {
  readonly groups: readonly { readonly rules: readonly Rule[] }[];
};
const rules = groups.flatMap((group) => group.rules);
const alerts = rules.filter(({ alert }) => alert !== undefined);
const dashboard = JSON.parse(read('deploy/grafana/weft.json')) as {
  readonly schemaVersion: number;
  readonly templating: { readonly list: readonly Variable[] };
  readonly panels: readonly Panel[];
};
const targets = dashboard.panels.flatMap((panel) => panel.targets ?? []);
/** Grafana puts its variables in before Prometheus sees the rest; within strings they may stay. */
const promqlOf = (expr: string): string => expr.replaceAll('[$__rate_interval]', '[5m]');

const bench = new Bench();
let scraped: Scraped;
let control: Scraped;
/** Those of sidecars and control planes, with the labels that Prometheus adds; its own `up`; what the rules record. */
const labelsOf = new Map<string, ReadonlySet<string>>();

beforeAll(async () => {
  ({ sidecars: scraped, control } = await scrapeMesh(bench));
  const added = ['job', 'instance'];
  labelsOf.set('up', new Set([...added, 'component']));
  for (const [name, labels] of [...scraped.labels, ...control.labels])
    labelsOf.set(name, new Set([...labels, ...added]));
  for (const { record, expr } of rules) if (record !== undefined) labelsOf.set(record, labelsAfter(expr));
  // Three processes that start at the same time, on a machine that may be busy with other tests.
}, 120_000);
afterAll(() => bench.close());

/** The labels that an expression leaves: those it groups by, or else those of the metric that it begins with. */
function labelsAfter(expr: string): ReadonlySet<string> {
  const grouped = /^\(?(?:histogram_quantile\([\d.]+, )?(?:sum|max) by \(([^)]*)\)/.exec(expr);
  if (grouped !== null) return new Set(grouped[1]!.split(', ').filter((label) => label !== 'le'));
  return labelsOf.get(namesIn(expr).selectors[0]!.metric) ?? new Set();
}

const valuesOf: Readonly<Record<string, readonly string[]>> = {
  direction: ['outbound', 'inbound'],
  status_class: statusClasses,
  part: parts,
  listener: ['outbound', 'inbound', 'link'],
  state: ['active', 'idle', 'synced', 'pending', 'refused', 'lost'],
  component: ['control-plane'],
  operation: storeOperations,
  outcome: ['applied', 'refused'],
  port: ['api', 'push'],
  code: [
    ...Object.keys(failures),
    // Of a control plane: codes of problems, and of what the push port refuses.
    ...['unavailable', 'internal-error', 'too-many-watchers', 'too-many-sidecars', 'store-failed'],
    ...['slow-reader', 'no-room', 'no-greeting'],
    ...['mirror-failed', 'mirror-dropped', 'link:no-certificate'],
    ...Object.keys(failures).map((code) => `link:${code}`),
  ],
};

/** Null: there is such a value, or the label takes any. */
function strangeValue({ label, operator, value }: Matcher): string | null {
  const values = valuesOf[label];
  if (values === undefined || value.startsWith('$')) return null;
  const wanted = operator.endsWith('~') ? value.split('|') : [value];
  const strange = wanted.find((each) => !values.some((one) => new RegExp(`^(?:${each})$`).test(one)));
  return strange === undefined ? null : `${label} is never ${strange}`;
}

/** Whatever an expression names and no sidecar has. */
function strangersIn(expr: string): string[] {
  const { selectors, grouping } = namesIn(expr);
  const all = new Set(selectors.flatMap(({ metric }) => [...(labelsOf.get(metric) ?? [])]));
  return [
    ...selectors.filter(({ metric }) => !labelsOf.has(metric)).map(({ metric }) => metric),
    ...selectors.flatMap(({ metric, matchers }) =>
      matchers.filter(({ label }) => !labelsOf.get(metric)?.has(label)).map(({ label }) => `${metric}{${label}}`),
    ),
    ...selectors.flatMap(({ matchers }) => matchers.map(strangeValue).filter((said) => said !== null)),
    ...grouping.filter((label) => !all.has(label)),
  ];
}

const hasPromtool = spawnSync('promtool', ['--version'], { timeout: 10_000 }).status === 0;
const noPromtool = 'promtool is not installed (Debian: apt-get install prometheus)';
function promtool(...args: readonly string[]): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync('promtool', args, { encoding: 'utf8', timeout: 50_000 });
  return { status, output: stdout + stderr };
}

describe('what an expression names', () => {
  it.each([
    ['rate(weft_request_total[5m])', ['weft_request_total']],
    ['sum by (cluster) (weft_config_revision{job="x"})', ['cluster']],
    ['weft_config_revision{route="x"} and on (job) up', ['weft_config_revision{route}']],
    ['rate(weft_failures_total{code=~"no-endpoint|pool-ful"}[5m]) > 0', ['code is never pool-ful']],
    ['weft_failures_total{code!~"link:.*|mirror-.*",direction="outbound"} or 0 * time()', []],
  ])('is looked up: %s', (expr, strangers) => {
    expect(strangersIn(expr)).toEqual(strangers);
  });

  it.each(['{__name__="up"}', 'up{job="x" instance="y"}', 'up # that is all'])('is never passed over: %s', (expr) => {
    expect(() => namesIn(expr)).toThrow(/not understood|without a metric/);
  });
});

describe('deploy/prometheus/rules.yaml', () => {
  it('names only metrics, labels and values that sidecars or control planes have', () => {
    expect(rules.length).toBeGreaterThan(20);
    for (const { record, alert, expr } of rules) expect(strangersIn(expr), record ?? alert).toEqual([]);
  });

  it('says what to do, with labels that the alert has', () => {
    for (const { alert, expr, annotations = {} } of alerts) {
      expect(Object.keys(annotations), alert).toEqual(['summary', 'description']);
      const labels = labelsAfter(expr);
      const named = [...JSON.stringify(annotations).matchAll(/\$labels\.(\w+)/g)].map(([, label]) => label!);
      expect(named.filter((label) => !labels.has(label), alert)).toEqual([]);
    }
  });

  it('is tested: every alert fires once, and once does not', () => {
    const { tests } = parse(read('deploy/prometheus/rules.test.yaml')) as { readonly tests: readonly RuleTest[] };
    const cases = tests.flatMap((test) => test.promql_expr_test);
    for (const { alert } of alerts) {
      const own = cases.filter(({ expr }) => expr.includes(`alertname="${alert}"`));
      expect(own.map(({ exp_samples }) => exp_samples.length > 0).sort(), alert).toEqual([false, true]);
    }
  });

  it('passes its tests in promtool', (test) => {
    if (!hasPromtool) test.skip(noPromtool);
    const { status, output } = promtool('test', 'rules', `${prometheus}rules.test.yaml`);
    expect(status, output).toBe(0);
  });
});

describe('deploy/prometheus/prometheus.yaml', () => {
  it('is taken by promtool, rules and example included', (test) => {
    if (!hasPromtool) test.skip(noPromtool);
    mkdirSync(bench.path('prometheus/sidecars'), { recursive: true });
    for (const name of ['prometheus.yaml', 'rules.yaml'])
      copyFileSync(`${prometheus}${name}`, bench.path(`prometheus/${name}`));
    copyFileSync(`${prometheus}sidecar.example.yaml`, bench.path('prometheus/sidecars/web.yaml'));
    const { status, output } = promtool('check', 'config', bench.path('prometheus/prometheus.yaml'));
    expect(status, output).toBe(0);
    expect(output).not.toMatch(/WARNING|FAILED/);
  });
});

describe('deploy/grafana/weft.json', () => {
  it('names only metrics, labels and values that sidecars have', () => {
    expect(targets.length).toBeGreaterThan(20);
    for (const { expr, legendFormat } of targets) {
      expect(strangersIn(promqlOf(expr)), expr).toEqual([]);
      const left = labelsAfter(promqlOf(expr));
      const shown = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label!);
      expect(shown.filter((label) => !left.has(label), expr)).toEqual([]);
    }
    for (const { definition } of dashboard.templating.list) {
      if (definition === undefined) continue;
      const [, selector, label] = /^label_values\((.*), (\w+)\)$/.exec(definition)!;
      expect(strangersIn(`sum by (${label}) (${selector})`), definition).toEqual([]);
    }
  });

  it('shows every metric that there is', () => {
    const shown = new Set(targets.flatMap(({ expr }) => namesIn(promqlOf(expr)).selectors.map(({ metric }) => metric)));
    const isShown = (name: string) => ['', '_bucket', '_sum', '_count'].some((suffix) => shown.has(`${name}${suffix}`));
    expect([...scraped.types.keys()].filter((name) => !isShown(name))).toEqual([]);
  });

  it('is PromQL throughout', (test) => {
    if (!hasPromtool) test.skip(noPromtool);
    const wrapped = targets.map(({ expr }, index) => ({ record: `panel:${index}`, expr: promqlOf(expr) }));
    const path = bench.path('panels.yaml');
    writeFileSync(path, JSON.stringify({ groups: [{ name: 'panels', rules: wrapped }] }));
    const { status, output } = promtool('check', 'rules', path);
    expect(status, output).toBe(0);
  });

  it('can be imported: ids of their own, a data source by variable, and only variables that it has', () => {
    const ids = dashboard.panels.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(dashboard.schemaVersion).toBeGreaterThanOrEqual(36);
    const text = JSON.stringify(dashboard);
    const sources = [...text.matchAll(/"datasource":\{"type":"prometheus","uid":"([^"]*)"\}/g)].map(([, uid]) => uid);
    expect(new Set(sources)).toEqual(new Set([`\${datasource}`]));
    const known = new Set(dashboard.templating.list.map(({ name }) => name));
    const used = [...text.matchAll(/\$\{?([a-z]\w*)/g)].map(([, name]) => name!);
    expect(used.filter((name) => !known.has(name))).toEqual([]);
  });

  it('stacks no quantiles, and says so', () => {
    const quantiles = dashboard.panels.filter(({ targets: all }) => all?.some(({ expr }) => /quantile/.test(expr)));
    expect(quantiles.length).toBeGreaterThan(3);
    for (const { title, fieldConfig, targets: all } of quantiles) {
      expect(fieldConfig!.defaults.custom.stacking.mode, title).toBe('none');
      if (all!.some(({ expr }) => expr.includes('weft_hop'))) expect(title).toContain('quantiles do not add up');
    }
  });
});

describe('docs/metrics.md', () => {
  const page = read('docs/metrics.md');
  const rowsOf = (heading: string): string[][] =>
    page
      .split(`## ${heading}\n`)[1]!
      .split('\n## ')[0]!
      .split('\n')
      .filter((line) => line.startsWith('| `'))
      .map((line) => line.split(' | ').map((cell) => cell.replace(/^\| |`/g, '')));

  it.each([
    ['Metrics', () => scraped],
    ['Metrics of the control plane', () => control],
  ])('has every metric with its type and labels, and none that is not: %s', (heading, of) => {
    const { types, labels: known } = of();
    const expected = [...types].map(([name, type]) => {
      const labels = known.get(type === 'histogram' ? `${name}_count` : name) ?? new Set();
      return [name, type, [...labels].join(', ')];
    });
    const described = rowsOf(heading).map((cells) => cells.slice(0, 3));
    expect(described.toSorted()).toEqual(expected.toSorted());
  });

  it('has every alert with how soon it fires', () => {
    const expected = alerts.map((rule) => {
      const { alert, labels, for: wait } = rule as Rule & { for?: string; labels: { severity: string } };
      return [alert!, labels.severity, wait ?? '0m'];
    });
    expect(rowsOf('Alerts').map((cells) => cells.slice(0, 3))).toEqual(expected);
  });

  it('has the budget that follows from the limits', () => {
    const durations = durationBoundsMs.length + 3;
    const hops = hopBoundsMs.length + 3;
    const row = 1 + durations + parts.length * hops;
    const rows = limits.seriesMax + 2 * statusClasses.length;
    for (const number of [durations, hops, row, rows, row * rows])
      expect(page, String(number)).toMatch(new RegExp(`\\b${number.toLocaleString('en')}\\b`));
  });
});
