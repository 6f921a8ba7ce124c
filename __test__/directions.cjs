'use strict';
// Vectors of the tests' own, where only their directions matter.

/** A direction for each number, the same at each run. */
function direction(number, dimensions) {
  let state = (number * 2_654_435_761) >>> 0;
  return Float32Array.from({ length: dimensions }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** The same at unit length. */
function unit(vector) {
  const length = Math.hypot(...vector);
  return vector.map((value) => value / length);
}

module.exports = { direction, unit };
