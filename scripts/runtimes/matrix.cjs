'use strict';
// From results to a matrix: a row a file, a column a runtime.

const { RUNTIMES, titleOf } = require('./versions.cjs');

const countOf = (tests, outcome) => tests.filter((test) => test.outcome === outcome).length;

/** One cell: what became of a file's tests on a runtime. */
function cellOf({ tests, seconds }) {
  return {
    passed: countOf(tests, 'passed'),
    failed: countOf(tests, 'failed'),
    skipped: countOf(tests, 'skipped'),
    seconds,
  };
}

function total(cells) {
  const sum = { passed: 0, failed: 0, skipped: 0, seconds: 0 };
  for (const cell of cells) for (const key of Object.keys(sum)) sum[key] += cell[key];
  return sum;
}

/** `12 · 1 skipped (3 s)`; a failure comes first. */
function show(cell) {
  if (!cell) return '–';
  const { passed, failed, skipped, seconds } = cell;
  const counts = [failed ? `${failed} FAILED` : '', passed ? `${passed}` : '', skipped ? `${skipped} skipped` : ''];
  return `${counts.filter(Boolean).join(' · ') || '0'} (${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s)`;
}

/**
 * Headings and rows. `results` maps a runtime's id to `{files: {file: cell}}`, or to `{notRun: reason}`.
 */
function matrix(results) {
  const runtimes = RUNTIMES.filter(({ id }) => results[id]);
  const files = [...new Set(runtimes.flatMap(({ id }) => Object.keys(results[id].files ?? {})))].sort();
  const cell = ({ id }, file) => (results[id].files ? show(results[id].files[file]) : 'not run');
  const all = ({ id }) => {
    if (!results[id].files) return 'not run';
    const cells = Object.values(results[id].files);
    const part = cells.length < files.length ? `, ${cells.length} of ${files.length} files` : '';
    return `${show(total(cells))}${part}`;
  };
  return {
    headings: ['test file', ...runtimes.map(titleOf)],
    rows: files.map((file) => [file.replace(/\.test\.[cm]js$/, ''), ...runtimes.map((runtime) => cell(runtime, file))]),
    totals: ['all', ...runtimes.map(all)],
  };
}

/** For a terminal: columns of equal width. */
function plain(results) {
  const { headings, rows, totals } = matrix(results);
  const lines = [headings, ...rows, totals];
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines
    .map((line) =>
      line
        .map((text, column) => text.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

const markdownRow = (cells) => `| ${cells.join(' | ')} |`;

/** For README.md: the totals, and the files folded away below them. */
function markdown(results, { binary, machine }) {
  const { headings, rows, totals } = matrix(results);
  const rule = markdownRow(headings.map(() => '---'));
  const notRun = RUNTIMES.filter(({ id }) => results[id]?.notRun).map(
    (runtime) => `${titleOf(runtime)} was not run: ${results[runtime.id].notRun}.`,
  );
  return [
    `Tests that passed, and the time, which is that of whatever else the machine did (– is a file that was not run); on ${machine}, ${new Date().toISOString().slice(0, 10)}, one binary for all (SHA-256 ${binary}…).`,
    '',
    markdownRow(['', ...headings.slice(1)]),
    rule,
    markdownRow(totals),
    ...(notRun.length > 0 ? ['', ...notRun] : []),
    '',
    '<details><summary>File by file</summary>',
    '',
    markdownRow(headings),
    rule,
    ...rows.map(markdownRow),
    '',
    '</details>',
  ].join('\n');
}

module.exports = { cellOf, markdown, plain, total };
