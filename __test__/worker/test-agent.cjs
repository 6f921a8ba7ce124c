'use strict';
// An agent that tests steer through files beside it: it notes when it was asked, and holds, fails or answers.

const fs = require('node:fs');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');

/** `CLAUDE_MEM_TEST_AGENT_DIR` holds: `hold` (answer only once it is gone), `fail` (throw), `log` (written here). */
exports.createAgent = () => {
  const directory = process.env.CLAUDE_MEM_TEST_AGENT_DIR;
  const has = (name) => fs.existsSync(path.join(directory, name));
  const note = (line) => fs.appendFileSync(path.join(directory, 'log'), `${JSON.stringify(line)}\n`);
  const narrative = 'x'.repeat(Number(process.env.CLAUDE_MEM_TEST_AGENT_NARRATIVE ?? 0));
  let running = 0;
  return {
    name: 'test',
    async observe(messages, { sessionDbId, attempt, signal }) {
      running += 1;
      note({ sessionDbId, attempt, running, tools: messages.map((message) => message.tool_name ?? message.type) });
      try {
        while (has('hold')) await sleep(15, undefined, { signal });
        if (has('fail')) throw new Error('the test wants a failure');
        const observations = messages
          .filter(({ type }) => type === 'observation')
          .map(({ tool_name: title }) => ({ type: 'discovery', title, narrative }));
        return { observations, summary: messages.some(({ type }) => type === 'summarize') ? { request: 'r' } : null };
      } finally {
        running -= 1;
      }
    },
  };
};
