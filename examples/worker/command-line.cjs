'use strict';
// The worker's command line. Flags win over settings, so that a test or a demonstration can use a port of its own.
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');

const USAGE = `Usage: node examples/worker/main.cjs [options]
  --data-dir <directory>    default: CLAUDE_MEM_DATA_DIR, else ~/.claude-mem
  --port <number>           default: settings.json, CLAUDE_MEM_WORKER_PORT, else 37777; 0 = any free port
  --agent <rules|file.cjs>  default: CLAUDE_MEM_AGENT, else the rules that come with the worker
  --agent-command <command> a program of yours that is given messages as JSON and answers JSON
  --help`;

/** A mistake in how the worker was started: shown as one sentence. */
class StartUpError extends Error {}

/** Reads the arguments. @returns {{help: boolean, dataDir: string, port?: string, agent?: string, agentCommand?: string}} */
function readCommandLine(args, environment = process.env) {
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        'data-dir': { type: 'string' },
        port: { type: 'string' },
        agent: { type: 'string' },
        'agent-command': { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    throw new StartUpError(`${error.message}\n${USAGE}`);
  }
  const dataDir = values['data-dir'] || environment.CLAUDE_MEM_DATA_DIR || path.join(os.homedir(), '.claude-mem');
  return {
    help: values.help,
    dataDir: path.resolve(dataDir),
    port: values.port,
    agent: values.agent,
    agentCommand: values['agent-command'],
  };
}

/** The port to listen on: `flag` may be 0 (any free port), a setting must be from 1024 to 65535. */
function portFrom(flag, setting) {
  const given = flag ?? setting;
  const port = /^\d{1,5}$/.test(given ?? '') ? Number(given) : NaN;
  const lowest = flag === undefined ? 1024 : 0;
  if (!(port >= lowest && port <= 65535)) {
    throw new StartUpError(
      `The port ${JSON.stringify(given)} is not a whole number from ${lowest} to 65535: correct ${
        flag === undefined ? 'CLAUDE_MEM_WORKER_PORT in settings.json or in the environment' : '--port'
      }.`,
    );
  }
  return port;
}

/** A whole number among the settings, such as a time in milliseconds. */
function wholeNumberFrom(settings, key, { min, max, fallback }) {
  const given = settings[key];
  if (given === undefined) return fallback;
  const number = /^\d{1,12}$/.test(given) ? Number(given) : NaN;
  if (!(number >= min && number <= max)) {
    throw new StartUpError(`${key} is ${JSON.stringify(given)}; it must be a whole number from ${min} to ${max}.`);
  }
  return number;
}

module.exports = { readCommandLine, portFrom, wholeNumberFrom, StartUpError, USAGE };
