'use strict';
// Metadata of the vectors, and filters that half, a tenth, a hundredth and a thousandth of them pass: by a text or number
// that is equal, and by a number that is below another. Both let the same vectors through.

const SHARES = [
  { share: 0.5, title: '50 %', field: 'half', of: String },
  { share: 0.1, title: '10 %', field: 'tenth', of: Number },
  { share: 0.01, title: '1 %', field: 'hundredth', of: String },
  { share: 0.001, title: '0.1 %', field: 'thousandth', of: Number },
];

/** The fields and whether they are texts; the others are whole numbers. */
const FIELDS = [
  { name: 'rank', isText: false },
  ...SHARES.map(({ field, of }) => ({ name: field, isText: of === String })),
];

/** A number below `count`, each once, for a place that says nothing about it. */
const rank = (place, count) => (place * 7_919) % count;

/** What lies with the vector at a place. */
function metadata(place, count) {
  const own = rank(place, count);
  const parts = SHARES.map(({ share, field, of }) => [field, of(Math.floor(own / (count * share)))]);
  return { rank: own, ...Object.fromEntries(parts) };
}

/** The filters: `{id, title, share, field}` with `equal` or `below`. */
const filters = (count) =>
  SHARES.flatMap(({ share, title, field, of }) => [
    { id: `equal ${share}`, title: `${title} pass, equal`, share, field, equal: of(0) },
    { id: `below ${share}`, title: `${title} pass, below`, share, field: 'rank', below: count * share },
  ]);

/** A filter as Chroma's users write it, and this module's. */
const asWhere = (filter) => {
  if (!filter) return undefined;
  return { [filter.field]: filter.equal ?? { $lt: filter.below } };
};

/** Whether the vector at a place is among the share that a filter lets through. */
const passes = (place, count, share) => rank(place, count) < count * share;

module.exports = { FIELDS, SHARES, asWhere, filters, metadata, passes };
