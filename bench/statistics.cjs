'use strict';
// Figures out of repetitions.

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Minimum, median and spread; the spread is (maximum − minimum) ÷ median. */
function summary(values) {
  const [least, most, middle] = [Math.min(...values), Math.max(...values), median(values)];
  return { minimum: least, median: middle, spread: middle === 0 ? 0 : (most - least) / Math.abs(middle) };
}

module.exports = { median, summary };
