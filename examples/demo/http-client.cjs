'use strict';
// A small JSON client over kept-alive connections. An error without `status` means that no answer came: whether the
// worker took the message is then unknown.
const http = require('node:http');

const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
const ANSWER_MS = 30_000;

/** Sends one request; resolves the parsed answer, rejects for every status but 200. */
function requestJson(port, method, path, body) {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const request = http.request(
      {
        host: '127.0.0.1',
        port,
        method,
        path,
        agent,
        timeout: ANSWER_MS,
        headers:
          text === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) },
      },
      (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () => {
          const answer = Buffer.concat(chunks).toString('utf8');
          if (response.statusCode === 200) resolve(JSON.parse(answer));
          else
            reject(
              Object.assign(new Error(`${method} ${path} answered ${response.statusCode}: ${answer}`), {
                status: response.statusCode,
              }),
            );
        });
      },
    );
    request.once('timeout', () =>
      request.destroy(new Error(`${method} ${path} was not answered within ${ANSWER_MS} ms`)),
    );
    request.once('error', reject);
    request.end(text);
  });
}

/** Closes the kept connections. */
function closeConnections() {
  agent.destroy();
}

module.exports = { requestJson, closeConnections };
