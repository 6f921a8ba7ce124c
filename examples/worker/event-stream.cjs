'use strict';
// Server-Sent Events. What is sent to a client waits in that client's socket; a client that stops reading is cut off
// once more than `maxBufferedBytes` wait there, so that a forgotten browser tab cannot fill the worker's memory.

const HEARTBEAT_MS = 15_000;
const MAX_BUFFERED_BYTES = 1024 * 1024;

/** The open event streams of the worker. */
class EventStream {
  constructor({ maxBufferedBytes = MAX_BUFFERED_BYTES, heartbeatMs = HEARTBEAT_MS } = {}) {
    this.maxBufferedBytes = maxBufferedBytes;
    this.clients = new Set();
    this.dropped = 0;
    this.heartbeat = setInterval(() => this.writeToAll(': heartbeat\n\n'), heartbeatMs);
    this.heartbeat.unref();
    this.isClosed = false;
  }

  /** Number of connected clients. */
  get size() {
    return this.clients.size;
  }

  /** Turns a response into an event stream; it is forgotten when its connection ends, however it ends. */
  add(response) {
    if (this.isClosed) {
      response.destroy();
      return;
    }
    response.writeHead(200, {
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-store',
      Connection: 'keep-alive',
    });
    this.clients.add(response);
    response.once('close', () => this.clients.delete(response));
    // A socket that breaks reports it through 'close' as well; without a listener the error would end the process.
    response.on('error', () => this.clients.delete(response));
    this.write(response, encode('connected', { timestamp: Date.now() }));
  }

  /** Sends one event to every client. */
  send(type, fields = {}) {
    if (this.clients.size > 0) this.writeToAll(encode(type, fields));
  }

  writeToAll(text) {
    for (const response of this.clients) this.write(response, text);
  }

  write(response, text) {
    response.write(text);
    const waiting = Math.max(response.writableLength, response.socket?.writableLength ?? 0);
    if (waiting > this.maxBufferedBytes) {
      this.clients.delete(response);
      this.dropped += 1;
      response.destroy();
    }
  }

  /** Ends all streams; later ones are refused. */
  close() {
    this.isClosed = true;
    clearInterval(this.heartbeat);
    // A stream's connection is of no use for another request: it is closed as soon as the last bytes are out.
    for (const response of this.clients) response.end(() => response.socket?.destroySoon());
    this.clients.clear();
  }
}

function encode(type, fields) {
  return `data: ${JSON.stringify({ type, ...fields })}\n\n`;
}

module.exports = { EventStream };
