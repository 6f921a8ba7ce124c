'use strict';
// Real input for the demonstration: this repository's own files and git history, as the tool calls that an editor
// would have made over them. Where git or its history is missing, the files alone are used.
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const ROOT = path.join(__dirname, '..', '..');
const SKIPPED = new Set(['.git', 'node_modules', 'target']);
const TEXT_FILE = /\.(?:rs|c?m?js|ts|json|md|toml|css|html|lock|svg|yml)$|(?:^|\/)(?:LICENSE|run|\.gitignore)$/;
const MIN_BYTES = 1024;
const MAX_BYTES = 64 * 1024;
/** Names a message inside its own content, so that it can be found again in what was stored. */
const MARK = 'demo message';

/** Numbers that look random and are the same in every run (a linear congruential generator). */
function numbers(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function git(...args) {
  return execFileSync('git', args, {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
}

function walk(directory) {
  return fs.readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const place = path.join(directory, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : walk(place);
    return entry.isFile() ? [path.relative(ROOT, place).replaceAll('\\', '/')] : [];
  });
}

/** The repository's text files: {file, text}. */
function readFiles() {
  let names;
  try {
    names = git('ls-files', '-z').split('\0').filter(Boolean);
  } catch {
    names = walk(ROOT);
  }
  return names
    .filter((name) => TEXT_FILE.test(name))
    .flatMap((file) => {
      const place = path.join(ROOT, file);
      if (!fs.existsSync(place)) return [];
      const text = fs.readFileSync(place, 'utf8');
      return text.length >= MIN_BYTES ? [{ file, text }] : [];
    });
}

/** The newest commits with their changes: {hash, subject, patch}; none where there is no history. */
function readCommits() {
  try {
    const hashes = git('log', '--no-merges', '--max-count=60', '--format=%H%x09%s').split('\n').filter(Boolean);
    return hashes
      .map((line) => {
        const [hash, subject] = line.split('\t');
        return { hash, subject, patch: git('show', '--stat', '--patch', '--no-color', hash) };
      })
      .filter(({ patch }) => patch.length >= MIN_BYTES);
  } catch {
    return [];
  }
}

/** A window of a text: whole lines from a random place, of about the wanted size. */
function windowOf(text, bytes, pick) {
  const start = text.length <= bytes ? 0 : text.lastIndexOf('\n', pick(text.length - bytes)) + 1;
  return { start, content: text.slice(start, start + bytes) };
}

/** Mostly small, sometimes large: 1 to 56 KB. */
function sizeFor(pick) {
  const share = pick(1000) / 1000;
  return Math.floor(MIN_BYTES + share ** 3 * (MAX_BYTES - 8 * 1024));
}

function readCall({ file, text }, pick) {
  const { start, content } = windowOf(text, sizeFor(pick), pick);
  const startLine = text.slice(0, start).split('\n').length;
  return {
    tool_name: 'Read',
    input: { file_path: `${ROOT}/${file}`, offset: startLine },
    response: {
      type: 'text',
      file: { filePath: `${ROOT}/${file}`, content, startLine, totalLines: text.split('\n').length },
    },
  };
}

function editCall({ file, text }, pick) {
  const { content } = windowOf(text, Math.floor(sizeFor(pick) / 2), pick);
  const lines = content.split('\n');
  const kept = lines.slice(0, -1 - pick(Math.max(1, Math.min(20, lines.length - 2))));
  return {
    tool_name: 'Edit',
    input: { file_path: `${ROOT}/${file}`, old_string: kept.join('\n'), new_string: content },
    response: { filePath: `${ROOT}/${file}`, success: true },
  };
}

function grepCall(files, { text }, pick) {
  const words = text.match(/\b[A-Za-z_]{6,24}\b/g) ?? ['memory'];
  const pattern = words[pick(words.length)];
  const wanted = sizeFor(pick);
  const found = [];
  let bytes = 0;
  for (const other of files) {
    for (const [index, line] of other.text.split('\n').entries()) {
      if (!line.includes(pattern) || bytes > wanted) continue;
      found.push(`${other.file}:${index + 1}:${line}`);
      bytes += line.length + other.file.length;
    }
  }
  return {
    tool_name: 'Grep',
    input: { pattern, output_mode: 'content' },
    response: { mode: 'content', content: found.join('\n') },
  };
}

function showCall({ hash, patch }, pick) {
  const { content } = windowOf(patch, sizeFor(pick), pick);
  return {
    tool_name: 'Bash',
    input: { command: `git show ${hash}`, description: 'Look at a commit' },
    response: { stdout: content, stderr: '', interrupted: false },
  };
}

/** Makes `count` tool calls; the n-th one names itself. Each is a body of POST /sessions/:id/observations. */
function* toolCalls(count) {
  const pick = numbers(20_250_901);
  const files = readFiles();
  const commits = readCommits();
  for (let index = 0; index < count;) {
    const file = files[pick(files.length)];
    const kind = pick(10);
    let call;
    if (kind < 3 && commits.length > 0) call = showCall(commits[pick(commits.length)], pick);
    else if (kind < 5) call = editCall(file, pick);
    else if (kind < 6) call = grepCall(files, file, pick);
    else call = readCall(file, pick);
    const body = {
      tool_name: call.tool_name,
      tool_input: JSON.stringify({ ...call.input, note: `${MARK} ${index}` }),
      tool_response: JSON.stringify(call.response),
      prompt_number: 1,
      cwd: ROOT,
    };
    // Quotes and line ends grow when a text becomes JSON: what came out too large or too small is picked again.
    const bytes = Buffer.byteLength(JSON.stringify(body));
    if (bytes < MIN_BYTES || bytes > MAX_BYTES) continue;
    yield body;
    index += 1;
  }
}

/** The number in a text that carries a mark, or null. */
function markedNumber(text) {
  const found = new RegExp(`${MARK} (\\d+)`).exec(text ?? '');
  return found === null ? null : Number(found[1]);
}

module.exports = { toolCalls, markedNumber, readCommits, MARK, ROOT };
