'use strict';
// The page is readable without this script.

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);

const form = byId('_filters');
const count = byId('_count');
const said = byId('_said');
const bodies = all('#_table tbody');
const families = all('section.family');
const details = all('details.requirement');
// Rows and details have the same order in the document until the reader sorts the rows.
const requirements = all('#_table tr[data-verdict]').map((row, at) => ({row, details: details[at], words: null}));

// Filters

function wordsOf(requirement) {
  requirement.words ??= [requirement.row, requirement.details.querySelector('summary'), ...all('.find', requirement.details)]
    .map((part) => part.textContent.toLowerCase()).join(' ').replace(/\s+/g, ' ');
  return requirement.words;
}

function wanted(requirement, chosen, words) {
  const {family, level, era, reach, verdict} = requirement.row.dataset;
  const verdicts = verdict.split(',');
  return (!chosen.family || family === chosen.family)
    && (!chosen.level || level === chosen.level)
    && (!chosen.era || era === chosen.era)
    && (!chosen.reach || reach === chosen.reach)
    && (!chosen.verdict || verdicts.includes(chosen.verdict))
    && words.every((word) => wordsOf(requirement).includes(word));
}

function filter() {
  const chosen = Object.fromEntries(new FormData(form));
  const words = chosen.text.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const requirement of requirements) {
    const fits = wanted(requirement, chosen, words);
    requirement.row.hidden = requirement.details.hidden = !fits;
    shown += fits;
  }
  for (const body of bodies) body.hidden = !body.querySelector('tr[data-verdict]:not([hidden])');
  for (const family of families) family.hidden = !family.querySelector('details.requirement:not([hidden])');
  count.textContent = `${shown} of ${requirements.length} requirements`;
}

form.hidden = false;
form.addEventListener('input', filter);
form.addEventListener('submit', (event) => event.preventDefault());
// The fields get their first values back only after the event.
form.addEventListener('reset', () => setTimeout(filter));
// A browser that returns to the page restores the earlier choices.
addEventListener('pageshow', filter);

// Sorting, inside each family

const levels = ['MUST', 'DOC', 'SHOULD', 'MAY'];
const keys = {
  id: (row) => row.cells[0].textContent,
  title: (row) => row.cells[1].textContent,
  level: (row) => levels.indexOf(row.dataset.level),
  era: (row) => row.dataset.era,
  reach: (row) => row.dataset.reach,
};

function sort(heading) {
  const name = heading.dataset.sort;
  const key = keys[name] ?? ((row) => Number(row.cells[5 + Number(name)].dataset.severity));
  const down = heading.getAttribute('aria-sort') === 'ascending';
  for (const other of all('#_table thead th')) other.removeAttribute('aria-sort');
  heading.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  const compare = (one, other) => (one < other ? -1 : one > other ? 1 : 0);
  for (const body of bodies) {
    const rows = all('tr[data-verdict]', body);
    rows.sort((one, other) => (down ? -1 : 1) * compare(key(one), key(other)) || compare(keys.id(one), keys.id(other)));
    body.append(...rows);
  }
}

for (const heading of all('#_table thead th')) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = heading.textContent;
  button.addEventListener('click', () => sort(heading));
  heading.replaceChildren(button);
}
document.querySelector('#_table thead th').setAttribute('aria-sort', 'ascending');

// Whole logs, where the page shows only their ends

let logs = null;

async function unpack() {
  const packed = Uint8Array.from(atob(byId('_logs').textContent), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  return (await new Response(stream).text()).split('\0');
}

async function showLog(place) {
  const number = place.dataset.log;
  if (number !== undefined) {
    delete place.dataset.log;
    logs ??= unpack();
    const template = document.createElement('template');
    // The template of the page has rendered and escaped this HTML.
    template.innerHTML = (await logs)[number];
    place.querySelector('.seq').replaceWith(template.content);
  }
  addSwitch(place);
}

// Buttons that appear when a reader opens a part

function addSwitch(log) {
  const diagram = log.querySelector('.seq');
  if (log.querySelector(':scope > button') || !diagram.querySelector('code')) return;
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Whole messages';
  button.setAttribute('aria-pressed', 'false');
  button.addEventListener('click', () => {
    button.setAttribute('aria-pressed', String(diagram.classList.toggle('whole')));
  });
  diagram.before(button);
}

async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    getSelection().selectAllChildren(code);
    if (!document.execCommand('copy')) return 'Selected, copy it now';
  }
  return 'Copied';
}

function addCopy(place) {
  if (place.querySelector('button')) return;
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Copy';
  button.setAttribute('aria-label', 'Copy the command');
  button.addEventListener('click', async () => {
    button.textContent = said.textContent = await copy(place.querySelector('code'));
    setTimeout(() => { button.textContent = 'Copy'; said.textContent = ''; }, 2000);
  });
  place.append(button);
}

// `toggle` does not bubble.
document.addEventListener('toggle', ({target}) => {
  if (!target.open) return;
  if (target.matches('.log')) showLog(target);
  if (!target.matches('.requirement')) return;
  all('.rerun', target).forEach(addCopy);
  all('.log[open]', target).forEach(showLog);
}, true);

// Opening

byId('_all').hidden = false;
byId('_all').addEventListener('click', ({target}) => {
  if (!target.matches('button')) return;
  const open = target.hasAttribute('data-open');
  for (const requirement of requirements) {
    if (!open || !requirement.row.hidden) requirement.details.open = open;
  }
});

function reveal() {
  const place = byId(decodeURIComponent(location.hash.slice(1)));
  const requirement = place?.closest('.requirement');
  if (!requirement) return;
  if (requirement.hidden) form.reset();
  requirement.hidden = false;
  requirement.open = true;
  place.scrollIntoView();
  place.tabIndex = -1;
  place.focus({preventScroll: true});
}

addEventListener('hashchange', reveal);
reveal();
