'use strict';
// usearch with its own default precision: rounded to 16 bits its answers are not ranked again, so that some recall is out
// of its reach whatever its expansion.

const { usearchDriver } = require('../vectors/usearch.cjs');

module.exports = usearchDriver('usearch (npm), 32 bits', 'f32');
