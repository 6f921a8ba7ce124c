// Making elements. Texts are always set as text, never as markup: what is stored came from anywhere.

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/** A new element with a class, a text or children. */
export function element(name, { className, text, children = [], ...attributes } = {}) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter(Boolean));
  return made;
}

/** A new SVG element. */
export function shape(name, attributes = {}, text) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Sets a text only where it differs, so that nothing is announced or laid out again for nothing. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Shows a number with its unit in smaller print. */
export function setFigure(target, [number, unit]) {
  if (target.dataset.shown === number + unit) return;
  target.dataset.shown = number + unit;
  target.replaceChildren(number, ...(unit ? [element('span', { className: 'unit', text: unit })] : []));
}
