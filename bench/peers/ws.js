// /echo, /sub and /pub over the `ws` package: node ws.js PORT
const { WebSocketServer } = require('ws')
const subs = new Set()
const wss = new WebSocketServer({ host: '127.0.0.1', port: +process.argv[2], perMessageDeflate: false, backlog: 4096 })
wss.on('connection', (s, req) => {
  s.on('error', () => {})
  if (req.url === '/echo') s.on('message', (d, binary) => s.send(d, { binary }))
  else if (req.url === '/pub') s.on('message', (d, binary) => { for (const c of subs) c.send(d, { binary }) })
  else { subs.add(s); s.on('close', () => subs.delete(s)) }
})
