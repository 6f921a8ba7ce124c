'use strict';
// Tables, for a terminal and for Markdown.

/** Lays out rows of texts below their headings; the first `labels` columns are aligned to the left. */
function plainTable(headings, rows, labels) {
  const widths = headings.map((heading, index) => Math.max(heading.length, ...rows.map((row) => row[index].length)));
  const line = (row) =>
    row
      .map((cell, index) => (index < labels ? cell.padEnd(widths[index]) : cell.padStart(widths[index])))
      .join('  ')
      .trimEnd();
  return [headings, widths.map((width) => '-'.repeat(width)), ...rows].map((row) => `${line(row)}\n`).join('');
}

/** The same in Markdown. */
function markdownTable(headings, rows, labels) {
  const line = (row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
  const rule = headings.map((_, index) => (index < labels ? '---' : '---:'));
  return [headings, rule, ...rows].map(line).join('');
}

module.exports = { markdownTable, plainTable };
