'use strict';
// Observations from shell commands (the Bash tool), by what the command does and whether it failed.
const { errorLines, openingLine, shorten, countLines, plural } = require('./source-text.cjs');
const { lookedAt, shownPath } = require('./tool-call.cjs');

const MAX_COMMAND_CHARS = 8_000;

const TRIVIAL =
  /^(?:ls|pwd|cd|echo|printf|true|which|whoami|date|clear|sleep|wait|export|set|env|mkdir|touch|kill|ps|type|head|tail|wc)\b/;
const TEST =
  /\b(?:npm (?:run )?(?:test|t)\b|yarn test|pnpm (?:run )?test|cargo (?:nextest|test)|pytest|go test|jest|vitest|mocha|node --test|rspec|phpunit|mvn (?:-\S+ )*test|gradle(?:w)? test|ctest|make (?:test|check))/;
const BUILD =
  /\b(?:npm run build|cargo (?:build|check|clippy)|tsc\b|make\b|go build|mvn |gradle|cmake|webpack|vite build|docker build)/;
const INSTALL =
  /\b(?:npm (?:i|install|add|uninstall|remove)|yarn (?:add|remove)|pnpm (?:add|remove)|cargo (?:add|remove)|pip3? install|apt(?:-get)? install|go get|gem install|brew install)\s+(?:-\S+\s+)*([^\s;&|-][^\s;&|]*)/;
const CHANGES_FILES =
  /^(?:mv|cp|rm|ln|chmod|chown|sed -i|git (?:mv|rm|checkout|restore|reset|revert|merge|rebase|cherry-pick|stash))\b/;
const SEARCHES = /^(?:grep|rg|ag|find|fd|git grep)\b/;
const READS = /^(?:cat|less|more|sed -n|awk|jq|bat|xxd|sqlite3)\b/;
const HISTORY = /^git (?:log|show|diff|blame|status|describe|shortlog)\b/;

const COMMIT_TYPES = [
  [/^(?:revert|fix|bug|hotfix)\b|\bfix(?:e[sd])?\b|\bbug\b|\bregression\b/i, 'bugfix'],
  [/^feat\b|^(?:add|implement|introduce|support)\b/i, 'feature'],
  [/^refactor\b|^(?:rename|move|extract|simplify|clean|split)\b/i, 'refactor'],
  [/\b(?:decide|decision|adr|choose|instead of)\b/i, 'decision'],
];

const CONCEPTS = {
  bugfix: ['problem-solution', 'what-changed'],
  feature: ['what-changed'],
  refactor: ['what-changed', 'pattern'],
  decision: ['why-it-exists', 'trade-off'],
  change: ['what-changed'],
};

/** The first command of a line, without `cd … &&` and without variables set for it. */
function mainCommand(line) {
  return line
    .trim()
    .replace(/^(?:cd\s+(?:"[^"]*"|'[^']*'|\S+)\s*(?:&&|;)\s*)+/, '')
    .replace(/^(?:[A-Z_][A-Z0-9_]*=\S*\s+)+/, '')
    .replace(/^(?:sudo|time|timeout \S+)\s+/, '')
    .trim();
}

function commitMessage(command) {
  return (
    /\bgit commit\b[^\n]*?-m\s*(?:"\$\(cat <<'?EOF'?\n([\s\S]*?)\n\s*EOF|"((?:[^"\\]|\\.)*)"|'([^']*)')/
      .exec(command)
      ?.slice(1)
      .find(Boolean)
      ?.trim() ?? null
  );
}

function testFigures(output) {
  const figures = [];
  for (const [pattern, noun] of [
    [/\b(\d+) (?:tests? )?pass(?:ed|ing|es)?\b/i, 'passed'],
    [/^(?:# |ℹ )?pass (\d+)/m, 'passed'],
    [/\b(\d+) (?:tests? )?fail(?:ed|ing|ures?)?\b/i, 'failed'],
    [/^(?:# |ℹ )?fail (\d+)/m, 'failed'],
    [/\b(\d+) (?:skipped|ignored|pending)\b/i, 'skipped'],
  ]) {
    const found = pattern.exec(output)?.[1];
    if (found !== undefined && !figures.some(([, known]) => known === noun)) figures.push([Number(found), noun]);
  }
  return figures;
}

function lastLines(output, count = 3) {
  return output
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean)
    .slice(-count)
    .map((line) => shorten(line, 180));
}

/** Paths that a command line names. */
function pathsIn(command, cwd) {
  const found = command.match(/(?<![\w/.-])(?:\.{0,2}\/)?(?:[\w@.+-]+\/)*[\w@+-]+\.[A-Za-z][\w]{0,5}(?![\w/(])/g) ?? [];
  return [...new Set(found.map((file) => shownPath(file, cwd)))].slice(0, 8);
}

/** The observation of a shell command, or null for one that tells nothing. */
function observeCommand(call) {
  const line = lookedAt(String(call.input.command ?? '')).slice(0, MAX_COMMAND_CHARS);
  const command = mainCommand(line);
  if (command === '') return null;
  const shown = shorten(command.replace(/\b([0-9a-f]{10})[0-9a-f]{30}\b/g, '$1'), 120);
  const output = call.responseText;
  const errors = errorLines(output);
  const files = pathsIn(command.slice(0, 1_000), call.cwd);
  const observation = (type, title, { facts = [], narrative, concepts, read = [], modified = [], subtitle }) => ({
    type,
    title: shorten(title, 140),
    subtitle: shorten(subtitle ?? call.input.description ?? facts[0] ?? shown, 160),
    facts: [`Command: ${shown}`, ...facts],
    narrative,
    concepts,
    files_read: read,
    files_modified: modified,
  });

  const message = commitMessage(line);
  if (message !== null && !call.failed) {
    const subject = message.split('\n')[0];
    const type = COMMIT_TYPES.find(([pattern]) => pattern.test(subject))?.[1] ?? 'change';
    const shape = /(\d+ files? changed[^\n]*)/.exec(output)?.[1];
    return observation(type, `Committed: ${subject}`, {
      facts: [
        ...(shape ? [shape.trim()] : []),
        ...message
          .split('\n')
          .slice(1)
          .map((entry) => entry.replace(/^[-*\s]+/, '').trim())
          .filter(Boolean)
          .slice(0, 6)
          .map((entry) => shorten(entry, 200)),
      ],
      narrative: `A commit was made: ${shorten(message, 600)}`,
      concepts: CONCEPTS[type],
      subtitle: shape ?? subject,
    });
  }
  if (TEST.test(command)) {
    const figures = testFigures(output);
    const red =
      call.failed ||
      figures.some(([count, noun]) => noun === 'failed' && count > 0) ||
      (figures.length === 0 && errors.length > 0);
    const counted = figures.map(([count, noun]) => `${count} ${noun}`).join(', ');
    return observation('discovery', `Tests ${red ? 'fail' : 'pass'}${counted ? `: ${counted}` : ''}`, {
      facts: red ? errors : lastLines(output, 2),
      narrative: `The tests were run with "${shown}" and ${red ? 'did not pass' : 'passed'}${counted ? ` (${counted})` : ''}.${red && errors[0] ? ` First report: ${errors[0]}` : ''}`,
      concepts: red ? ['gotcha', 'problem-solution'] : ['how-it-works'],
    });
  }
  if (call.failed || (errors.length > 0 && BUILD.test(command))) {
    return observation('discovery', `Command failed: ${shorten(command, 90)}`, {
      facts: errors.length > 0 ? errors : lastLines(output),
      narrative: `"${shown}" failed${errors[0] ? ` with: ${errors[0]}` : ''}.`,
      concepts: ['gotcha'],
    });
  }
  const installed = INSTALL.exec(command)?.[1];
  if (installed) {
    const removes = /\b(?:uninstall|remove)\b/.test(command);
    return observation('change', `${removes ? 'Removed' : 'Installed'} ${installed}`, {
      facts: lastLines(output, 2),
      narrative: `The dependencies were changed with "${shown}".`,
      concepts: ['what-changed'],
    });
  }
  if (CHANGES_FILES.test(command)) {
    return observation('change', `Ran ${shorten(command, 100)}`, {
      facts: lastLines(output, 2),
      narrative: `Files were changed from the command line with "${shown}".`,
      concepts: ['what-changed'],
      modified: files,
    });
  }
  if (TRIVIAL.test(command) || BUILD.test(command) || output.trim() === '') return null;
  if (HISTORY.test(command)) {
    return observation('discovery', `History: ${shorten(shown, 100)}`, {
      facts: historyFacts(output),
      narrative: `The history was looked at with "${shown}" (${plural(countLines(output), 'line')} of output).`,
      concepts: ['why-it-exists', 'what-changed'],
      read: files,
    });
  }
  const isSearch = SEARCHES.test(command);
  if (isSearch || READS.test(command)) {
    return observation('discovery', `${isSearch ? 'Searched' : 'Looked at'}: ${shorten(command, 100)}`, {
      facts: output
        .split('\n')
        .map((entry) => shorten(entry, 160))
        .filter(Boolean)
        .slice(0, 5),
      narrative: `"${shown}" gave ${plural(countLines(output), 'line')}${openingLine(output) ? `, among them: ${openingLine(output)}` : ''}.`,
      concepts: ['how-it-works'],
      read: files,
    });
  }
  return observation('discovery', `Ran ${shorten(command, 100)}`, {
    facts: [...errors, ...lastLines(output)].slice(0, 5),
    narrative: `"${shown}" ended with ${plural(countLines(output), 'line')} of output${lastLines(output, 1)[0] ? `, the last: ${lastLines(output, 1)[0]}` : ''}.`,
    concepts: errors.length > 0 ? ['gotcha'] : ['how-it-works'],
  });
}

function historyFacts(output) {
  const commits = Array.from(output.matchAll(/^(?:commit\s+)?([0-9a-f]{7,40})\b[ \t]*(.*)$/gm), (match) =>
    shorten(`${match[1].slice(0, 10)} ${match[2]}`, 160),
  );
  const files = Array.from(output.matchAll(/^diff --git a\/(\S+)/gm), (match) => `Touches ${match[1]}`);
  const facts = [...new Set([...commits, ...files])].slice(0, 6);
  return facts.length > 0 ? facts : lastLines(output);
}

module.exports = { observeCommand, mainCommand, commitMessage };
