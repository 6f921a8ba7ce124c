'use strict';
// A process that does nothing: what the event-loop delay of the others is compared with.

module.exports = {
  title: 'idle process',
  provides: ['idle'],
  unavailable: () => null,
};
