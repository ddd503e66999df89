// Keeps a function's calls at home. Loaded with --require before any user code;
// `config` stands above, written by livegate:
//
//   divert    "127.0.0.1:3001" or "": where intercepted connections go
//   suffixes  [".amazonaws.com", …]: hosts that end so, or equal the rest, are intercepted
//   hosts     ["ws.example.test", …]: and these exactly
//   mapped    {"api.example.org": "127.0.0.1:9000"}: fixtures
//   offline   true: every other host that is not loopback is refused by name
//
// Only address and port change. SNI, Host, certificate checks, keep-alive keys,
// http/2 and fetch see the original host name.
(function install() {
  const net = require('net');
  const tls = require('tls');

  const target = split(config.divert || '');
  const exact = new Set((config.hosts || []).map((h) => h.toLowerCase()));
  const suffixes = (config.suffixes || []).map((s) => s.toLowerCase());
  const mapped = new Map(
    Object.keys(config.mapped || {}).map((h) => [h.toLowerCase(), split(config.mapped[h])])
  );

  function split(address) {
    const i = address.lastIndexOf(':');
    if (i < 0) return null;
    return { host: address.slice(0, i).replace(/^\[|\]$/g, ''), port: Number(address.slice(i + 1)) };
  }

  function intercepted(host) {
    if (exact.has(host)) return true;
    for (const suffix of suffixes) {
      if (host.endsWith(suffix) || '.' + host === suffix) return true;
    }
    for (const name of exact) {
      if (name.startsWith('*.') && host.endsWith(name.slice(1)) &&
          host.indexOf('.') === host.length - name.length + 1) return true;
    }
    return false;
  }

  function loopback(host) {
    return host === '' || host === 'localhost' || host === '::1' || host === '0.0.0.0' || host === '::' ||
      host === '[::1]' || /^127\./.test(host) || /^::ffff:127\./i.test(host) || host.endsWith('.localhost');
  }

  function name(options) {
    return String(options.host || options.hostname || '').toLowerCase().replace(/\.$/, '');
  }

  // tls.connect(options[, callback]), (port[, host][, options][, callback])
  const connectTLS = tls.connect;
  tls.connect = function connect(...args) {
    const o = {};
    let i = 0;
    if (args[0] !== null && typeof args[0] === 'object') {
      Object.assign(o, args[i++]);
    } else {
      o.port = args[i++];
      if (typeof args[i] === 'string') o.host = args[i++];
      if (args[i] !== null && typeof args[i] === 'object') Object.assign(o, args[i++]);
    }
    const host = name(o);
    // A mapped fixture speaks plain HTTP: its TLS ends at livegate, which proxies.
    if (!target || o.socket || o.path || !(intercepted(host) || mapped.has(host))) {
      return connectTLS.apply(this, args);
    }
    if (o.servername === undefined && !net.isIP(host)) o.servername = host;
    o.host = target.host;
    o.port = target.port;
    delete o.lookup;
    delete o.localAddress;
    const callback = args.slice(i).find((a) => typeof a === 'function');
    return callback ? connectTLS.call(this, o, callback) : connectTLS.call(this, o);
  };

  // Every TCP connection, TLS or plain, ends in Socket.prototype.connect: with
  // an already normalised [options, callback] from inside Node, or as called.
  const connectTCP = net.Socket.prototype.connect;
  net.Socket.prototype.connect = function connect(...args) {
    const inner = Array.isArray(args[0]) ? args[0] : args;
    let o = inner[0];
    if (typeof o === 'number' || (typeof o === 'string' && /^\d+$/.test(o))) {
      o = { port: Number(o), host: typeof inner[1] === 'string' ? inner[1] : '' };
    }
    if (o === null || typeof o !== 'object' || o.path) return connectTCP.apply(this, args);
    const host = name(o);
    const fixture = mapped.get(host) || (target && intercepted(host) ? target : null);
    if (fixture) {
      const moved = Object.assign({}, o, { host: fixture.host, port: fixture.port });
      delete moved.lookup;
      delete moved.localAddress;
      if (inner === args) {
        const callback = args.find((a) => typeof a === 'function');
        return callback ? connectTCP.call(this, moved, callback) : connectTCP.call(this, moved);
      }
      inner[0] = moved;
      return connectTCP.apply(this, args);
    }
    if (config.offline && !loopback(host)) {
      const err = new Error('connection to ' + host + ':' + o.port +
        ' refused: livegate runs with --offline (serve it locally with --map-host ' + host + '=127.0.0.1:PORT)');
      err.code = 'ERR_LIVEGATE_OFFLINE';
      err.host = host;
      process.nextTick(() => this.destroy(err));
      return this;
    }
    return connectTCP.apply(this, args);
  };

  // import { connect } from 'node:tls' must see it too.
  require('module').syncBuiltinESMExports();
})();
