'use strict';
// Sessions of a trial.

/** Makes `count` sessions and answers their ids. */
async function makeSessions(queue, count) {
  const sessions = [];
  for (let index = 0; index < count; index += 1) sessions.push(await queue.createSession(`bench-${index}`));
  return sessions;
}

module.exports = { makeSessions };
