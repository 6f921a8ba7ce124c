'use strict';
// Observations from tools that change a file: Edit, MultiEdit, Write, NotebookEdit.
const path = require('node:path');
const { lookedAt } = require('./tool-call.cjs');
const {
  definedNames,
  importedModules,
  openingLine,
  shorten,
  asSentence,
  countLines,
  plural,
} = require('./source-text.cjs');

const FIX =
  /\b(?:fix(?:e[sd]|ing)?|bug|regression|workaround|race condition|deadlock|leak(?:s|ed)?|crash(?:es|ed)?|off[- ]by[- ]one|broken|hotfix)\b/i;
const DECISION =
  /\b(?:decision|decided|we (?:chose|choose|use)|rationale|trade-?offs?|alternatives? considered|instead of|rather than)\b/i;
const REFACTOR =
  /\b(?:refactor(?:s|ed|ing)?|renam(?:e[sd]?|ing)|extract(?:ed|ing)?|clean(?:ed)? ?up|simplif(?:y|ied)|restructur(?:e|ed|ing)|mov(?:e|ed) (?:in)?to)\b/i;
const GUARD =
  /\b(?:catch|except|try|unwrap_or|ok_or|if\s*\(?!|=== ?null|!== ?null|is None|\?\?|finally|throw new|return Err|raise)/;
const DECISION_FILE =
  /(?:^|\/)(?:adr|adrs|decisions?|rfcs?)(?:\/|[-_.])|(?:^|\/)(?:design|architecture|decision)[^/]*\.(?:md|rst|txt|adoc)$/i;
const PROSE_FILE = /\.(?:md|rst|txt|adoc)$|(?:^|\/)(?:README|CHANGELOG|LICENSE)/i;
const CONFIG_FILE = /\.(?:json|ya?ml|toml|ini|cfg|conf|lock|env)$|(?:^|\/)(?:Dockerfile|Makefile|\.[^/]+)$/i;

/** The changes of one call as pairs of the text before and after. */
function changesOf(call) {
  const { tool, input, response } = call;
  if (tool === 'MultiEdit' && Array.isArray(input.edits)) {
    return input.edits.map((edit) => ({
      before: String(edit?.old_string ?? ''),
      after: String(edit?.new_string ?? ''),
    }));
  }
  if (tool === 'Edit' || tool === 'MultiEdit') {
    return [{ before: String(input.old_string ?? ''), after: String(input.new_string ?? '') }];
  }
  const before = typeof response?.originalFile === 'string' ? response.originalFile : '';
  return [{ before, after: String(input.content ?? input.new_source ?? '') }];
}

function words(source) {
  return source.match(/[\p{L}_$][\p{L}\p{N}_$]*/gu) ?? [];
}

/** Whether the change only gives names another spelling or another place. */
function keepsItsWords(before, after) {
  const old = words(before);
  const now = words(after);
  if (old.length < 4 || Math.abs(old.length - now.length) > Math.max(2, old.length * 0.1)) return false;
  const counts = new Map();
  for (const word of old) counts.set(word, (counts.get(word) ?? 0) + 1);
  const missing = new Set();
  let differing = 0;
  for (const word of now) {
    const left = counts.get(word) ?? 0;
    if (left > 0) counts.set(word, left - 1);
    else {
      missing.add(word);
      differing += 1;
    }
  }
  return missing.size <= 2 && differing <= Math.max(2, old.length * 0.3);
}

function newLines(before, after) {
  const old = new Set(before.split('\n'));
  return after.split('\n').filter((line) => !old.has(line));
}

function addedNames(before, after) {
  const old = new Set(definedNames(before, 200));
  return definedNames(after, 200).filter((name) => !old.has(name));
}

/** bugfix, decision, refactor, feature or change, from what was written and why. */
function typeOfChange({ file, before, after, isNew, prompt, replaceAll }) {
  if (DECISION_FILE.test(file) || (PROSE_FILE.test(file) && DECISION.test(after) && !DECISION.test(before)))
    return 'decision';
  if (CONFIG_FILE.test(file) || PROSE_FILE.test(file)) return 'change';
  const news = newLines(before, after).join('\n');
  const comments = (news.match(/(?:\/\/|#|\/\*|\*|--)\s.*$/gm) ?? []).join('\n');
  if (FIX.test(comments)) return 'bugfix';
  if (DECISION.test(comments)) return 'decision';
  if (isNew) return FIX.test(prompt) && /test/i.test(file) ? 'bugfix' : 'feature';
  if (replaceAll || keepsItsWords(before, after) || REFACTOR.test(comments)) return 'refactor';
  if (FIX.test(prompt)) return 'bugfix';
  if (REFACTOR.test(prompt)) return 'refactor';
  if (addedNames(before, after).length > 0) return 'feature';
  if (GUARD.test(news) && !GUARD.test(before)) return 'bugfix';
  return 'change';
}

const CONCEPTS = {
  bugfix: ['problem-solution', 'what-changed'],
  feature: ['what-changed', 'how-it-works'],
  refactor: ['what-changed', 'pattern'],
  decision: ['why-it-exists', 'trade-off'],
  change: ['what-changed'],
};

const TITLES = {
  bugfix: (name) => `Fixed ${name}`,
  feature: (name, isNew) => (isNew ? `Added ${name}` : `Extended ${name}`),
  refactor: (name) => `Refactored ${name}`,
  decision: (name) => `Recorded a decision in ${name}`,
  change: (name, isNew) => (isNew ? `Created ${name}` : `Changed ${name}`),
};

/** The observation of a call that changed a file, or null where nothing changed. */
function observeEdit(call, { prompt }) {
  const changes = changesOf(call);
  const before = lookedAt(changes.map((change) => change.before).join('\n'));
  const after = lookedAt(changes.map((change) => change.after).join('\n'));
  if (call.file === null || call.failed || before === after) return null;
  const isNew = call.tool === 'Write' && call.response?.type !== 'update' && before === '';
  const type = typeOfChange({
    file: call.file,
    before,
    after,
    isNew,
    prompt,
    replaceAll: call.input.replace_all === true,
  });
  const name = path.posix.basename(call.file);
  const added = addedNames(before, after);
  const oldNames = new Set(definedNames(after, 200));
  const removed = definedNames(before, 200).filter((entry) => !oldNames.has(entry));
  const imports = importedModules(after).filter((entry) => !importedModules(before, 100).includes(entry));
  const reason = newLines(before, after)
    .map((line) => /(?:\/\/|#|\*|--)\s+(.{12,})$/.exec(line)?.[1])
    .find(Boolean);
  const size =
    isNew || before === ''
      ? `${plural(countLines(after), 'line')} written`
      : `${plural(countLines(before), 'line')} became ${plural(countLines(after), 'line')}`;
  const facts = [`${call.file}: ${size}${changes.length > 1 ? ` in ${changes.length} places` : ''}`];
  if (added.length > 0) facts.push(`Defines ${added.slice(0, 8).join(', ')}`);
  if (removed.length > 0) facts.push(`No longer defines ${removed.slice(0, 8).join(', ')}`);
  if (imports.length > 0) facts.push(`Now uses ${imports.join(', ')}`);
  if (reason) facts.push(`Comment: ${shorten(reason, 180)}`);
  const subject = added[0] && !isNew ? `${added[0]} in ${name}` : name;
  return {
    type,
    title: TITLES[type](subject, isNew),
    subtitle: shorten(openingLine(isNew ? after : (reason ?? '')) ?? reason ?? facts[0], 160),
    facts,
    narrative: narrate(call, { type, isNew, size, added, removed, reason, prompt }),
    concepts: CONCEPTS[type],
    files_read: [],
    files_modified: [call.file],
  };
}

function narrate(call, { type, isNew, size, added, removed, reason, prompt }) {
  const sentences = [
    `${isNew ? 'The file' : 'In'} ${call.file} ${isNew ? 'was created' : 'a passage was replaced'} (${size}).`,
  ];
  if (added.length > 0) sentences.push(`It now defines ${added.slice(0, 8).join(', ')}.`);
  if (removed.length > 0) sentences.push(`${removed.slice(0, 8).join(', ')} went away there.`);
  if (reason) sentences.push(`The code says why: ${asSentence(shorten(reason, 240))}`);
  if (prompt && type !== 'change') sentences.push(asSentence(`It was done for the request "${shorten(prompt, 160)}"`));
  return sentences.join(' ');
}

module.exports = { observeEdit, typeOfChange, keepsItsWords };
