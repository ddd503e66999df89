// What runs: the cards on the left.
import { $, el, copyButton } from './dom.js';

export function showStatus(status) {
  document.title = `${status.stack} · Livegate`;
  $('stack').textContent = status.stack || 'Livegate';
  $('where').textContent = [status.region, status.accountId && `account ${status.accountId}`, status.version && `livegate ${status.version}`, status.pid && `pid ${status.pid}`]
    .filter(Boolean).join('  ·  ');
  setState(status.ready ? 'ready' : 'wait', status.ready ? 'Running' : 'Starting');
  showEndpoints(status);
  showThings('functions', status.functions, (f) => [f.logicalId || f.name, [f.runtime, f.runsOn && `runs on ${f.runsOn}`].filter(Boolean).join(', '), f.name]);
  showThings('tables', status.tables, (t) => [t.name, [`key ${[t.hashKey, t.rangeKey].filter(Boolean).join(', ')}`, t.indexes.length && `indexes ${t.indexes.join(', ')}`].filter(Boolean).join('; '), t.logicalId]);
  showOutputs(status.outputs);
  showFindings(status.findings);
}

export function showLost(why) {
  setState('lost', why || 'Not reachable: it stopped, or is restarting');
}

function setState(state, text) {
  $('state').dataset.state = state;
  $('state-text').textContent = text;
}

function row(label, value) {
  return el('div', { class: 'row' }, el('span', { class: 'label' }, label), el('span', { class: 'value' }, value), copyButton(value, label));
}

function showEndpoints(status) {
  const groups = [];
  for (const api of status.apis) {
    for (const stage of api.stages) {
      groups.push(el('div', { class: 'group' },
        el('h3', {}, `${api.name} / ${stage.name}`, el('span', { class: 'id' }, api.id)),
        row('WebSocket', stage.webSocketUrl),
        row('WebSocket over TLS', stage.secureWebSocketUrl),
        row('@connections endpoint', stage.managementUrl)));
    }
  }
  const local = el('div', { class: 'group' }, el('h3', {}, 'For SDKs and clients'));
  if (status.endpointUrl) local.append(row('AWS_ENDPOINT_URL', status.endpointUrl));
  if (status.caFile) local.append(row('CA certificate', status.caFile));
  if (groups.length === 0) groups.push(el('p', { class: 'none' }, 'No WebSocket stage is deployed.'));
  if (local.children.length > 1) groups.push(local);
  $('endpoints').replaceChildren(...groups);
}

// showThings fills a list with [name, detail, title] of each item.
function showThings(id, items, describe) {
  $(`${id}-count`).textContent = items.length || '';
  if (items.length === 0) {
    $(id).replaceChildren(el('li', { class: 'none' }, 'None.'));
    return;
  }
  $(id).replaceChildren(...items.map((item) => {
    const [name, detail, title] = describe(item);
    return el('li', { title }, el('div', { class: 'name' }, name), el('div', { class: 'detail' }, detail));
  }));
}

function showOutputs(outputs) {
  const names = Object.keys(outputs).sort();
  $('outputs-card').hidden = names.length === 0;
  $('outputs').replaceChildren(...names.map((name) => row(name, outputs[name])));
}

const RANK = { error: 0, warning: 1, note: 2 };

function showFindings(findings) {
  $('findings-card').hidden = findings.length === 0;
  $('findings-count').textContent = findings.length;
  const sorted = [...findings].sort((a, b) => RANK[a.severity] - RANK[b.severity]);
  $('findings').replaceChildren(...sorted.map((f) => el('li', {},
    el('div', {}, el('span', { class: `tag ${f.severity}` }, f.severity), f.message),
    f.pos.file ? el('div', { class: 'at' }, f.pos.line ? `${f.pos.file}:${f.pos.line}` : f.pos.file) : null,
    f.hint ? el('div', { class: 'hint' }, f.hint) : null)));
}
