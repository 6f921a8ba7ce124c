'use strict';
// How the memories of the test of merging and of its child are opened: nothing waits for a model.

module.exports = { OPTIONS: { embedder: 'external', model: { name: 'none', dimensions: 8 } } };
