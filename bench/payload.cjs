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
  const answer = Math.max(bytes - 500, 16);
  return {
    type: 'observation',
    tool_name: 'Read',
    tool_input: JSON.stringify({
      file_path: `/home/user/project/src/${text(40, seed)}.ts`,
      note: text(bytes < 500 ? 16 : 200, seed + 1),
    }),
    tool_response: JSON.stringify({ content: text(answer, seed + 2) }),
    prompt_number: 1,
    cwd: '/home/user/project',
  };
}

/** `count` messages, of which some hundred differ: what is measured is not the making of texts. */
function toolCalls(bytes, count) {
  const different = Array.from({ length: Math.min(count, 128) }, (_, seed) => toolCall(bytes, seed));
  return Array.from({ length: count }, (_, index) => different[index % different.length]);
}

const TYPES = ['decision', 'bugfix', 'feature', 'refactor', 'discovery', 'change'];

/** An observation of about the size that agents write, 1.2 KB, another one for each `seed`. */
function observation(seed) {
  return {
    type: TYPES[seed % TYPES.length],
    title: `Observation ${seed} of ${text(20, seed)}`,
    subtitle: text(90, seed + 1),
    facts: [text(90, seed + 2), text(80, seed + 3), text(70, seed + 4)],
    narrative: text(480, seed + 5).replace(/.{7}/g, '$& '),
    concepts: ['how-it-works', 'what-changed'],
    files_read: [`src/${text(20, seed + 6)}.ts`],
    files_modified: [`src/${text(24, seed + 7)}.ts`, `src/${text(22, seed + 8)}.ts`],
  };
}

module.exports = { observation, toolCall, toolCalls };
