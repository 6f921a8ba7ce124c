'use strict';

/** The agent could not be asked at all (its program is missing, say): the messages are not to blame. */
class AgentUnavailableError extends Error {
  constructor(message, cause) {
    super(message, { cause });
    this.code = 'ERR_AGENT_UNAVAILABLE';
  }
}

module.exports = { AgentUnavailableError };
