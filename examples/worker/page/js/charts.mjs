// The three charts and the samples they share: the last hour from the worker, then what each poll brings.
import { byId, element, setText } from './elements.mjs';
import { count, duration, size } from './format.mjs';
import { LineChart } from './line-chart.mjs';
import { AGE_STEPS, COUNT_STEPS, SIZE_STEPS, linearScale, logScale } from './scales.mjs';
import { readJson } from './worker-client.mjs';

const KEEP_MS = 3_660_000;
const MB = 1024 * 1024;
const MEMORY = [
  { key: 'heapLimit', label: 'Heap limit', mark: 'limit', dashed: true },
  { key: 'rss', label: 'RSS', mark: 'rss' },
  { key: 'heapAllocated', label: 'Allocated', mark: 'allocated' },
  { key: 'heapUsed', label: 'Heap used', mark: 'used' },
  { key: 'native', label: 'Native', mark: 'native' },
];
const HINTS = {
  log: 'Each line of the grid is four times the one below it.',
  linear: 'The heap limit lies beyond this scale; the logarithmic one shows it.',
};

let samples = [];
let rangeMs = 300_000;
let charts = null;

function highestOf(values, least) {
  return values.reduce((most, value) => Math.max(most, value), least);
}

/** On the linear scale a far limit would press all lines to the ground: it is left out there. */
function memorySeries(isLog) {
  const last = samples.at(-1);
  const isFar = last && last.heapLimit > 3 * Math.max(last.rss ?? 0, last.heapAllocated ?? 0);
  return isLog || !isFar ? MEMORY : MEMORY.filter(({ key }) => key !== 'heapLimit');
}

function makeCharts() {
  const isLog = () => byId('memory-scale').querySelector('input:checked').value === 'log';
  const memory = new LineChart(byId('memory-chart'), {
    label: 'Memory of the worker',
    get series() {
      return memorySeries(isLog());
    },
    scale: (values) =>
      isLog()
        ? logScale(
            values.reduce((least, value) => Math.min(least, value), 16 * MB),
            highestOf(values, 256 * MB),
          )
        : linearScale(highestOf(values, 16 * MB), SIZE_STEPS),
    format: size,
    endLabels: true,
  });
  const depth = new LineChart(byId('depth-chart'), {
    label: 'Waiting messages',
    series: [{ key: 'depth', label: 'Waiting', mark: 'depth', area: true }],
    scale: (values) => linearScale(highestOf(values, 4), COUNT_STEPS, 2),
    format: count,
  });
  const age = new LineChart(byId('age-chart'), {
    label: 'Age of the oldest waiting message',
    series: [{ key: 'oldestAgeMs', label: 'Oldest', mark: 'age', area: true }],
    scale: (values) => linearScale(highestOf(values, 200), AGE_STEPS, 2),
    format: duration,
  });
  byId('memory-scale').addEventListener('change', draw);
  byId('range').addEventListener('change', ({ target }) => {
    rangeMs = Number(target.value) * 60_000;
    draw();
  });
  return { memory, depth, age, isLog };
}

function draw() {
  charts.memory.show(samples, rangeMs);
  // A queue without messages has no oldest one: its age is nought, so that the line rests on the ground.
  const queue = samples.map((sample) => ({
    ...sample,
    oldestAgeMs: sample.depth === null ? null : (sample.oldestAgeMs ?? 0),
  }));
  charts.depth.show(queue, rangeMs);
  charts.age.show(queue, rangeMs);
  const drawn = memorySeries(charts.isLog());
  setText(byId('memory-hint'), charts.isLog() ? HINTS.log : drawn.length < MEMORY.length ? HINTS.linear : '');
  drawLegend();
}

function drawLegend() {
  const last = samples.at(-1);
  byId('memory-legend').replaceChildren(
    ...MEMORY.toReversed().map(({ key, label, mark, dashed }) =>
      element('div', {
        className: `mark-${mark}${dashed ? ' dashed' : ''}`,
        children: [element('dt', { text: label }), element('dd', { text: last?.[key] ? size(last[key]) : '–' })],
      }),
    ),
  );
}

/** Adds one answer of /health and draws. */
export function addHealth(health) {
  samples.push({
    epoch: health.timestamp,
    heapUsed: health.heap?.usedBytes ?? null,
    heapAllocated: health.heap?.allocatedBytes ?? null,
    heapLimit: health.heap?.limitBytes ?? null,
    native: health.native.totalBytes,
    rss: health.rssBytes,
    depth: health.queue.depth,
    oldestAgeMs: health.queue.oldestAgeMs,
  });
  samples = samples.filter(({ epoch }) => epoch > health.timestamp - KEEP_MS);
  draw();
}

/** Makes the charts and fills them with the last hour. */
export async function startCharts() {
  charts = makeCharts();
  draw();
  const { fields, samples: rows } = await readJson('/api/metrics/history');
  const past = rows.map((row) => Object.fromEntries(fields.map((field, index) => [field, row[index]])));
  const first = samples[0]?.epoch ?? Infinity;
  samples = [...past.filter(({ epoch }) => epoch < first), ...samples];
  draw();
}
