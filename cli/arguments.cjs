'use strict';
// Values of the command line, checked; what is wrong with one is said with its limits.

const { InvalidArgumentError } = require('commander');

/** A parser of whole numbers from `least` to `most`. */
const wholeNumber = (least, most) => (text) => {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (value >= least && value <= most) return value;
  throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
};

const UNITS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A parser of durations such as 90s, 15m, 12h or 30d, in ms. */
function durationMs(text) {
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  if (count === undefined) throw new InvalidArgumentError('It must be a number with s, m, h or d, such as 30d.');
  return Number(count) * UNITS[unit];
}

/** Seconds to wait for the owner of a directory, in ms. */
const waitSeconds = (text) => wholeNumber(0, 600)(text) * 1_000;

/** A parser of ids, one after the other. */
const ids = (text, before = []) => [...before, wholeNumber(1, Number.MAX_SAFE_INTEGER)(text)];

module.exports = { durationMs, ids, waitSeconds, wholeNumber };
