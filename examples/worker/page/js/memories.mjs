// The newest observations, live, and the search over all of them.
import { byId, element, setText } from './elements.mjs';
import { ago, plural } from './format.mjs';
import { readJson } from './worker-client.mjs';

const PAGE = 20;
const KEPT_LIVE = 60;
const TYPE_DELAY_MS = 220;

let request = null; // the newest reading: an older one that answers late is not shown
let shownIds = new Set();
let search = { query: '', project: '', type: '' };

const isSearching = () => search.query !== '' || search.type !== '';

function listOf(text) {
  try {
    const list = JSON.parse(text);
    return Array.isArray(list) ? list.filter((entry) => typeof entry === 'string' && entry !== '') : [];
  } catch {
    return [];
  }
}

function files(label, paths) {
  if (paths.length === 0) return null;
  return element('div', {
    className: 'files',
    children: [
      element('span', { className: 'small', text: label }),
      ...paths.map((path) => element('code', { text: path })),
    ],
  });
}

function details(row) {
  const facts = listOf(row.facts);
  const concepts = listOf(row.concepts);
  const text = row.narrative || row.text;
  return element('div', {
    className: 'more-of-it',
    children: [
      text && element('p', { text }),
      facts.length > 0 && element('ul', { children: facts.map((fact) => element('li', { text: fact })) }),
      files('Read', listOf(row.files_read)),
      files('Modified', listOf(row.files_modified)),
      concepts.length > 0 &&
        element('div', { className: 'tags', children: concepts.map((concept) => element('span', { text: concept })) }),
    ],
  });
}

function item(row, isFresh = false) {
  const summary = element('summary', {
    children: [
      element('span', { className: `badge badge-${row.type}`, text: row.type }),
      element('span', { className: 'title', text: row.title || 'Untitled' }),
      row.subtitle && element('span', { className: 'subtitle', text: row.subtitle }),
      element('span', {
        className: 'where',
        children: [
          document.createTextNode(row.project ? `${row.project} · ` : ''),
          element('time', {
            text: ago(row.created_at_epoch),
            datetime: new Date(row.created_at_epoch).toISOString(),
            'data-epoch': String(row.created_at_epoch),
          }),
        ],
      }),
    ],
  });
  const opened = element('details', { children: [summary] });
  // Most rows are never opened: what they hold is laid out when they are.
  opened.addEventListener('toggle', () => {
    if (opened.open && opened.childElementCount === 1) opened.append(details(row));
  });
  return element('li', { 'data-id': String(row.id), className: isFresh ? 'fresh' : '', children: [opened] });
}

function show(rows, { append, hasMore }) {
  const list = byId('observations');
  if (!append) {
    shownIds = new Set();
    list.replaceChildren();
  }
  for (const row of rows) {
    if (shownIds.has(row.id)) continue;
    shownIds.add(row.id);
    list.append(item(row));
  }
  byId('more').hidden = !hasMore;
  const empty = byId('observations-empty');
  empty.hidden = shownIds.size > 0;
  setText(
    empty,
    isSearching() || search.project !== ''
      ? 'Nothing found. Try fewer words, or another project.'
      : 'No observation is stored yet. They appear here as soon as an agent has looked at a tool call.',
  );
}

async function fetchRows(offset, signal) {
  const { query, project, type } = search;
  const parameters = new URLSearchParams({ offset, limit: PAGE });
  if (project) parameters.set('project', project);
  if (!isSearching()) {
    const { items, hasMore } = await readJson(`/api/observations?${parameters}`, { signal });
    return { rows: items, hasMore };
  }
  if (type) parameters.set('type', type);
  parameters.set('format', 'json');
  if (query) parameters.set('query', query);
  let mode = null;
  const onResponse = ({ headers }) => (mode = headers.get('Search-Mode'));
  const path = `/api/search/${query ? 'observations' : 'by-type'}?${parameters}`;
  const rows = await readJson(path, { signal, onResponse });
  return { rows, hasMore: rows.length === PAGE, mode };
}

/** Reads the list as the search box asks for it; `append` adds the next page. */
export async function refreshMemories({ append = false } = {}) {
  request?.abort();
  const mine = new AbortController();
  request = mine;
  try {
    const { rows, hasMore, mode } = await fetchRows(append ? shownIds.size : 0, mine.signal);
    if (request !== mine) return;
    show(rows, { append, hasMore });
    setText(byId('memories-title'), isSearching() ? 'Found observations' : 'Newest observations');
    setText(
      byId('memories-note'),
      search.query
        ? `${plural(shownIds.size, 'observation')}${hasMore ? ' and more' : ''} for “${search.query}”, best first${mode === 'keyword' ? ', by words only' : ''}`
        : '',
    );
  } catch (error) {
    if (mine.signal.aborted) return;
    setText(byId('memories-note'), `The list could not be read: ${error.message}`);
  }
}

/** Puts a new observation on top, unless a search is shown. */
export function addObservation(row) {
  if (isSearching() || (search.project !== '' && search.project !== row.project) || shownIds.has(row.id)) return;
  const list = byId('observations');
  shownIds.add(row.id);
  list.prepend(item(row, true));
  byId('observations-empty').hidden = true;
  while (list.childElementCount > KEPT_LIVE) {
    shownIds.delete(Number(list.lastElementChild.dataset.id));
    list.lastElementChild.remove();
    byId('more').hidden = false;
  }
}

/** Offers these projects in the search box. */
export function showProjects(projects) {
  const select = byId('search-project');
  const known = Array.from(select.options, (option) => option.value);
  const names = projects.filter((name) => name !== '');
  if (names.length + 1 === known.length && names.every((name) => known.includes(name))) return;
  const chosen = select.value;
  select.replaceChildren(
    element('option', { value: '', text: 'All projects' }),
    ...names.map((name) => element('option', { value: name, text: name })),
  );
  select.value = names.includes(chosen) ? chosen : '';
}

/** Wires the search box, and keeps "5 min ago" true. */
export function startMemories() {
  const form = byId('search');
  let timer = null;
  const apply = () => {
    clearTimeout(timer);
    const { query, project, type } = Object.fromEntries(new FormData(form));
    search = { query: query.trim(), project, type };
    refreshMemories();
  };
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    apply();
  });
  form.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(apply, TYPE_DELAY_MS);
  });
  byId('more').addEventListener('click', () => refreshMemories({ append: true }));
  setInterval(() => {
    for (const time of document.querySelectorAll('#observations time')) setText(time, ago(Number(time.dataset.epoch)));
  }, 20_000);
  refreshMemories();
}
