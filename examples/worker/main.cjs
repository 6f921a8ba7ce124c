'use strict';
// The command: reads settings, starts the worker, stops it on SIGTERM and SIGINT. It ends by itself once all is closed.
const fs = require('node:fs/promises');
const { readCommandLine, portFrom, wholeNumberFrom, StartUpError, USAGE } = require('./command-line.cjs');
const { readSettings } = require('../../settings/index.cjs');
const { SettingsFile } = require('./settings-file.cjs');
const { loadAgent } = require('./agents/load-agent.cjs');
const { needsRestart, runAgainWith, stopWithParent, leaveParent } = require('./node-options.cjs');

function log(line) {
  process.stderr.write(`${new Date().toISOString()} ${line}\n`);
}

/** What went wrong at the start, as one sentence with a remedy. */
function explain(error, { port, dataDir }) {
  switch (error.code) {
    case 'EADDRINUSE':
      return `Port ${port} is taken: another program, perhaps another worker, listens there; stop it or choose another port with CLAUDE_MEM_WORKER_PORT in settings.json or --port.`;
    case 'EACCES':
      return `Port ${port} may not be used by this user: choose another one with CLAUDE_MEM_WORKER_PORT in settings.json or --port.`;
    case 'ERR_LOCKED':
      return `The data directory ${dataDir} is in use: ${error.message}`;
    default:
      return `The worker could not start on ${dataDir}: ${error.message}`;
  }
}

async function readConfiguration(commandLine) {
  const settings = new SettingsFile(commandLine.dataDir);
  let values;
  try {
    values = await settings.read();
  } catch (error) {
    throw new StartUpError(error.message);
  }
  const number = (key, bounds) => wholeNumberFrom(values, key, bounds);
  return {
    settings,
    nodeOptions: values.NODE_OPTIONS,
    port: portFrom(commandLine.port, values.CLAUDE_MEM_WORKER_PORT),
    agent: commandLine.agent ?? values.CLAUDE_MEM_AGENT,
    agentCommand:
      commandLine.agentCommand ?? (commandLine.agent === undefined ? values.CLAUDE_MEM_AGENT_COMMAND : undefined),
    agentTimeoutMs: number('CLAUDE_MEM_AGENT_TIMEOUT_MS', { min: 100, max: 86_400_000, fallback: 300_000 }),
    maxConcurrentAgents: number('CLAUDE_MEM_MAX_CONCURRENT_AGENTS', { min: 1, max: 64, fallback: 2 }),
  };
}

/** The engine's own options (`CLAUDE_MEM_NATIVE_*`); what does not count is said. A worker owns a whole directory. */
function memoryOptions(dataDir) {
  const { openOptions, rejected } = readSettings({ dataDir });
  for (const { key, message } of rejected) if (key?.startsWith('CLAUDE_MEM_NATIVE_')) log(message);
  const { dataDir: _, role, readOnly, parts, ...options } = openOptions;
  return options;
}

async function main() {
  const commandLine = readCommandLine(process.argv.slice(2));
  if (commandLine.help) {
    process.stdout.write(`${USAGE}\n`);
    return;
  }
  const configuration = await readConfiguration(commandLine);
  if (needsRestart(configuration.nodeOptions)) {
    process.exitCode = await runAgainWith(configuration.nodeOptions);
    return;
  }
  const { dataDir } = commandLine;
  let agent;
  try {
    agent = loadAgent({
      agent: configuration.agent,
      agentCommand: configuration.agentCommand,
      timeoutMs: configuration.agentTimeoutMs,
    });
  } catch (error) {
    throw new StartUpError(`The agent could not be loaded: ${error.message}`);
  }
  await fs.mkdir(dataDir, { recursive: true });

  // Required here, so that a wrong flag is explained even where the module is not built yet.
  const { startWorker } = require('./worker.cjs');
  let worker;
  try {
    worker = await startWorker({
      dataDir,
      port: configuration.port,
      agent,
      settings: configuration.settings,
      memoryOptions: memoryOptions(dataDir),
      schedulerOptions: {
        maxConcurrentAgents: configuration.maxConcurrentAgents,
        agentTimeoutMs: configuration.agentTimeoutMs,
      },
      log,
    });
  } catch (error) {
    throw new StartUpError(explain(error, { port: configuration.port, dataDir }));
  }
  const stop = () => {
    worker.stop().then(leaveParent, (error) => {
      log(`The worker did not stop cleanly: ${error.stack || error}`);
      process.exitCode = 1;
      leaveParent();
    });
  };
  // The listeners stay: a second signal finds the worker stopping already and changes nothing.
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  stopWithParent(stop);
  process.stdout.write(
    `claude-mem worker on http://127.0.0.1:${worker.port} (data in ${dataDir}, agent: ${agent.name ?? 'unnamed'})\n`,
  );
}

main().catch((error) => {
  process.stderr.write(`${error instanceof StartUpError ? error.message : error.stack || error}\n`);
  process.exitCode = 1;
});
