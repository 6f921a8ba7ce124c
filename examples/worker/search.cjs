'use strict';
// The one place that knows how memories are searched: by words and by meaning in one ranking. Another kind of search
// takes its place here, behind the same methods. Rows come in snake_case.

/** Searches memories. Texts resolve `{results, mode, reason}`: `mode` is how it was searched, `reason` why not better. */
class RankedSearch {
  constructor(memory) {
    this.store = memory.store;
    this.search = memory.search;
    this.modes = ['hybrid', 'semantic', 'keyword'];
  }

  observations(query, options) {
    return this.search.observations(query, options);
  }

  sessions(query, options) {
    return this.search.summaries(query, options);
  }

  prompts(query, options) {
    return this.search.prompts(query, options);
  }

  /** Observations that carry a concept: by `rankBy` where it is given, else by date. */
  byConcept(concept, options) {
    return this.#listed(options, 'byConcept', 'findByConcept', concept);
  }

  /** Observations of one or several types: by `rankBy` where it is given, else by date. */
  byType(types, options) {
    return this.#listed(options, 'byType', 'findByType', types);
  }

  /** {observations, sessions} that touched a file: by `rankBy` where it is given, else by date. */
  async byFile(file, { rankBy, ...options }) {
    if (rankBy === undefined) return this.store.findByFile(file, options);
    const { results } = await this.search.byFile(file, { rankBy, ...options });
    const of = (wanted) => results.filter(({ kind }) => kind === wanted);
    return { observations: of('observation'), sessions: of('summary') };
  }

  async #listed({ rankBy, ...options }, ranked, dated, value) {
    if (rankBy === undefined) return this.store[dated](value, options);
    return (await this.search[ranked](value, { rankBy, ...options })).results;
  }
}

module.exports = { RankedSearch };
