'use strict';
// Observations from tools that only look: Read, Grep, Glob, the web, and tools that these rules do not know.
const path = require('node:path');
const {
  definedNames,
  importedModules,
  errorLines,
  openingLine,
  shorten,
  asSentence,
  countLines,
  plural,
} = require('./source-text.cjs');
const { lookedAt, shownPath } = require('./tool-call.cjs');

/** The content of a read file, without the line numbers that some tools put in front. */
function withoutLineNumbers(text) {
  return text.replace(/^[ \t]*\d+(?:→|\t|\| )/gm, '');
}

/** Read, NotebookRead: what the file is and defines. */
function observeRead(call) {
  const content = withoutLineNumbers(lookedAt(String(call.response?.file?.content ?? call.responseText)));
  if (call.file === null || content.trim().length < 40) return null;
  const name = path.posix.basename(call.file);
  const names = definedNames(content);
  const imports = importedModules(content);
  const opening = openingLine(content);
  const marks = Array.from(
    content.matchAll(/\b(TODO|FIXME|HACK|XXX)\b[:\s]+(.{8,})$/gm),
    (match) => `${match[1]}: ${shorten(match[2], 160)}`,
  ).slice(0, 3);
  const decision =
    /(?:^|[.!?]\s|\/\/\s*|#\s*|\*\s*)([^.!?\n]*\b(?:decided|decision:|rationale|trade-?off|instead of|rather than)\b[^.!?\n]*)/i.exec(
      content,
    )?.[1];
  const total = call.response?.file?.totalLines ?? countLines(content);
  const facts = [`${call.file} has ${plural(total, 'line')}`];
  if (opening) facts.push(opening);
  if (names.length > 0) facts.push(`Defines ${names.join(', ')}`);
  if (imports.length > 0) facts.push(`Uses ${imports.join(', ')}`);
  facts.push(...marks);
  if (decision) facts.push(`Says why: ${shorten(decision, 200)}`);
  const concepts = ['how-it-works'];
  if (decision) concepts.push('why-it-exists');
  if (marks.length > 0) concepts.push('gotcha');
  return {
    type: 'discovery',
    title: names.length > 0 ? `${name} defines ${names.slice(0, 3).join(', ')}` : `Read ${name}`,
    subtitle: opening ?? facts[0],
    facts,
    narrative: `${call.file} was read.${opening ? ` It opens with: ${asSentence(opening)}` : ''}${names.length > 0 ? ` It defines ${names.join(', ')}.` : ''}`,
    concepts,
    files_read: [call.file],
    files_modified: [],
  };
}

/** Grep, Glob: where something was found; nothing where nothing was found. */
function observeSearch(call) {
  const pattern = call.input.pattern ?? call.input.query;
  const found = Array.isArray(call.response?.filenames)
    ? call.response.filenames.filter((file) => typeof file === 'string')
    : call.responseText
        .split('\n')
        .map((line) => line.trim())
        .filter((line) => line !== '' && !/^(?:no (?:files|matches) found|found \d+)/i.test(line));
  if (typeof pattern !== 'string' || found.length === 0) return null;
  const files = [
    ...new Set(
      found
        .map((line) => shownPath(/^(?:[A-Za-z]:)?[^:\s]+/.exec(line)?.[0] ?? '', call.cwd))
        .filter((file) => file?.includes('.')),
    ),
  ];
  return {
    type: 'discovery',
    title: shorten(
      `"${pattern}" found in ${plural(files.length || found.length, files.length > 0 ? 'file' : 'place')}`,
      140,
    ),
    subtitle: shorten(call.input.path ?? call.input.glob ?? found[0], 160),
    facts: found.slice(0, 6).map((line) => shorten(shownPath(line, call.cwd), 180)),
    narrative: `A search for "${shorten(pattern, 120)}" led to ${files.slice(0, 5).join(', ') || plural(found.length, 'line')}${files.length > 5 ? ` and ${files.length - 5} more` : ''}.`,
    concepts: ['how-it-works'],
    files_read: files.slice(0, 8),
    files_modified: [],
  };
}

/** Any other tool: worth a note only if it gave a substantial answer. */
function observeOther(call) {
  const answer = call.responseText.trim();
  if (answer.length < 80) return null;
  const subject = call.input.url ?? call.input.query ?? call.input.description ?? call.input.prompt ?? call.file;
  const errors = call.failed ? errorLines(answer) : [];
  return {
    type: 'discovery',
    title: shorten(`${call.tool}${typeof subject === 'string' ? `: ${subject}` : ' answered'}`, 140),
    subtitle: shorten(openingLine(answer) ?? answer, 160),
    facts: (errors.length > 0
      ? errors
      : answer
          .split('\n')
          .filter((line) => line.trim().length > 20)
          .slice(0, 4)
    ).map((line) => shorten(line, 180)),
    narrative: `${call.tool} ${call.failed ? 'failed' : 'answered'}: ${shorten(answer, 400)}`,
    concepts: call.failed ? ['gotcha'] : ['how-it-works'],
    files_read: call.file === null ? [] : [call.file],
    files_modified: [],
  };
}

module.exports = { observeRead, observeSearch, observeOther };
