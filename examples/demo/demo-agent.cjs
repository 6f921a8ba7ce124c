'use strict';
// The agent of the demonstration: the worker's own rules, with three differences. Every message yields one row that
// names it, so that lost and duplicated ones can be counted; an answer takes a moment, as a model's does, so that
// messages wait; and in sessions of a project named "stalled…" the first answer of each worker never comes.
const { setTimeout: sleep } = require('node:timers/promises');
const rules = require('../worker/agents/rule-based.cjs');
const { parseJsonText } = require('../worker/agents/tool-call.cjs');
const { markedNumber, MARK } = require('./input.cjs');

const ANSWER_MS = 25;

function noteFor(message) {
  return {
    type: 'discovery',
    title: `${message.tool_name}: nothing to note`,
    subtitle: null,
    facts: [],
    narrative: null,
    concepts: [],
    files_read: [],
    files_modified: [],
  };
}

/** Makes the agent. */
function createAgent() {
  const inner = rules.createAgent();
  const stalledOnce = new Set();
  return {
    name: 'demonstration',
    async observe(messages, context) {
      if (context.project.startsWith('stalled') && !stalledOnce.has(context.sessionDbId)) {
        stalledOnce.add(context.sessionDbId);
        await new Promise(() => {}); // the worker gives up on it after its time limit
      }
      await sleep(ANSWER_MS, undefined, { signal: context.signal });
      const observations = [];
      for (const message of messages.filter(({ type }) => type === 'observation')) {
        const [observation = noteFor(message)] = (await inner.observe([message], context)).observations;
        const number = markedNumber(parseJsonText(message.tool_input)?.note);
        observations.push({ ...observation, facts: [...observation.facts, `${MARK} ${number}`] });
      }
      const summarize = messages.find(({ type }) => type === 'summarize');
      if (summarize === undefined) return { observations, summary: null };
      const { summary } = await inner.observe([summarize], context);
      return {
        observations,
        summary: { ...summary, next_steps: `${MARK} ${markedNumber(summarize.last_user_message)}` },
      };
    },
  };
}

module.exports = { createAgent };
