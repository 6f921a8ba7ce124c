'use strict';
// Asks the worker for what it has just stored, in words that do not stand there, and by name.
const { requestJson } = require('./http-client.cjs');

const QUERIES = ['how is work kept safe when the process is killed?', 'openMemory', 'which file talks to the database'];
const SHOWN = 2;
const INDEXED_MS = 60_000;

/** Waits, but not for ever, until what is owed has vectors; returns how many still wait. */
async function indexed(port, sleep) {
  const giveUpAt = Date.now() + INDEXED_MS;
  for (;;) {
    const { index } = await requestJson(port, 'GET', '/health');
    const { pending, state } = index;
    if (pending === 0 || state === 'waiting' || state === 'failing' || Date.now() > giveUpAt) return pending;
    await sleep(500);
  }
}

/** Lines that show what each query finds, and how long the answer took. */
async function searches(port) {
  const lines = [];
  for (const query of QUERIES) {
    const startedAt = performance.now();
    const path = `/api/search/observations?format=json&limit=${SHOWN}&query=${encodeURIComponent(query)}`;
    const rows = await requestJson(port, 'GET', path);
    lines.push(`  “${query}” (${(performance.now() - startedAt).toFixed(1)} ms)`);
    for (const { id, score, title, project } of rows)
      lines.push(`    ${score.toFixed(2)}  #${id} ${title}  (${project})`);
    if (rows.length === 0) lines.push('    nothing found');
  }
  return lines.join('\n');
}

module.exports = { indexed, searches };
