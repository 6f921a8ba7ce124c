'use strict';
// A plain-text table.

/**
 * Lays out rows below their headings. A column is `{heading, key, format?}`; a row with a `failure` shows that
 * sentence in place of its figures.
 */
function formatTable(columns, rows) {
  const labels = columns.filter(({ key }) => key === 'driver' || key === 'variant').length;
  const cells = rows.map((row) =>
    columns.map(({ key, format = String }, index) => {
      if (row.failure && index >= labels) return index === labels ? row.failure : '';
      return row[key] === undefined || row[key] === null ? '' : format(row[key]);
    }),
  );
  const widths = columns.map(({ heading }, index) =>
    // A failure runs on to the right, over columns that are empty.
    Math.max(
      heading.length,
      ...cells.filter((_, row) => !rows[row].failure || index < labels).map((row) => row[index].length),
    ),
  );
  const line = (row) =>
    row
      .map((cell, index) =>
        index < labels || cell.startsWith('ended:') ? cell.padEnd(widths[index]) : cell.padStart(widths[index]),
      )
      .join('  ')
      .trimEnd();
  return [columns.map(({ heading }) => heading), widths.map((width) => '-'.repeat(width)), ...cells]
    .map((row) => `${line(row)}\n`)
    .join('');
}

module.exports = { formatTable };
