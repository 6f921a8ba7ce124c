'use strict';
// What viewers are told, and in which shape: rows as the tables have them.

const PROCESSING_EVERY_MS = 100;
const OBSERVATION_LISTS = ['facts', 'concepts', 'files_read', 'files_modified'];

/** Turns what the worker does into events of the stream. */
class PublishedEvents {
  constructor(memory, stream) {
    this.memory = memory;
    this.stream = stream;
    this.timer = null;
  }

  /** {isProcessing, queueDepth, activeSessions} */
  processing() {
    const { queue, sessions } = this.memory;
    return { isProcessing: queue.isBusy(), queueDepth: queue.depth(), activeSessions: sessions.count() };
  }

  /** A viewer came: as in 6.0.2, the project list and the state go to everybody. */
  async welcome() {
    const projects = await this.memory.store.getAllProjects();
    this.stream.send('initial_load', { projects, timestamp: Date.now() });
    this.stream.send('processing_status', this.processing());
  }

  prompt(prompt) {
    this.stream.send('new_prompt', { prompt });
  }

  started(sessionDbId, project) {
    this.stream.send('session_started', { sessionDbId, project });
    this.changed();
  }

  queued(sessionDbId) {
    this.stream.send('observation_queued', { sessionDbId });
    this.changed();
  }

  /** Rows were stored for a session. */
  stored(session, { observations, summary, promptNumber }) {
    if (this.stream.size === 0) return;
    const common = { project: session.project, prompt_number: promptNumber };
    const sdkSessionId = session.sdk_session_id ?? session.claude_session_id;
    for (const { id, createdAtEpoch, ...fields } of observations) {
      const lists = Object.fromEntries(OBSERVATION_LISTS.map((name) => [name, JSON.stringify(fields[name])]));
      this.stream.send('new_observation', {
        observation: {
          id,
          sdk_session_id: sdkSessionId,
          text: null,
          ...common,
          ...fields,
          ...lists,
          created_at_epoch: createdAtEpoch,
        },
      });
    }
    if (summary !== null) {
      const { id, createdAtEpoch, ...fields } = summary;
      this.stream.send('new_summary', {
        summary: { id, session_id: session.claude_session_id, ...common, ...fields, created_at_epoch: createdAtEpoch },
      });
    }
  }

  completed(sessionDbId) {
    this.stream.send('session_completed', { sessionDbId, timestamp: Date.now() });
    this.changed();
  }

  /** The state may have changed: viewers hear of it, at most ten times a second. */
  changed() {
    if (this.timer !== null || this.stream.size === 0) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.stream.send('processing_status', this.processing());
    }, PROCESSING_EVERY_MS);
    this.timer.unref();
  }

  close() {
    clearTimeout(this.timer);
  }
}

module.exports = { PublishedEvents };
