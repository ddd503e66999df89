// What every part of the page builds with. Text from outside always becomes a
// text node: there is no way from here to markup.

export const $ = (id) => document.getElementById(id);

// el('li', {class: 'x', title: 't'}, 'text', child, …)
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, '');
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.filter((c) => c != null && c !== ''));
  return node;
}

const two = (n) => String(n).padStart(2, '0');

// clock shows local time with milliseconds: 12:04:05.123
export function clock(date) {
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return `${(bytes / 1024).toFixed(1)} KiB`;
}

// copyButton puts text on the clipboard and says so in its own label.
export function copyButton(text, what) {
  const button = el('button', { class: 'copy', type: 'button', 'aria-label': `Copy ${what}` }, 'Copy');
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'Press Ctrl+C'; // no permission: leave it selected
      const range = document.createRange();
      range.selectNodeContents(button.parentElement.querySelector('.value'));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
  return button;
}

// atEnd tells whether a scrolled box shows its last line, more or less.
export const atEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 24;

const hues = new Map();

// hue gives a name one of eight colours, in the order in which names are first
// seen: neighbours differ, and a name keeps its colour.
export function hue(name) {
  if (!hues.has(name)) hues.set(name, hues.size % 8);
  return `s${hues.get(name)}`;
}

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(true|false|null)/g;
const MAX_COLOURED = 32 * 1024; // beyond this, one text node: colours would cost more than they help

// payload shows a message: JSON in colour, anything else as it is.
export function payload(text, indent) {
  const pre = el('pre');
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    pre.append(text);
    return pre;
  }
  // Indenting goes through JSON.parse, which rounds large numbers; so only on request.
  if (indent && typeof value === 'object') text = JSON.stringify(value, null, 2);
  if (text.length > MAX_COLOURED) {
    pre.append(text);
    return pre;
  }
  let from = 0;
  for (const match of text.matchAll(TOKEN)) {
    pre.append(text.slice(from, match.index));
    const [whole, string, colon, number] = match;
    const kind = string ? (colon ? 'j-key' : 'j-string') : number ? 'j-number' : 'j-word';
    pre.append(el('span', { class: kind }, string ?? whole), colon ?? '');
    from = match.index + whole.length;
  }
  pre.append(text.slice(from));
  return pre;
}
