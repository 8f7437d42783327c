'use strict'
// Node `ws`, as its README has it: an upgrade that is authenticated first, and a broadcast to all clients.
//   {"secret": "…"?, "keyed": true?, "deflate": true?}
// `keyed` makes a key of the secret once. Given a string, as in its documentation, jsonwebtoken tries at
// every token whether it is a public key, which takes longer than all the rest.

const { createSecretKey } = require('node:crypto')
const http = require('node:http')
const jwt = require('jsonwebtoken')
const { WebSocket, WebSocketServer } = require('ws')
const { inBatches, obey } = require('./lines.cjs')

const { secret = '', keyed = false, deflate = false } = JSON.parse(process.argv[2])
const server = http.createServer()
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: deflate })
const key = keyed ? createSecretKey(Buffer.from(secret)) : secret
let event = null

function userOf(request) {
  if (!secret) return 'anybody'
  const [, token] = (request.headers.authorization || '').split(' ')
  return jwt.verify(token, key, { algorithms: ['HS256'] }).sub
}

server.on('upgrade', (request, socket, head) => {
  let user
  try {
    user = userOf(request)
  } catch {
    socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n')
    return
  }
  sockets.handleUpgrade(request, socket, head, (client) => {
    client.on('error', () => {})
    client.send(JSON.stringify({ type: 'connected', data: { userId: user } }))
  })
})

function broadcast() {
  const message = JSON.stringify(event)
  for (const client of sockets.clients) {
    if (client.readyState === WebSocket.OPEN) client.send(message)
  }
}

server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
  obey(
    {
      prepare: ({ message }) => {
        event = JSON.parse(message)
        return {}
      },
      fanout: (question) => inBatches(question, broadcast),
      settle: () => {
        global.gc()
        return { sockets: sockets.clients.size }
      },
    },
    { port: server.address().port },
  )
})
