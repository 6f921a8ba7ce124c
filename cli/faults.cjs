'use strict';
// What goes wrong, in one line: users' mistakes and refusals of the engine have no stack trace.

/** Exit codes. `health` and `doctor` answer 1 and 2 for what they find; a wrong command line is told apart from both. */
const EXIT = { ok: 0, failed: 1, warning: 1, critical: 2, usage: 64, interrupted: 130 };

/** A mistake that the user can mend; the message says how. */
class Fault extends Error {
  constructor(message, { exitCode = EXIT.failed, cause } = {}) {
    super(message, { cause });
    this.name = 'Fault';
    this.exitCode = exitCode;
  }
}

/** A command line that cannot be meant so. */
const usage = (message) => new Fault(message, { exitCode: EXIT.usage });

/** The user has pressed Ctrl+C. */
class Interrupted extends Fault {
  constructor(message) {
    super(message, { exitCode: EXIT.interrupted });
  }
}

/** Of an error of commander: help and version are errors to it, too, and it has said by itself what is wrong. */
const ofCommander = (error) => typeof error?.code === 'string' && error.code.startsWith('commander.');

function exitCodeOf(error) {
  if (ofCommander(error)) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  return error?.exitCode ?? EXIT.failed;
}

/** The first line of a message; what follows (the loader's list of paths, a stack) is for `CLAUDE_MEM_NATIVE_DEBUG`. */
function firstLine(error) {
  return String(error?.message ?? error)
    .split('\n', 1)[0]
    .trim();
}

/** Prints why a command failed. */
function tell(error) {
  if (ofCommander(error)) return;
  const missing = error?.code === 'MODULE_NOT_FOUND' && /'(commander|cli-progress)'/.exec(error.message);
  const line = missing
    ? `the package ${missing[1]}, which the command line needs, is not installed; run "npm install" where claude-mem-native is installed`
    : firstLine(error);
  process.stderr.write(`claude-mem-native: ${line}\n`);
  if (process.env.CLAUDE_MEM_NATIVE_DEBUG) process.stderr.write(`${error?.stack ?? error}\n`);
}

module.exports = { EXIT, Fault, Interrupted, exitCodeOf, firstLine, tell, usage };
