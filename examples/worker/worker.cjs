'use strict';
// A whole worker: the memory, the scheduler, the agent and the HTTP server, opened and closed in order.
const http = require('node:http');
const { openMemory } = require('../..');
const { version } = require('../../package.json');
const { createApp, MAX_BODY_BYTES } = require('./app.cjs');
const { EventLoopDelay } = require('./event-loop-delay.cjs');
const { EventStream } = require('./event-stream.cjs');
const { RankedSearch } = require('./search.cjs');
const { MetricsHistory } = require('./metrics-history.cjs');
const { PublishedEvents } = require('./published-events.cjs');
const { Scheduler } = require('./scheduler.cjs');
const { bodyOf } = require('./http-errors.cjs');

const HOST = '127.0.0.1';
// Requests under way get this long to be answered before their connections are cut.
const ANSWER_GRACE_MS = 1_000;

function listen(server, port) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, HOST, () => {
      server.removeListener('error', reject);
      resolve(server.address().port);
    });
  });
}

/** Whatever body is taken fits: an object that is stored as JSON text grows to twice its size at most, by its escapes. */
const MAX_MESSAGE_BYTES = 2 * MAX_BODY_BYTES + 1024;

/** Answers every request with 503 and a sentence that says why. */
function unavailable(error) {
  const body = JSON.stringify({ error });
  return (_request, response) => {
    response
      .writeHead(503, {
        'Content-Type': 'application/json; charset=utf-8',
        'Retry-After': '1',
        Connection: 'close',
      })
      .end(body);
  };
}

/**
 * Starts a worker.
 * @param {object} options
 * @param {string} options.dataDir the data directory
 * @param {number} options.port 0 for any free one
 * @param {{name: string, observe: Function}} options.agent
 * @param {object} options.settings the SettingsFile of the data directory
 * @param {object} [options.memoryOptions] more options of `openMemory`
 * @param {object} [options.schedulerOptions] maxConcurrentAgents, agentTimeoutMs, batchesPerTurn,
 * unavailableRetryMs
 * @param {(line: string) => void} [options.log]
 * @returns {Promise<{port: number, memory: object, stop: () => Promise<void>}>} Rejects with EADDRINUSE where the
 * port is taken, with ERR_LOCKED where another worker owns the directory.
 */
async function startWorker({
  dataDir,
  port,
  agent,
  settings,
  memoryOptions = {},
  schedulerOptions = {},
  log = () => {},
}) {
  const startedAt = Date.now();
  // The port is taken before the memory is opened, so that a second worker fails at once and changes nothing.
  let handle = unavailable('The worker is starting.');
  const server = http.createServer((request, response) => handle(request, response));
  server.on('clientError', (error, socket) => answerBrokenRequest(error, socket));
  const actualPort = await listen(server, port);

  let memory;
  try {
    memory = await openMemory({ dataDir, maxMessageBytes: MAX_MESSAGE_BYTES, ...memoryOptions });
  } catch (error) {
    server.close();
    server.closeAllConnections();
    throw error;
  }
  const stream = new EventStream();
  const events = new PublishedEvents(memory, stream);
  const scheduler = new Scheduler(memory, agent, events, { log, ...schedulerOptions });
  const eventLoopDelay = new EventLoopDelay();
  const history = new MetricsHistory(memory);
  handle = createApp({
    memory,
    scheduler,
    stream,
    events,
    history,
    eventLoopDelay,
    settings,
    log,
    version,
    startedAt,
    search: new RankedSearch(memory),
    getPort: () => actualPort,
  });
  scheduler.start();

  async function close() {
    handle = unavailable('The worker is shutting down.');
    const answered = new Promise((resolve) => {
      server.close(resolve);
    });
    const closeIdle = setInterval(() => server.closeIdleConnections(), 50);
    stream.close();
    events.close();
    history.stop();
    const cut = setTimeout(() => server.closeAllConnections(), ANSWER_GRACE_MS);
    await Promise.all([scheduler.stop(), answered]);
    clearTimeout(cut);
    clearInterval(closeIdle);
    await memory.dispose();
    eventLoopDelay.stop();
  }
  let closing = null;
  return {
    port: actualPort,
    memory,
    /** Takes no more requests, lets commits finish, disposes. Twice without harm. */
    stop() {
      closing ??= close();
      return closing;
    },
  };
}

function answerBrokenRequest(error, socket) {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const status = error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request';
  const body = JSON.stringify(bodyOf(new Error(`The request could not be read: ${error.message}.`)));
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

module.exports = { startWorker };
