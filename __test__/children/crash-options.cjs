'use strict';
// What the process that dies and the test that looks at its files must agree on.

/** Attempts are used up soon, and nobody waits for a backoff. */
const OPTIONS = { maxAttempts: 3, backoffBaseMs: 1, backoffMaxMs: 2, lockWaitMs: 2_000 };

/** The number of the session whose row is gone. */
const STRANGER = 1;

/** The one row that is stored for a message. */
const observation = (marker) => ({ type: 'discovery', title: marker, facts: [], concepts: [] });

module.exports = { OPTIONS, STRANGER, observation };
