// The live log: server-sent events, shown in batches of one animation frame.
import { $, el, clock, hue, atEnd } from './dom.js';

const MAX_LINES = 2000;
const names = new Map(); // function name → logical id
const waiting = [];
let drawing = false;
let last = 0;

export function startLog(url, { onStatus, onOpen, onLost }) {
  const events = new EventSource(url);
  events.onopen = () => {
    last = 0; // the instance may be a new one: its numbers begin again
    onOpen();
  };
  events.onerror = onLost; // EventSource tries again by itself
  events.addEventListener('status', onStatus);
  events.addEventListener('log', (event) => add(logLine(JSON.parse(event.data))));
  events.addEventListener('gap', (event) => add(el('p', { class: 'gap' }, `${JSON.parse(event.data).lost} earlier lines were skipped`)));
}

// nameFunctions makes the log speak of functions as the template does: generated
// names are long, and end in what tells nothing.
export function nameFunctions(functions) {
  for (const f of functions) if (f.logicalId) names.set(f.name, f.logicalId);
  for (const node of $('log').querySelectorAll('.source')) name(node, node.title);
}

function name(node, source) {
  const shown = names.get(source) ?? source;
  node.textContent = shown;
  node.className = `source ${hue(shown)}`;
}

function add(node) {
  if (!node) return;
  waiting.push(node);
  if (waiting.length > MAX_LINES) waiting.shift();
  if (drawing) return;
  drawing = true;
  // A hidden tab gets no animation frames; it must not collect lines for ever.
  if (document.hidden) setTimeout(draw, 250);
  else requestAnimationFrame(draw);
}

function draw() {
  drawing = false;
  const box = $('log');
  const follow = atEnd(box);
  $('log-empty')?.remove();
  const pass = filter();
  for (const node of waiting) node.hidden = !pass(node);
  box.append(...waiting.splice(0));
  while (box.children.length > MAX_LINES) box.firstChild.remove();
  if (follow) box.scrollTop = box.scrollHeight;
  else $('follow').hidden = false;
}

const TRACE = /^\s+(at |File "|.*\.go:\d)/;

function logLine(e) {
  if (e.seq <= last) return null; // seen before a reconnection
  last = e.seq;
  const pre = el('pre');
  // Colours that a function prints for a terminal are no colours here.
  const text = e.text.replace(/\x1b\[[0-9;:]*m/g, '').replace(/\n+$/, '');
  text.split('\n').forEach((line, i) => {
    if (i > 0) pre.append('\n');
    pre.append(i > 0 && TRACE.test(line) ? el('span', { class: 'trace' }, line) : line);
  });
  const node = el('div', { class: `line ${e.level === 'error' || e.level === 'warn' ? e.level : ''}`, 'data-level': e.level },
    el('time', {}, clock(new Date(e.at))),
    el('span', { title: e.source }),
    e.requestId
      ? el('button', { class: 'rid', type: 'button', title: `Show only request ${e.requestId}`, onclick: () => show(e.requestId) }, e.requestId.slice(0, 8))
      : el('span'),
    pre);
  name(node.children[1], e.source);
  node.dataset.search = `${e.source} ${e.requestId} ${text}`.toLowerCase();
  return node;
}

function filter() {
  const words = $('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  const level = $('level').value;
  return (node) => {
    const l = node.dataset.level;
    if (l === undefined) return true; // a gap is always worth seeing
    if (level === 'error' && l !== 'error') return false;
    if (level === 'warn' && l !== 'error' && l !== 'warn') return false;
    return words.every((w) => node.dataset.search.includes(w));
  };
}

function refilter() {
  const pass = filter();
  for (const node of $('log').children) if (node.id !== 'log-empty') node.hidden = !pass(node);
  newest();
}

function show(text) {
  $('filter').value = text;
  refilter();
}

function newest() {
  $('log').scrollTop = $('log').scrollHeight;
  $('follow').hidden = true;
}

$('filter').addEventListener('input', refilter);
$('level').addEventListener('change', refilter);
$('follow').addEventListener('click', newest);
$('log').addEventListener('scroll', () => { if (atEnd($('log'))) $('follow').hidden = true; }, { passive: true });
$('clear-log').addEventListener('click', () => {
  $('log').replaceChildren();
  $('follow').hidden = true;
});
