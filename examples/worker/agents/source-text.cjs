'use strict';
// What can be read off a piece of source or prose without understanding it: names it defines, imports, errors, marks.

const DEFINITIONS = [
  /^[ \t]*(?:export\s+)?(?:default\s+)?(?:async\s+)?function\s*\*?\s*([A-Za-z_$][\w$]*)/gm,
  /^[ \t]*(?:export\s+)?(?:abstract\s+)?(?:class|interface|enum|type)\s+([A-Za-z_$][\w$]*)/gm,
  /^[ \t]*(?:export\s+)?const\s+([A-Za-z_$][\w$]*)\s*=\s*(?:async\s*)?(?:function|\([^)\n]*\)\s*=>|[\w$]+\s*=>)/gm,
  /^[ \t]*(?:pub(?:\([^)\n]*\))?\s+)?(?:unsafe\s+)?(?:async\s+)?(?:fn|struct|trait|enum|mod)\s+([A-Za-z_]\w*)/gm,
  /^[ \t]*(?:async\s+)?(?:def|class)\s+([A-Za-z_]\w*)/gm,
  /^func\s+(?:\([^)\n]*\)\s*)?([A-Za-z_]\w*)/gm,
];
const NOT_NAMES = new Set(['if', 'for', 'while', 'return', 'of', 'is', 'the', 'and', 'that', 'to', 'in']);

/** Names of functions, classes and types that a source text defines, in order, each once. */
function definedNames(source, limit = 12) {
  const found = [];
  for (const pattern of DEFINITIONS) {
    for (const match of source.matchAll(pattern)) {
      if (!NOT_NAMES.has(match[1])) found.push([match.index, match[1]]);
    }
  }
  found.sort((a, b) => a[0] - b[0]);
  return [...new Set(found.map(([, name]) => name))].slice(0, limit);
}

/** Modules that a source text imports, in order, each once. */
function importedModules(source, limit = 6) {
  const patterns = [
    /\bfrom\s+['"]([^'"\n]+)['"]/g,
    /\brequire\(\s*['"]([^'"\n]+)['"]\s*\)/g,
    /^[ \t]*use\s+([a-z_][\w:]*)/gm,
    /^[ \t]*(?:from\s+([\w.]+)\s+)?import\s+[\w*]/gm,
  ];
  const names = patterns
    .flatMap((pattern) => Array.from(source.matchAll(pattern), (match) => match[1]))
    .filter(Boolean);
  return [...new Set(names)].slice(0, limit);
}

/** Lines that report an error, shortened, each once. */
function errorLines(output, limit = 4) {
  const lines = output
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => /\b(?:error|exception|panicked|fatal|traceback|not ok|failed|cannot|ENOENT|EACCES)\b/i.test(line))
    .filter((line) => !/\b0 (?:errors?|failed|failures)\b/i.test(line));
  return [...new Set(lines.map((line) => shorten(line, 200)))].slice(0, limit);
}

/** The first line that says something: a heading, a comment or a sentence. */
function openingLine(source) {
  for (const line of source.split('\n', 40)) {
    const said = line
      .replace(/^\s*(?:\d+[→\t|]\s*)?/, '')
      .replace(/^(?:\/\/[/!]?|#+!?|\*|\/\*\*?|<!--|--|;+|"""|''')\s*/, '')
      .replace(/(?:\*\/|-->)\s*$/, '')
      .trim();
    if (
      /[A-Za-z\p{L}]{3,}.*\s.*\p{L}/u.test(said) &&
      !/^(?:use strict|['"]use strict|#!|import |const |use |package )/.test(said)
    ) {
      return shorten(said, 200);
    }
  }
  return null;
}

/** Text cut to `length` characters at a word, with an ellipsis where something went. */
function shorten(value, length) {
  const line = String(value).replace(/\s+/g, ' ').trim();
  if (line.length <= length) return line;
  const cut = line.slice(0, length - 1);
  const atWord = cut.replace(/\s+\S*$/, '');
  return `${(atWord.length > length / 2 ? atWord : cut).replace(/[\uD800-\uDBFF]$/, '')}…`;
}

/** Text that ends like a sentence. */
function asSentence(text) {
  return /[.!?…]["”]?$/.test(text) ? text : `${text}.`;
}

function countLines(source) {
  if (source === '') return 0;
  return source.split('\n').length - (source.endsWith('\n') ? 1 : 0);
}

function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

module.exports = { definedNames, importedModules, errorLines, openingLine, shorten, asSentence, countLines, plural };
