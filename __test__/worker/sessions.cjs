'use strict';
// Sessions as the prompt hook leaves them in the database, before the worker hears of them.

const { openMemory } = require('../..');

/** Creates sessions in a directory that no worker owns yet; returns their ids. */
async function createSessions(dataDir, count, { project = 'demo', prompt = 'Do the thing number' } = {}) {
  const memory = await openMemory({ dataDir });
  const ids = [];
  for (let index = 0; index < count; index += 1) {
    const { sessionDbId } = await memory.store.beginPrompt(`session-${index}`, project, `${prompt} ${index}`);
    ids.push(sessionDbId);
  }
  await memory.dispose();
  return ids;
}

/** A tool call that the rules make an observation of; `mark` shows up in its title and facts. */
function readCall(mark, more = {}) {
  return {
    tool_name: 'Read',
    tool_input: JSON.stringify({ file_path: `/p/src/${mark}.js` }),
    tool_response: JSON.stringify({
      type: 'text',
      file: { content: `// What ${mark} is for, in one sentence.\nfunction ${mark}() {}\n` },
    }),
    prompt_number: 1,
    cwd: '/p',
    ...more,
  };
}

module.exports = { createSessions, readCall };
