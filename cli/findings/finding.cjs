'use strict';
// What doctor says of one thing.

/**
 * @param {string} check what was looked at
 * @param {'ok'|'info'|'warning'|'error'} severity
 * @param {string} message what was found
 * @param {string|null} [remedy] what to do; every warning and error has one
 */
const finding = (check, severity, message, remedy = null) => ({ check, severity, message, remedy });

module.exports = { finding };
