'use strict';
// Messages as the hooks send them: a tool call with its input and its answer as JSON text.

// Bytes to cut texts from. Each text is decoded afresh, so that it is a flat string of its own, as one from a
// request body is; a slice of one long string would share its memory and hide what a waiting message costs.
const POOL = Buffer.alloc(1 << 20);
for (let index = 0; index < POOL.length; index += 1) POOL[index] = 97 + ((index * 31 + (index >> 7)) % 26);

function text(length, seed) {
  const start = (seed * 7919) % (POOL.length - length);
  return POOL.latin1Slice(start, start + length);
}

/** A tool call whose JSON is about `bytes` long, another one for each `seed`. */
function toolCall(bytes, seed) {
  const answer = bytes - 500;
  return {
    type: 'observation',
    tool_name: 'Read',
    tool_input: JSON.stringify({ file_path: `/home/user/project/src/${text(40, seed)}.ts`, note: text(200, seed + 1) }),
    tool_response: JSON.stringify({ content: text(answer, seed + 2) }),
    prompt_number: 1,
    cwd: '/home/user/project',
  };
}

module.exports = { toolCall };
