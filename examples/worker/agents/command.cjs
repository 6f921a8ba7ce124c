'use strict';
// An agent that asks a program of the user's choice: messages and context as one JSON object on its standard input,
// {observations, summary} as one JSON object on its standard output. A real model is plugged in this way. The command
// comes from the settings, the environment or the command line, never over HTTP.
const { spawn } = require('node:child_process');
const { AgentUnavailableError } = require('./unavailable.cjs');

const MAX_OUTPUT_BYTES = 8 * 1024 * 1024;
const MAX_COMPLAINT_BYTES = 16 * 1024;
const CANNOT_START = new Set([
  'ENOENT',
  'EACCES',
  'ENOEXEC',
  'ENOTDIR',
  'EPERM',
  'EMFILE',
  'ENFILE',
  'EAGAIN',
  'ENOMEM',
]);
// How long the streams of a program that has ended may stay open before its left-over children are ended too.
const STREAMS_GRACE_MS = 1_000;

/** Splits a command line into words; quotes group, a backslash keeps the next character. A JSON list is taken as it is. */
function splitCommand(command) {
  const trimmed = command.trim();
  if (trimmed.startsWith('[')) {
    const words = JSON.parse(trimmed);
    if (!Array.isArray(words) || words.length === 0 || !words.every((word) => typeof word === 'string')) {
      throw new TypeError('An agent command given as JSON must be a list of texts that is not empty.');
    }
    return words;
  }
  // On Windows a backslash is part of a path; elsewhere it escapes.
  const escape = process.platform === 'win32' ? '' : String.raw`\\.|`;
  const word = new RegExp(String.raw`(?:${escape}"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'])+`, 'gs');
  const words = Array.from(trimmed.matchAll(word), ([found]) =>
    found.replace(
      new RegExp(String.raw`"((?:[^"\\]|\\.)*)"|'([^']*)'${escape ? String.raw`|\\(.)` : ''}`, 'gs'),
      (_, double, single, escaped) => (double === undefined ? (single ?? escaped) : double.replace(/\\(["\\])/g, '$1')),
    ),
  );
  if (words.length === 0) throw new TypeError('The agent command is empty.');
  return words;
}

/** Ends a program and whatever it started. */
function killTree(child) {
  if (child.pid === undefined) return;
  if (process.platform === 'win32') {
    spawn('taskkill', ['/pid', String(child.pid), '/T', '/F'], { stdio: 'ignore', windowsHide: true }).on('error', () =>
      child.kill(),
    );
    return;
  }
  try {
    process.kill(-child.pid, 'SIGKILL'); // the child leads a process group of its own
  } catch {
    child.kill('SIGKILL');
  }
}

/** Runs the program once. Resolves its standard output; rejects when it fails, takes too long or says too much. */
function runCommand(words, input, { timeoutMs, signal, maxOutputBytes }) {
  return new Promise((resolve, reject) => {
    const [program, ...args] = words;
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: process.platform !== 'win32',
      windowsHide: true,
    });
    const output = [];
    let outputBytes = 0;
    let complaint = '';
    let failure = null;
    let graceTimer = null;
    let isSettled = false;

    const settle = (code, endSignal) => {
      if (isSettled) return;
      isSettled = true;
      clearTimeout(timer);
      clearTimeout(graceTimer);
      signal?.removeEventListener('abort', onAbort);
      if (failure === null && code !== 0) {
        const ending = endSignal ? `was ended by ${endSignal}` : `ended with exit code ${code}`;
        failure = new Error(
          `The agent command ${JSON.stringify(program)} ${ending}${complaint ? `: ${complaint.trim().slice(-500)}` : '.'}`,
        );
      }
      if (failure === null) resolve(Buffer.concat(output).toString('utf8'));
      else reject(failure);
    };
    const fail = (error) => {
      failure ??= error;
      killTree(child);
    };
    const onAbort = () => fail(new Error('The agent command was stopped.'));
    const timer = setTimeout(
      () => fail(new Error(`The agent command gave no answer within ${timeoutMs} ms.`)),
      timeoutMs,
    );

    child.once('error', (error) => {
      if (child.pid === undefined && CANNOT_START.has(error.code)) {
        failure = new AgentUnavailableError(
          `The agent command ${JSON.stringify(program)} could not be started: ${error.message}.`,
          error,
        );
      } else {
        failure ??= error;
      }
      if (child.pid === undefined) settle(null, null);
    });
    child.stdout.on('data', (chunk) => {
      outputBytes += chunk.length;
      if (outputBytes > maxOutputBytes) fail(new Error(`The agent command wrote more than ${maxOutputBytes} bytes.`));
      else output.push(chunk);
    });
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (text) => {
      complaint = (complaint + text).slice(-MAX_COMPLAINT_BYTES);
    });
    // A program may answer without reading all of its input; its exit code tells whether that was meant.
    child.stdin.on('error', () => {});
    child.once('exit', (code, endSignal) => {
      graceTimer = setTimeout(() => {
        killTree(child);
        child.stdout.destroy();
        child.stderr.destroy();
        settle(code, endSignal);
      }, STREAMS_GRACE_MS);
    });
    child.once('close', settle);
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
    for (const part of input) child.stdin.write(part);
    child.stdin.end();
  });
}

/** `{messages, context}` as JSON, in parts: messages are passed on as the bytes that came, without being parsed. */
function inputOf(messages, context, readRaw = (message) => JSON.stringify(message)) {
  const listed = messages.flatMap((message, index) => (index === 0 ? [readRaw(message)] : [',', readRaw(message)]));
  return ['{"messages":[', ...listed, `],"context":${JSON.stringify(context)}}`];
}

/**
 * Makes the agent. `timeoutMs` (default 120 s) bounds one answer, `maxOutputBytes` (default 8 MiB) its size.
 * @param {{command: string, timeoutMs?: number, maxOutputBytes?: number}} options
 */
function createAgent({ command, timeoutMs = 120_000, maxOutputBytes = MAX_OUTPUT_BYTES }) {
  const words = splitCommand(command);
  return {
    name: `command ${words[0]}`,
    async observe(messages, context) {
      const { signal, readText, readRaw, ...shared } = context;
      const input = inputOf(messages, shared, readRaw);
      const answer = await runCommand(words, input, { timeoutMs, signal, maxOutputBytes });
      if (answer.trim() === '') return { observations: [], summary: null }; // nothing to note is an answer
      try {
        return JSON.parse(answer);
      } catch (error) {
        throw new Error(`The agent command did not answer JSON: ${error.message}.`, { cause: error });
      }
    },
  };
}

module.exports = { createAgent, splitCommand };
