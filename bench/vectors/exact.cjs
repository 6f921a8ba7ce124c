'use strict';
// Which vectors are the nearest, by comparing all; found once and kept in bench/results.

const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { DIMENSIONS, NEIGHBOURS, blocks, queries } = require('./data.cjs');
const { passes } = require('./metadata.cjs');

const FOLDER = path.join(__dirname, '../results/neighbours');

/** The inner product. Four sums that do not wait for each other: three times as fast as one. */
function inner(a, b) {
  let [p, q, r, s] = [0, 0, 0, 0];
  for (let i = 0; i < DIMENSIONS; i += 4) {
    p += a[i] * b[i];
    q += a[i + 1] * b[i + 1];
    r += a[i + 2] * b[i + 2];
    s += a[i + 3] * b[i + 3];
  }
  return p + q + r + s;
}

/** Keeps the nearest, nearest first. */
function offer(best, dot, id) {
  if (best.length === NEIGHBOURS && dot <= best[NEIGHBOURS - 1].dot) return;
  best.push({ dot, id });
  best.sort((a, b) => b.dot - a.dot);
  best.length = Math.min(best.length, NEIGHBOURS);
}

/** For each share the nearest of each query among those of `count` vectors that it lets through. */
function compare(count, shares) {
  const asked = queries();
  const best = shares.map(() => asked.map(() => []));
  for (const { first, vectors } of blocks(count)) {
    const pass = vectors.map((_, place) => shares.map((share) => passes(first + place, count, share)));
    for (const [at, query] of asked.entries()) {
      for (const [place, vector] of vectors.entries()) {
        const dot = inner(query, vector);
        for (let share = 0; share < shares.length; share += 1)
          if (pass[place][share]) offer(best[share][at], dot, first + place);
      }
    }
  }
  return best.map((lists) => lists.map((found) => found.map(({ id }) => id)));
}

/** What is kept of `count` vectors with these shares, or null. */
function known(file, shares) {
  try {
    const kept = JSON.parse(fs.readFileSync(file, 'utf8'));
    return kept.shares.join() === shares.join() ? kept.places : null;
  } catch {
    return null; // not there yet
  }
}

/**
 * For each of `shares` (1 is all) the places of the exact ten nearest of each query, among those of `count` vectors that
 * the filters of that share let through. Compared in a process of its own: its memory, once free, would be taken for that
 * of whoever is measured next.
 */
function neighbours(count, shares = [1]) {
  const file = path.join(FOLDER, `neighbours-${count}${shares.length > 1 ? '-filtered' : ''}.json`);
  if (!known(file, shares)) execFileSync(process.execPath, [__filename, file, String(count), shares.join()]);
  return known(file, shares);
}

function main() {
  const [, , file, count, shares] = process.argv;
  const parts = shares.split(',').map(Number);
  const places = compare(Number(count), parts);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, JSON.stringify({ shares: parts, places }));
}

/** The share of the exact neighbours that were found. */
function recall(found, exact) {
  const hits = found.reduce((sum, ids, at) => sum + ids.filter((id) => exact[at].includes(id)).length, 0);
  return hits / exact.reduce((sum, ids) => sum + ids.length, 0);
}

if (require.main === module) main();

module.exports = { neighbours, recall };
