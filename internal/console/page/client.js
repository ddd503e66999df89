// The test client: one WebSocket, its frames and how it ended.
import { $, el, clock, size, payload, atEnd } from './dom.js';

const MAX_FRAMES = 500;

const CLOSE = { // RFC 6455 §7.4.1 and the IANA registry
  1000: 'normal', 1001: 'going away', 1002: 'protocol error', 1003: 'unsupported data', 1005: 'no status',
  1006: 'abnormal', 1007: 'invalid data', 1008: 'policy violation', 1009: 'message too big',
  1010: 'missing extension', 1011: 'internal error', 1012: 'service restart', 1013: 'try again later',
};

let socket = null;
let stages = [];
const tally = { sent: 0, received: 0 };
const sentBefore = [];
let recall = -1;

// here turns a stage's URL into one on the address this page came from: behind a
// tunnel or a forwarded port, localhost:3001 is somebody else.
function here(stageURL) {
  try {
    const u = new URL(stageURL);
    u.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    u.host = location.host;
    return u.href;
  } catch {
    return stageURL;
  }
}

// offerStages fills the choice of stages; a choice already made stays.
export function offerStages(status) {
  const before = $('stage').value;
  stages = status.apis.flatMap((api) => api.stages.map((stage) => ({
    id: `${api.id}/${stage.name}`, label: status.apis.length > 1 ? `${stage.name} (${api.name})` : stage.name, url: here(stage.webSocketUrl),
    routes: api.routes, expression: api.routeSelectionExpression,
  })));
  $('stage').replaceChildren(...stages.map((s) => el('option', { value: s.id }, s.label)));
  $('stage').disabled = stages.length === 0;
  if (stages.some((s) => s.id === before)) $('stage').value = before;
  if ($('stage').value !== before) chooseStage();
  else offerRoutes();
}

const chosen = () => stages.find((s) => s.id === $('stage').value);

function chooseStage() {
  const stage = chosen();
  if (stage && !socket) $('url').value = stage.url;
  offerRoutes();
}

// offerRoutes shows one button per route key where a JSON field selects the
// route: it starts a message for that route.
function offerRoutes() {
  const stage = chosen();
  const path = /^\$request\.body\.([\w.-]+)$/.exec(stage?.expression ?? '')?.[1];
  const keys = path ? stage.routes.filter((key) => !key.startsWith('$')) : [];
  $('routes').replaceChildren(...keys.map((key) => el('button', {
    type: 'button', title: `Start a message for route ${key}`,
    onclick: () => {
      const message = path.split('.').reduceRight((inner, field) => ({ [field]: inner }), key);
      $('message').value = JSON.stringify(message);
      $('message').focus();
    },
  }, key)));
}

function setState(state, text) {
  $('conn-state').dataset.state = state;
  $('conn-text').textContent = text;
  const on = state === 'open' || state === 'wait';
  $('connect').textContent = state === 'wait' ? 'Cancel' : on ? 'Disconnect' : 'Connect';
  $('connect').classList.toggle('on', on);
  $('send').disabled = state !== 'open';
  $('send').classList.toggle('primary', state === 'open');
  for (const id of ['url', 'protocols']) $(id).disabled = on;
}

function addFrame(kind, content, bytes) {
  $('frames-empty')?.remove();
  const box = $('frames');
  const follow = atEnd(box);
  const way = { in: '↓', out: '↑' }[kind] ?? '·';
  const label = { in: 'received', out: 'sent' }[kind] ?? 'note';
  box.append(el('div', { class: `frame ${kind}` },
    el('time', {}, clock(new Date())),
    el('span', { class: 'way', role: 'img', 'aria-label': label }, way),
    content, bytes == null ? el('span') : el('span', { class: 'size' }, size(bytes))));
  while (box.children.length > MAX_FRAMES) box.firstChild.remove();
  if (follow) box.scrollTop = box.scrollHeight;
  $('tally').textContent = `${tally.sent} sent, ${tally.received} received`;
}

const note = (text, kind = 'note') => addFrame(kind, el('pre', {}, text));

function received(event) {
  tally.received++;
  if (typeof event.data === 'string') {
    addFrame('in', payload(event.data, $('pretty').checked), new TextEncoder().encode(event.data).length);
    return;
  }
  const bytes = new Uint8Array(event.data);
  const hex = [...bytes.slice(0, 32)].map((b) => b.toString(16).padStart(2, '0')).join(' ');
  addFrame('in', el('pre', {}, `binary: ${hex}${bytes.length > 32 ? ' …' : ''}`), bytes.length);
}

function dial() {
  const protocols = $('protocols').value.split(/[\s,]+/).filter(Boolean);
  let ws;
  try {
    ws = new WebSocket($('url').value.trim(), protocols);
  } catch (err) {
    note(err.message, 'fail'); // not a URL, or not a subprotocol
    return;
  }
  ws.binaryType = 'arraybuffer';
  socket = ws;
  const began = performance.now();
  let opened = false;
  setState('wait', 'Connecting');
  note(`connecting to ${ws.url}`);
  ws.onopen = () => {
    opened = true;
    setState('open', ws.protocol ? `Connected, ${ws.protocol}` : 'Connected');
    note(`connected in ${Math.round(performance.now() - began)} ms${ws.protocol ? `, subprotocol ${ws.protocol}` : ''}`);
    $('message').focus();
  };
  ws.onmessage = received;
  ws.onclose = (event) => {
    if (socket !== ws) return;
    socket = null;
    const code = `${event.code}${CLOSE[event.code] ? ` (${CLOSE[event.code]})` : ''}`;
    setState('idle', `Closed ${event.code}`);
    if (!opened) {
      // Browsers hide the status of a refused handshake on purpose (WebSockets
      // Standard, "fail the WebSocket connection"): only the log can tell.
      note(`the handshake failed: the log below says why; livegate connect shows the HTTP status. Close code ${code}`, 'fail');
      return;
    }
    note(`closed: ${code}${event.reason ? `: ${event.reason}` : ''}`, event.code === 1000 || event.code === 1005 ? 'note' : 'fail');
  };
}

function send() {
  const text = $('message').value;
  if (text === '' || socket?.readyState !== WebSocket.OPEN) return;
  socket.send(text);
  tally.sent++;
  addFrame('out', payload(text, $('pretty').checked), new TextEncoder().encode(text).length);
  if (sentBefore.at(-1) !== text) sentBefore.push(text);
  if (sentBefore.length > 100) sentBefore.shift();
  recall = -1;
  $('message').value = '';
}

// browse recalls what was sent: Up on the first line, Down on the last.
function browse(event) {
  const box = $('message');
  const up = event.key === 'ArrowUp';
  const edge = up ? !box.value.slice(0, box.selectionStart).includes('\n') : !box.value.slice(box.selectionEnd).includes('\n');
  const next = recall + (up ? 1 : -1);
  if (!edge || next < -1 || next >= sentBefore.length) return;
  event.preventDefault();
  recall = next;
  box.value = recall < 0 ? '' : sentBefore.at(-1 - recall);
}

$('stage').addEventListener('change', chooseStage);
$('dial').addEventListener('submit', (event) => {
  event.preventDefault();
  if (socket) socket.close(1000);
  else dial();
});
$('compose').addEventListener('submit', (event) => {
  event.preventDefault();
  send();
});
$('message').addEventListener('keydown', (event) => {
  if (event.isComposing) return; // an input method's Enter chooses a word
  if (event.key === 'Enter' && !event.shiftKey) {
    event.preventDefault();
    send();
  } else if (event.key === 'ArrowUp' || event.key === 'ArrowDown') {
    browse(event);
  }
});
$('clear-frames').addEventListener('click', () => {
  $('frames').replaceChildren();
  tally.sent = tally.received = 0;
  $('tally').textContent = '0 sent, 0 received';
});
setState('idle', 'Not connected');
