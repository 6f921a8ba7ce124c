'use strict';
// Links of a Markdown file that is packed: those to files which stay in the repository lead there, or where nobody says
// what its address is become plain text.

const path = require('node:path').posix;

const LINK = /\[((?:[^\]\\]|\\.)*)\]\(([^)\s]+)\)/g;

/** The text with its links changed; `isPacked` tells of a path in the package whether it is there. */
function withoutLooseLinks(markdown, place, { isPacked, repository, version }) {
  return markdown.replace(LINK, (whole, text, target) => {
    if (/^([a-z]+:|#)/.test(target)) return whole;
    const file = path.normalize(path.join(path.dirname(place), target.split('#')[0]));
    if (isPacked(file)) return whole;
    return repository ? `[${text}](${repository}/blob/v${version}/${file})` : text;
  });
}

module.exports = { withoutLooseLinks };
