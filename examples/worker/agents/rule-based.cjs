'use strict';
// The agent that comes with the worker: it derives typed observations from tool calls by rules, without a model, a
// key or a network. The same messages always give the same answer.
const { setImmediate: nextTurn } = require('node:timers/promises');
const { beginning } = require('./message-reader.cjs');
const { readToolCall, MAX_LOOKED_AT_CHARS } = require('./tool-call.cjs');
const { observeEdit } = require('./edit-rules.cjs');
const { observeCommand } = require('./command-rules.cjs');
const { observeRead, observeSearch, observeOther } = require('./reading-rules.cjs');
const { summarizeSession } = require('./session-summary.cjs');

const RULES = {
  Edit: observeEdit,
  MultiEdit: observeEdit,
  Write: observeEdit,
  NotebookEdit: observeEdit,
  Read: observeRead,
  NotebookRead: observeRead,
  Grep: observeSearch,
  Glob: observeSearch,
  Bash: observeCommand,
  // Bookkeeping of the editor itself: nothing to remember.
  TodoWrite: () => null,
  TodoRead: () => null,
  LS: () => null,
  ListMcpResourcesTool: () => null,
  SlashCommand: () => null,
  Skill: () => null,
  AskUserQuestion: () => null,
};

/** The observation of one message, or null where it is not worth one. */
function observeMessage(message, context) {
  if (message.type !== 'observation') return null;
  const call = readToolCall(message, context.readText);
  const rule = Object.hasOwn(RULES, call.tool) ? RULES[call.tool] : observeOther;
  return rule(call, { prompt: context.userPrompt ?? '' });
}

function filesOf(observations, history) {
  const gather = (key, known) => [...new Set([...(known ?? []), ...observations.flatMap((entry) => entry[key])])];
  return { read: gather('files_read', history?.filesRead), modified: gather('files_modified', history?.filesModified) };
}

/** A summarize message with as much of its texts as is looked at. */
function lastWords(message, readText = beginning) {
  const read = (field) => readText(message, field, MAX_LOOKED_AT_CHARS);
  return {
    last_user_message: read('last_user_message'),
    last_assistant_message: read('last_assistant_message'),
  };
}

/** Makes the agent. Its `observe` follows the contract in ../README.md. */
function createAgent() {
  return {
    name: 'rules',
    async observe(messages, context) {
      const observations = [];
      for (const message of messages) {
        const observation = observeMessage(message, context);
        if (observation !== null) observations.push(observation);
        await nextTurn(); // a large message takes some milliseconds: requests come first
      }
      const summarize = messages.findLast((message) => message.type === 'summarize');
      const summary =
        summarize === undefined
          ? null
          : summarizeSession(
              lastWords(summarize, context.readText),
              [...(context.history?.observations ?? []), ...observations],
              {
                userPrompt: context.userPrompt,
                files: filesOf(observations, context.history),
              },
            );
      return { observations, summary };
    },
  };
}

module.exports = { createAgent, observeMessage };
