'use strict';
// What the editor tells its hooks, as what the worker and the queue take.

const { randomUUID } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const asText = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

/** The text of one line of the transcript. */
function textOf({ message }) {
  const content = message?.content;
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .filter((part) => part.type === 'text')
    .map((part) => part.text)
    .join('\n');
}

/** The last words of the user and of the assistant in a transcript (JSON Lines); empty where there are none. */
function lastWords(file) {
  const words = { user: '', assistant: '' };
  if (!file || !fs.existsSync(file)) return words;
  const lines = fs.readFileSync(file, 'utf8').trimEnd().split('\n');
  for (let index = lines.length - 1; index >= 0 && !(words.user && words.assistant); index -= 1) {
    let line;
    try {
      line = JSON.parse(lines[index]);
    } catch {
      continue; // the editor may be writing it
    }
    if (line.type in words) words[line.type] ||= textOf(line);
  }
  return words;
}

/**
 * @param {string} kind prompt, tool or stop
 * @param {object} input what the editor sends: session_id, cwd, and what belongs to the kind
 * @returns {object} {kind, session, …}: a prompt has project, prompt and init; the others message and key
 */
function readEvent(kind, input) {
  const { session_id: session, cwd = process.cwd() } = input;
  if (typeof session !== 'string' || session === '') throw new Error('the input has no session_id');
  switch (kind) {
    case 'prompt': {
      const project = path.basename(cwd);
      const prompt = input.prompt ?? '';
      return { kind, session, project, prompt, init: { project, userPrompt: prompt } };
    }
    case 'tool':
      return {
        kind,
        session,
        // The editor's own id where it has one: also a hook that is run twice for a call stores it once.
        key: input.tool_use_id ?? randomUUID(),
        message: {
          type: 'observation',
          tool_name: input.tool_name,
          tool_input: asText(input.tool_input ?? {}),
          tool_response: asText(input.tool_response ?? {}),
          cwd,
        },
      };
    case 'stop': {
      const words = lastWords(input.transcript_path);
      return {
        kind,
        session,
        key: randomUUID(),
        message: {
          type: 'summarize',
          last_user_message: words.user,
          last_assistant_message: input.last_assistant_message ?? words.assistant,
        },
      };
    }
    default:
      throw new Error(`there is no hook ${JSON.stringify(kind)}; use prompt, tool or stop`);
  }
}

module.exports = { readEvent };
