'use strict';
// usearch with the precision that is this module's default: 16 bits a number.

const { usearchDriver } = require('../vectors/usearch.cjs');

module.exports = usearchDriver('usearch (npm)', 'bf16');
