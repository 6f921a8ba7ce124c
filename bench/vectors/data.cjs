'use strict';
// Vectors as sentence embeddings are: 384 numbers of unit length that lie near a surface of far fewer dimensions and in
// groups. Independent random numbers would be the wrong thing to measure with: in 384 dimensions all of them are about
// equally far from each other, and no index can tell neighbours from strangers.

const DIMENSIONS = 384;
const LATENT = 32;
const GROUPS = 300;
const QUERIES = 200;
const NEIGHBOURS = 10;
const BLOCK = 1_000;

/** Numbers of the normal distribution, the same ones for the same seed (mulberry32 and Box–Muller). */
function normals(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  let spare = null;
  const normal = () => {
    if (spare !== null) {
      const given = spare;
      spare = null;
      return given;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
  return { uniform, normal };
}

/** A source of vectors of one distribution; each seed gives others. */
function source(seed) {
  const shape = normals(1);
  const projection = Float32Array.from({ length: LATENT * DIMENSIONS }, shape.normal);
  const centres = Float32Array.from({ length: GROUPS * LATENT }, () => 1.5 * shape.normal());
  const { uniform, normal } = normals(seed);
  const latent = new Float32Array(LATENT);
  return function next() {
    const centre = Math.floor(uniform() * GROUPS) * LATENT;
    for (let i = 0; i < LATENT; i += 1) latent[i] = centres[centre + i] + normal();
    const vector = new Float32Array(DIMENSIONS);
    let square = 0;
    for (let j = 0; j < DIMENSIONS; j += 1) {
      let sum = normal();
      for (let i = 0; i < LATENT; i += 1) sum += latent[i] * projection[i * DIMENSIONS + j];
      vector[j] = sum;
      square += sum * sum;
    }
    const length = Math.sqrt(square);
    for (let j = 0; j < DIMENSIONS; j += 1) vector[j] /= length;
    return vector;
  };
}

/** `count` vectors in blocks: `{first, vectors}`, where the number of a vector is its place. */
function* blocks(count) {
  const next = source(2);
  for (let first = 0; first < count; first += BLOCK) {
    const vectors = Array.from({ length: Math.min(BLOCK, count - first) }, next);
    yield { first, vectors };
  }
}

let made;

/** What is searched for; made once a process. */
const queries = () => (made ??= Array.from({ length: QUERIES }, source(3)));

module.exports = { DIMENSIONS, NEIGHBOURS, blocks, queries };
