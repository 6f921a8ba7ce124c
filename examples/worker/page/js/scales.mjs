// Scales and ticks of a chart axis.

const MB = 1024 * 1024;

/** A linear scale from 0 in at most `most` steps; `steps` are the possible distances of ticks, smallest first. */
export function linearScale(highest, steps, most = 4) {
  const step =
    steps.find((candidate) => highest / candidate <= most) ?? steps.at(-1) * Math.ceil(highest / steps.at(-1) / most);
  const top = Math.max(step, Math.ceil(highest / step) * step);
  const ticks = [];
  for (let value = 0; value <= top; value += step) ticks.push(value);
  return { ticks, place: (value) => value / top };
}

/** A logarithmic scale for sizes, a tick every factor of four. */
export function logScale(lowest, highest) {
  const bottom = 4 ** Math.floor(Math.log(Math.max(lowest, MB / 4) / MB) / Math.log(4));
  const top = (highest * 1.4) / MB;
  const ticks = [];
  for (let value = bottom; value <= top; value *= 4) ticks.push(value * MB);
  const span = Math.log(top / bottom);
  return { ticks, place: (value) => Math.max(0, Math.log(value / MB / bottom) / span) };
}

function oneTwoFive(from, to) {
  const steps = [];
  for (let power = from; power <= to; power *= 10) steps.push(power, 2 * power, 5 * power);
  return steps;
}

export const SIZE_STEPS = Array.from({ length: 24 }, (_, index) => MB * 2 ** index);
export const COUNT_STEPS = oneTwoFive(1, 1e7);
export const AGE_STEPS = [
  100, 250, 500, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 1.2e6, 3.6e6, 7.2e6, 14.4e6, 43.2e6,
  86.4e6,
];

/** Round moments between two times, at least `gap` pixels apart on `width` pixels. */
export function timeTicks(from, to, width, gap = 84) {
  const step =
    [10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 900e3, 1.8e6, 3.6e6].find(
      (candidate) => (candidate / (to - from)) * width >= gap,
    ) ?? 3.6e6;
  const ticks = [];
  for (let tick = Math.ceil(from / step) * step; tick <= to; tick += step) ticks.push(tick);
  return ticks;
}
