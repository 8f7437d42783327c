'use strict'
// Socket.IO in Node: every client in one room, and an emit to the room. WebSocket is the only transport.

const http = require('node:http')
const { Server } = require('socket.io')
const { inBatches, obey } = require('./lines.cjs')

const ROOM = 'bench'
const server = http.createServer()
// Keep-alive is not what is measured; the load generator answers no ping.
const io = new Server(server, { transports: ['websocket'], pingInterval: 600_000 })
let event = null

io.on('connection', (socket) => socket.join(ROOM))

server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
  obey(
    {
      prepare: ({ message }) => {
        event = JSON.parse(message)
        return {}
      },
      fanout: (question) => inBatches(question, () => io.to(ROOM).emit('event', event)),
      settle: () => {
        global.gc()
        return { sockets: io.engine.clientsCount }
      },
    },
    { port: server.address().port },
  )
})
