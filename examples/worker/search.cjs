'use strict';
// The one place that knows how memories are searched: by words, through the store's full-text tables. Another kind of
// search takes its place here, behind the same methods. All resolve rows in snake_case.

/** Searches memories by keyword. */
class KeywordSearch {
  constructor(memory) {
    this.store = memory.store;
    this.mode = 'keyword';
  }

  observations(query, options) {
    return this.store.searchObservations(query, options);
  }

  sessions(query, options) {
    return this.store.searchSessions(query, options);
  }

  prompts(query, options) {
    return this.store.searchUserPrompts(query, options);
  }

  /** Observations that carry a concept, newest first. */
  byConcept(concept, options) {
    return this.store.findByConcept(concept, options);
  }

  /** Observations of one or several types, newest first. */
  byType(types, options) {
    return this.store.findByType(types, options);
  }

  /** {observations, sessions} that touched a file, newest first. */
  byFile(file, options) {
    return this.store.findByFile(file, options);
  }
}

module.exports = { KeywordSearch };
