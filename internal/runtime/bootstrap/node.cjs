'use strict';
// The Node.js bootstrap: loads the handler named by _HANDLER from
// LAMBDA_TASK_ROOT and runs one invocation at a time. bootstrap.go describes the
// frames. Written for every Node.js from 14 on.
const fs = require('fs');
const net = require('net');
const path = require('path');
const util = require('util');

const IN = 3;
const OUT = 4;
const MAX_RESPONSE = 6 * 1024 * 1024;
const MAX_LOG = 256 * 1024;
const MAX_EVENT = 8 * 1024 * 1024;

// ---- frames out -----------------------------------------------------------

let scratch = Buffer.allocUnsafe(64 * 1024);

// Descriptor 4 is a blocking pipe that livegate always reads: a synchronous
// write is the cheapest way out and loses nothing when the process exits next.
function writeAll(buf, end) {
  let at = 0;
  while (at < end) {
    try {
      at += fs.writeSync(OUT, buf, at, end - at);
    } catch (err) {
      if (err.code === 'EAGAIN') {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
        continue;
      }
      process.reallyExit(1); // livegate is gone
    }
  }
}

// text after a prefix of single-byte characters, in one write.
function send(type, prefix, text) {
  const room = 5 + prefix.length + (typeof text === 'string' ? text.length * 3 : text.length);
  const buf = room <= scratch.length ? scratch : Buffer.allocUnsafe(room);
  buf[4] = type.charCodeAt(0);
  for (let i = 0; i < prefix.length; i++) buf[5 + i] = prefix.charCodeAt(i);
  const at = 5 + prefix.length;
  const n = typeof text === 'string' ? buf.write(text, at, 'utf8') : text.copy(buf, at);
  buf.writeUInt32BE(at + n - 4, 0);
  writeAll(buf, at + n);
}

// ---- logs -----------------------------------------------------------------

let level = '';

function tap(stream, number, usual) {
  stream.write = function write(chunk, encoding, callback) {
    if (typeof encoding === 'function') {
      callback = encoding;
      encoding = undefined;
    }
    let body;
    if (typeof chunk === 'string') {
      body = encoding && !/^utf-?8$/i.test(encoding) ? Buffer.from(chunk, encoding) : chunk;
    } else {
      body = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    }
    if (body.length > MAX_LOG) {
      const more = body.length - MAX_LOG;
      body = body.slice(0, MAX_LOG);
      send('L', (level || usual) + number, body);
      body = ' … (' + more + ' more)\n';
    }
    send('L', (level || usual) + number, body);
    if (typeof callback === 'function') process.nextTick(callback);
    return true;
  };
}
tap(process.stdout, '1', 'i');
tap(process.stderr, '2', 'w');

for (const method of ['error', 'trace']) {
  const original = console[method];
  console[method] = function (...args) {
    level = 'e';
    try {
      return original.apply(console, args);
    } finally {
      level = '';
    }
  };
}

function logError(heading, err) {
  const stack = isError(err) ? err.stack || String(err) : util.inspect(err);
  send('L', 'e2', heading + '\n' + stack + '\n');
}

// ---- errors ---------------------------------------------------------------

// Errors of another realm (vm contexts) are not instanceof Error.
function isError(err) {
  return util.types.isNativeError(err) || err instanceof Error ||
    (err !== null && typeof err === 'object' && typeof err.message === 'string' && typeof err.name === 'string');
}

function errorObject(err) {
  try {
    if (isError(err)) {
      return { errorType: String(err.name), errorMessage: String(err.message), trace: String(err.stack || '').split('\n') };
    }
    return { errorType: typeof err, errorMessage: String(err), trace: [] };
  } catch (e) {
    return { errorType: 'handled', errorMessage: 'callback called with an error that cannot be shown', trace: [] };
  }
}

function named(type, message, cause) {
  const err = new Error(message);
  err.name = type;
  err.stack = cause && cause.stack ? type + ': ' + message + '\n' + cause.stack : type + ': ' + message;
  return err;
}

function sendError(type, err, prefix = '') {
  let text = JSON.stringify(errorObject(err));
  if (Buffer.byteLength(text) > MAX_RESPONSE) {
    text = JSON.stringify({ errorType: String(err && err.name), errorMessage: String(err && err.message).slice(0, 65536), trace: [] });
  }
  send(type, prefix, text);
}

// ---- one invocation -------------------------------------------------------

let handler;
let streaming = false;
let current = null; // the invocation under way
let pipe;

// Without a reference of ours the event loop empties exactly when the user's
// work is done; 'beforeExit' then tells. Between invocations the pipe alone
// keeps the process alive.
function finish(call, type, text) {
  if (call.done) return;
  call.done = true;
  current = null;
  pipe.ref();
  send(type, '', text);
}

function fail(call, err) {
  if (call.done) return;
  logError('Invoke Error', err);
  call.done = true;
  current = null;
  pipe.ref();
  sendError('E', err);
}

function succeed(call, value) {
  if (call.done) return;
  let text;
  try {
    text = JSON.stringify(value === undefined ? null : value);
    if (text === undefined) text = 'null';
  } catch (err) {
    return fail(call, named('Runtime.MarshalError', 'Unable to stringify response body: ' + err.message, err));
  }
  // Length in UTF-16 units is a lower bound of the length in bytes.
  if (text.length * 3 > MAX_RESPONSE && Buffer.byteLength(text) > MAX_RESPONSE) {
    return fail(call, named('Function.ResponseSizeTooLarge',
      'Response payload size (' + Buffer.byteLength(text) + ' bytes) exceeded maximum allowed payload size (' + MAX_RESPONSE + ' bytes).'));
  }
  finish(call, 'O', text);
}

process.on('beforeExit', () => {
  const call = current;
  if (call) succeed(call, call.answered ? call.answer : null);
});

function answered(call, err, value) {
  if (call.answered || call.done) return;
  call.answered = true;
  if (err !== undefined && err !== null) return fail(call, err);
  if (call.waits) {
    call.answer = value;
  } else {
    setImmediate(() => succeed(call, value));
  }
}

// Read once: every look into process.env asks the system, and these never change
// in the life of a worker.
const worker = {
  version: process.env.AWS_LAMBDA_FUNCTION_VERSION,
  name: process.env.AWS_LAMBDA_FUNCTION_NAME,
  memory: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
  group: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
  stream: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
};

class Context {
  constructor(call, requestId, deadline, arn, client) {
    this.functionVersion = worker.version;
    this.functionName = worker.name;
    this.memoryLimitInMB = worker.memory;
    this.logGroupName = worker.group;
    this.logStreamName = worker.stream;
    this.clientContext = client ? parse(client) : undefined;
    this.identity = undefined;
    this.invokedFunctionArn = arn;
    this.awsRequestId = requestId;
    this.getRemainingTimeInMillis = () => deadline - Date.now();
    this.done = (err, value) => {
      call.waits = false;
      answered(call, err, value);
    };
    this.succeed = (value) => this.done(null, value);
    this.fail = (err) => this.done(err === undefined || err === null ? 'handled' : err);
    Object.defineProperty(this, 'callbackWaitsForEmptyEventLoop', {
      enumerable: true,
      get: () => call.waits,
      set: (value) => { call.waits = Boolean(value); },
    });
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch (err) {
    return undefined;
  }
}

function invoke(head, body) {
  const line = head.split('\n');
  const call = { done: false, answered: false, answer: undefined, waits: true };
  if (line[2]) process.env._X_AMZN_TRACE_ID = line[2];
  const context = new Context(call, line[0], Number(line[1]), line[3], line.length > 5 ? line.slice(4).join('\n') : line[4]);
  current = call;
  let result;
  try {
    const event = JSON.parse(body);
    pipe.unref();
    if (streaming) return stream(call, event, context);
    result = handler(event, context, (err, value) => answered(call, err, value));
  } catch (err) {
    return fail(call, err);
  }
  if (result !== null && result !== undefined && typeof result.then === 'function') {
    result.then((value) => {
      // A callback given before the promise settles has answered already; what
      // it said is kept when an async function then ends without a value.
      if (call.answered && value === undefined) value = call.answer;
      succeed(call, value);
    }, (err) => fail(call, err));
  }
  // Any other return value is ignored, as on AWS: the callback, or an empty
  // event loop, ends the invocation.
}

// ---- response streaming: collected, and answered as one payload ------------

const STREAMING = Symbol('streaming');

globalThis.awslambda = {
  streamifyResponse(fn) {
    fn[STREAMING] = true;
    return fn;
  },
  HttpResponseStream: {
    from(stream, prelude) {
      stream.write(JSON.stringify(prelude));
      stream.write(Buffer.alloc(8));
      return stream;
    },
  },
};

function stream(call, event, context) {
  const { Writable } = require('stream');
  const parts = [];
  let size = 0;
  const out = new Writable({
    write(chunk, encoding, callback) {
      size += chunk.length;
      if (size > MAX_RESPONSE) {
        return callback(named('Function.ResponseSizeTooLarge', 'Response payload size exceeded maximum allowed payload size (' + MAX_RESPONSE + ' bytes).'));
      }
      parts.push(Buffer.from(chunk));
      callback();
    },
  });
  out.setContentType = () => {};
  out.on('error', (err) => fail(call, err));
  out.on('finish', () => finish(call, 'O', Buffer.concat(parts)));
  Promise.resolve(handler(event, out, context)).catch((err) => fail(call, err));
}

// ---- loading --------------------------------------------------------------

function packageType(file, root) {
  for (let dir = path.dirname(file); ; dir = path.dirname(dir)) {
    try {
      return JSON.parse(fs.readFileSync(path.join(dir, 'package.json'), 'utf8')).type || 'commonjs';
    } catch (err) {
      if (err.code !== 'ENOENT') return 'commonjs';
    }
    if (dir === root || dir === path.dirname(dir)) return 'commonjs';
  }
}

async function load(root, name) {
  const base = path.resolve(root, name);
  const isFile = (f) => {
    try {
      return fs.statSync(f).isFile();
    } catch (err) {
      return false;
    }
  };
  const file = [base, base + '.js', base + '.mjs', base + '.cjs', path.join(base, 'index.js'), path.join(base, 'index.mjs')].find(isFile);
  if (!file) {
    // Layers may hold the module: NODE_PATH.
    try {
      return require(require.resolve(name, { paths: [root] }));
    } catch (err) {
      throw named('Runtime.ImportModuleError', "Error: Cannot find module '" + name + "' in the function's code (looked for " + name + '.js, .mjs, .cjs)', err);
    }
  }
  const asModule = file.endsWith('.mjs') || (file.endsWith('.js') && packageType(file, root) === 'module');
  try {
    if (asModule) return await import(require('url').pathToFileURL(file).href);
    try {
      return require(file);
    } catch (err) {
      if (err && (err.code === 'ERR_REQUIRE_ESM' || err.code === 'ERR_REQUIRE_ASYNC_MODULE') && String(err.message).includes(file)) {
        return await import(require('url').pathToFileURL(file).href);
      }
      throw err;
    }
  } catch (err) {
    if (err instanceof SyntaxError) throw named('Runtime.UserCodeSyntaxError', 'SyntaxError: ' + err.message, err);
    if (err && (err.code === 'MODULE_NOT_FOUND' || err.code === 'ERR_MODULE_NOT_FOUND')) {
      throw named('Runtime.ImportModuleError', 'Error: ' + err.message, err);
    }
    throw err;
  }
}

async function loadHandler(root, full) {
  const at = full.lastIndexOf('/') + 1;
  const dot = full.indexOf('.', at);
  if (dot < 0 || full.includes('..')) {
    throw named('Runtime.MalformedHandlerName', "'" + full + "' is not a valid handler name: expected FILE.EXPORT");
  }
  const module = await load(root, full.slice(0, dot));
  const names = full.slice(dot + 1).split('.');
  const find = (from) => names.reduce((o, n) => (o === undefined || o === null ? undefined : o[n]), from);
  let fn = find(module);
  if (fn === undefined && module && module.default) fn = find(module.default);
  if (fn === undefined) throw named('Runtime.HandlerNotFound', full + ' is undefined or not exported');
  if (typeof fn !== 'function') throw named('Runtime.HandlerNotFound', full + ' is not a function');
  return fn;
}

// ---- frames in ------------------------------------------------------------

let held = null; // an incomplete frame
let filled = 0;

function take(buf, start, end) {
  const headLength = buf.readUInt16BE(start);
  const at = start + 2 + headLength;
  invoke(buf.toString('utf8', start + 2, at), buf.toString('utf8', at, end));
}

function received(n, buf) {
  let at = 0;
  while (at < n) {
    if (held === null) {
      if (n - at >= 5) {
        const length = buf.readUInt32BE(at);
        if (length < 3 || length > MAX_EVENT) process.reallyExit(1);
        if (n - at >= 4 + length) {
          take(buf, at + 5, at + 4 + length);
          at += 4 + length;
          continue;
        }
        held = Buffer.allocUnsafe(4 + length);
      } else {
        held = Buffer.allocUnsafe(5); // the length itself is cut
      }
      filled = 0;
    }
    const part = Math.min(held.length - filled, n - at);
    buf.copy(held, filled, at, at + part);
    filled += part;
    at += part;
    if (filled === 5 && held.length === 5) {
      const length = held.readUInt32BE(0);
      if (length < 3 || length > MAX_EVENT) process.reallyExit(1);
      const whole = Buffer.allocUnsafe(4 + length);
      held.copy(whole);
      held = whole;
    }
    if (filled === held.length) {
      const whole = held;
      held = null;
      take(whole, 5, whole.length);
    }
  }
  return true;
}

// ---- start ----------------------------------------------------------------

function fatal(type, err) {
  sendError(type, err, type === 'X' ? (current ? '1' : '0') : '');
  process.reallyExit(type === 'F' ? 1 : 129);
}

let ready = false;

process.on('uncaughtException', (err) => {
  logError('Uncaught Exception', err);
  fatal(ready ? 'X' : 'F', err);
});
process.on('unhandledRejection', (reason) => {
  const text = isError(reason) ? reason.name + ': ' + reason.message : util.inspect(reason);
  const err = named('Runtime.UnhandledPromiseRejection', text, isError(reason) ? reason : undefined);
  logError('Unhandled Promise Rejection', err);
  fatal(ready ? 'X' : 'F', err);
});

pipe = new net.Socket({
  fd: IN,
  readable: true,
  writable: false,
  onread: { buffer: Buffer.allocUnsafe(64 * 1024), callback: received },
});
pipe.on('end', () => process.reallyExit(0));
pipe.on('error', () => process.reallyExit(0));
pipe.on('close', () => process.reallyExit(0));

(async () => {
  try {
    handler = await loadHandler(process.env.LAMBDA_TASK_ROOT, process.env._HANDLER);
    streaming = Boolean(handler[STREAMING]);
  } catch (err) {
    logError('Init Error', err);
    return fatal('F', err);
  }
  ready = true;
  send('R', '', '');
})();
