// A line chart over time, drawn as SVG: no library, colours from the style sheet. The pointer or the arrow keys show
// the values of a moment.
import { element, shape } from './elements.mjs';
import { clock } from './format.mjs';
import { timeTicks } from './scales.mjs';

// A longer pause between two samples is a gap: the worker was not there.
const GAP_MS = 20_000;
// A worker that started a moment ago has little to show: the period shrinks to what there is, down to this.
const SHORTEST_MS = 60_000;
const MARGIN = { top: 10, bottom: 22, left: 8 };

export class LineChart {
  /**
   * @param {HTMLElement} container
   * @param {{label: string, series: {key, label, mark, dashed?, area?}[], scale: (visible: number[]) => object,
   *   format: (value: number) => string, endLabels?: boolean}} options
   */
  constructor(container, options) {
    this.container = container;
    this.options = options;
    this.samples = [];
    this.rangeMs = 300_000;
    this.cursor = null;
    this.svg = shape('svg', { role: 'img', tabindex: '0', 'aria-label': options.label });
    this.tip = element('div', { className: 'tip' });
    this.tip.hidden = true;
    container.append(this.svg, this.tip);
    new ResizeObserver(() => this.draw()).observe(container);
    this.svg.addEventListener('pointermove', (event) => this.point(event.clientX));
    this.svg.addEventListener('pointerdown', (event) => this.point(event.clientX));
    this.svg.addEventListener('pointerleave', () => this.moveCursor(null));
    this.svg.addEventListener('blur', () => this.moveCursor(null));
    this.svg.addEventListener('keydown', (event) => this.key(event));
  }

  /** Shows these samples: objects with `epoch` and a value a key. */
  show(samples, rangeMs = this.rangeMs) {
    this.samples = samples;
    this.rangeMs = rangeMs;
    this.draw();
  }

  visibleSamples(from) {
    const first = this.samples.findIndex((sample) => sample.epoch >= from);
    return first < 0 ? [] : this.samples.slice(Math.max(0, first - 1));
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.container;
    if (width === 0 || height === 0) return;
    const { series, scale, format, endLabels } = this.options;
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    const to = this.samples.at(-1)?.epoch ?? Date.now();
    const from = to - Math.min(this.rangeMs, Math.max(SHORTEST_MS, to - (this.samples[0]?.epoch ?? to)));
    const visible = this.visibleSamples(from);
    const values = series
      .flatMap(({ key }) => visible.map((sample) => sample[key]))
      .filter((value) => value !== null && value !== undefined);
    const { ticks, place } = scale(values);
    const longest = Math.max(...ticks.map((tick) => format(tick).length));
    const left = MARGIN.left + longest * 7.2;
    const right = endLabels && width > 520 ? 84 : 10;
    const inner = { left, right: width - right, top: MARGIN.top, bottom: height - MARGIN.bottom };
    const x = (epoch) => inner.left + ((epoch - from) / (to - from)) * (inner.right - inner.left);
    const y = (value) => inner.bottom - place(value) * (inner.bottom - inner.top);
    this.geometry = { from, to, x, y, inner, visible: visible.filter((sample) => sample.epoch >= from) };

    const parts = [];
    for (const tick of ticks) {
      parts.push(shape('line', { class: 'grid', x1: inner.left, x2: inner.right, y1: y(tick), y2: y(tick) }));
      parts.push(
        shape('text', { class: 'tick', x: inner.left - 8, y: y(tick) + 4, 'text-anchor': 'end' }, format(tick)),
      );
    }
    for (const tick of timeTicks(from, to, inner.right - inner.left)) {
      if (x(tick) < inner.left + 14 || x(tick) > inner.right - 14) continue;
      parts.push(
        shape(
          'text',
          { class: 'tick', x: x(tick), y: height - 5, 'text-anchor': 'middle' },
          clock(tick, to - from <= 120_000),
        ),
      );
    }
    const ends = [];
    for (const one of series) {
      const runs = this.runsOf(one.key, visible, from, x, y);
      if (runs.length === 0) continue;
      const line = runs
        .map((run) => `M${run.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join('L')}`)
        .join('');
      if (one.area) {
        const area = runs
          .map(
            (run) =>
              `M${run[0][0]},${inner.bottom}L${run.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join('L')}L${run.at(-1)[0]},${inner.bottom}Z`,
          )
          .join('');
        parts.push(shape('path', { class: `area mark-${one.mark}`, d: area }));
      }
      parts.push(
        shape('path', {
          class: `series mark-${one.mark}${one.dashed ? ' dashed' : ''}`,
          d: line,
          'data-series': one.key,
        }),
      );
      const last = runs.at(-1).at(-1);
      if (!one.dashed) parts.push(shape('circle', { class: `end mark-${one.mark}`, cx: last[0], cy: last[1], r: 4 }));
      ends.push({ one, y: last[1] });
    }
    if (endLabels && right > 40) parts.push(...labelsOf(ends, inner));
    if (values.length === 0) {
      parts.push(
        shape(
          'text',
          {
            class: 'waiting',
            x: (inner.left + inner.right) / 2,
            y: (inner.top + inner.bottom) / 2,
            'text-anchor': 'middle',
          },
          'Waiting for the first figures…',
        ),
      );
    }
    this.cursorGroup = shape('g');
    this.svg.replaceChildren(...parts, this.cursorGroup);
    this.svg.setAttribute('aria-label', this.describe());
    this.drawCursor();
  }

  /** The points of one series, in runs without gaps, cut at the left edge. */
  runsOf(key, visible, from, x, y) {
    const runs = [];
    let run = null;
    let previous = null;
    for (const sample of visible) {
      const value = sample[key];
      if (value === null || value === undefined) {
        run = null;
        continue;
      }
      if (run === null || sample.epoch - previous.epoch > GAP_MS) {
        run = [];
        runs.push(run);
      }
      if (sample.epoch >= from) {
        if (
          run.length === 0 &&
          previous?.epoch < from &&
          sample.epoch - previous.epoch <= GAP_MS &&
          previous[key] !== null
        ) {
          const share = (from - previous.epoch) / (sample.epoch - previous.epoch);
          run.push([x(from), y(previous[key] + (value - previous[key]) * share)]);
        }
        run.push([x(sample.epoch), y(value)]);
      }
      previous = sample;
    }
    return runs.filter((points) => points.length > 0);
  }

  describe() {
    const last = this.samples.at(-1);
    if (last === undefined) return `${this.options.label}: no figures yet`;
    const values = this.options.series
      .filter(({ key }) => last[key] !== null && last[key] !== undefined)
      .map(({ key, label }) => `${label} ${this.options.format(last[key])}`);
    return `${this.options.label}, now: ${values.join(', ') || 'nothing'}. Arrow keys read earlier values.`;
  }

  point(clientX) {
    const { visible, x } = this.geometry ?? {};
    if (!visible?.length) return;
    const at = clientX - this.container.getBoundingClientRect().left;
    let nearest = visible[0];
    for (const sample of visible) {
      if (Math.abs(x(sample.epoch) - at) < Math.abs(x(nearest.epoch) - at)) nearest = sample;
    }
    this.moveCursor(nearest.epoch);
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    const { visible } = this.geometry ?? {};
    if (event.key === 'Escape') this.moveCursor(null);
    if (step === undefined || !visible?.length) return;
    event.preventDefault();
    const current = visible.findIndex((sample) => sample.epoch === this.cursor);
    const start = current < 0 ? visible.length - (step < 0 ? 0 : 1) : current;
    const index = Math.max(0, Math.min(visible.length - 1, start + step));
    this.moveCursor(visible[index].epoch);
  }

  moveCursor(epoch) {
    this.cursor = epoch;
    this.drawCursor();
  }

  drawCursor() {
    const { visible = [], x, y, inner } = this.geometry ?? {};
    const sample = visible.find((candidate) => candidate.epoch === this.cursor);
    this.tip.hidden = sample === undefined;
    if (sample === undefined) {
      this.cursorGroup?.replaceChildren();
      return;
    }
    const px = x(sample.epoch);
    const shown = this.options.series.filter(({ key }) => sample[key] !== null && sample[key] !== undefined);
    this.cursorGroup.replaceChildren(
      shape('line', { class: 'cursor', x1: px, x2: px, y1: inner.top, y2: inner.bottom }),
      ...shown.map(({ key, mark }) => shape('circle', { class: `end mark-${mark}`, cx: px, cy: y(sample[key]), r: 4 })),
    );
    const rows = shown
      .toSorted((a, b) => sample[b.key] - sample[a.key])
      .map(({ key, label, mark }) =>
        element('tr', {
          children: [
            element('th', { scope: 'row', className: `mark-${mark}`, text: label }),
            element('td', { text: this.options.format(sample[key]) }),
          ],
        }),
      );
    this.tip.replaceChildren(
      element('table', { children: [element('caption', { text: clock(sample.epoch, true) }), ...rows] }),
    );
    const { offsetWidth: width } = this.tip;
    const besides = px + 14 + width > this.container.clientWidth ? px - 14 - width : px + 14;
    this.tip.style.left = `${Math.max(0, besides)}px`;
    this.tip.style.top = `${inner.top}px`;
  }
}

/** Names at the ends of the lines, moved apart where they would lie on one another. */
function labelsOf(ends, inner) {
  const height = 15;
  const sorted = ends.toSorted((a, b) => a.y - b.y);
  let above = inner.top - height;
  for (const end of sorted) {
    end.at = Math.max(end.y, above + height);
    above = end.at;
  }
  let below = inner.bottom + height / 2;
  for (const end of sorted.toReversed()) {
    end.at = Math.min(end.at, below);
    below = end.at - height;
  }
  return sorted.map(({ one, at }) =>
    shape('text', { class: `label mark-${one.mark}`, x: inner.right + 10, y: at + 4 }, one.label),
  );
}
