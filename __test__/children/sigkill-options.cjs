'use strict';
// What the workers that are killed and the test that counts afterwards must agree on.

/** Nothing dies of being killed fifty times, and nobody waits for a backoff. */
const OPTIONS = { maxAttempts: 100, backoffBaseMs: 1, backoffMaxMs: 2 };

/** The one row that is stored for a message. */
const observation = (marker) => ({ type: 'discovery', title: marker, facts: [], concepts: [], files: [] });

module.exports = { OPTIONS, observation };
