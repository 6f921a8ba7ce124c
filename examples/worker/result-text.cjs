'use strict';
// Rows as text for a model: `index` is a numbered list to choose from, `full` has everything that is stored.

/** MCP content with one text. */
function content(text) {
  return [{ type: 'text', text }];
}

/** A stored JSON list, or an empty one where the stored text is not one. */
function storedList(text) {
  try {
    const list = JSON.parse(text);
    return Array.isArray(list) ? list.filter((entry) => typeof entry === 'string') : [];
  } catch {
    return [];
  }
}

function when(row) {
  const epoch = row.created_at_epoch ?? Date.parse(row.created_at);
  return Number.isFinite(epoch) ? new Date(epoch).toISOString().slice(0, 16).replace('T', ' ') : 'no date';
}

function oneLine(text, length = 160) {
  const line = String(text ?? '')
    .replace(/\s+/g, ' ')
    .trim();
  return line.length > length ? `${line.slice(0, length - 1)}…` : line;
}

const KINDS = {
  observation: {
    noun: 'observation',
    uri: (row) => `claude-mem://observation/${row.id}`,
    title: (row) => `[${row.type}] ${oneLine(row.title) || oneLine(row.text) || 'Untitled'}`,
    body: (row) => [
      row.subtitle && `_${row.subtitle}_`,
      row.narrative || row.text,
      bullets('Facts', storedList(row.facts)),
      row.concepts && inline('Concepts', storedList(row.concepts)),
      inline('Files read', storedList(row.files_read)),
      inline('Files modified', storedList(row.files_modified)),
    ],
  },
  session: {
    noun: 'session summary',
    uri: (row) => `claude-mem://session/${row.sdk_session_id ?? row.session_id}`,
    title: (row) => `[session] ${oneLine(row.request) || 'Session without a request'}`,
    body: (row) => [
      row.investigated && `**Investigated:** ${row.investigated}`,
      row.learned && `**Learned:** ${row.learned}`,
      row.completed && `**Completed:** ${row.completed}`,
      row.next_steps && `**Next steps:** ${row.next_steps}`,
      row.notes && `**Notes:** ${row.notes}`,
      inline('Files read', storedList(row.files_read)),
      inline('Files edited', storedList(row.files_edited)),
    ],
  },
  prompt: {
    noun: 'prompt',
    uri: (row) => `claude-mem://prompt/${row.id}`,
    title: (row) => `[prompt] ${oneLine(row.prompt_text)}`,
    body: (row) => [row.prompt_text],
  },
};

function bullets(label, entries) {
  return entries.length > 0 && `**${label}:**\n${entries.map((entry) => `- ${entry}`).join('\n')}`;
}

function inline(label, entries) {
  return entries.length > 0 && `**${label}:** ${entries.join(', ')}`;
}

function plural(count, noun) {
  if (count === 1) return `1 ${noun}`;
  return `${count} ${noun.endsWith('y') ? `${noun.slice(0, -1)}ies` : `${noun}s`}`;
}

/** One row, as a list entry. */
function indexEntry(kind, row, number) {
  const { title, uri } = KINDS[kind];
  const place = [when(row), row.project].filter(Boolean).join(' · ');
  return `${number}. ${title(row)}\n   ${place}\n   Source: ${uri(row)}`;
}

/** One row with everything that is stored. */
function fullEntry(kind, row) {
  const { title, uri, body } = KINDS[kind];
  const place = [when(row), row.project].filter(Boolean).join(' · ');
  return [`## ${title(row)}`, place, ...body(row).filter(Boolean), `Source: ${uri(row)}`].join('\n\n');
}

/** Rows of one kind under a heading. */
function rowsText(kind, rows, { heading, format }) {
  if (rows.length === 0) return `${heading}: nothing found.`;
  const head = `${heading}: ${plural(rows.length, KINDS[kind].noun)}.`;
  if (format === 'full') return [head, ...rows.map((row) => fullEntry(kind, row))].join('\n\n---\n\n');
  const hint = 'Ask again with format=full and a small limit for the whole text of the ones that matter.';
  return `${head}\n\n${rows.map((row, index) => indexEntry(kind, row, index + 1)).join('\n\n')}\n\n${hint}`;
}

module.exports = { content, rowsText, fullEntry, indexEntry, storedList, oneLine, when, plural, KINDS };
