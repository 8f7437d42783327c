'use strict'
// A gateway as one writes it first, with amqplib and ws: parse, look the user up, stringify, send, ack.
// It validates nothing, keeps nothing, and believes the token that it is shown.
//   {"url": "amqp://…", "queue": "…", "prefetch": 500}

const amqp = require('amqplib')
const { WebSocketServer } = require('ws')
const { drain } = require('./amqp_window.cjs')
const { obey } = require('./lines.cjs')

const { url, queue, prefetch } = JSON.parse(process.argv[2])
const users = new Map() // Of user to a set of sockets.

function welcome(socket, request) {
  const [, token] = request.headers.authorization.split(' ')
  const { sub } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'))
  if (!users.has(sub)) users.set(sub, new Set())
  users.get(sub).add(socket)
  socket.on('close', () => users.get(sub).delete(socket))
  socket.on('error', () => {})
  socket.send(JSON.stringify({ type: 'connected', data: { userId: sub } }))
}

function take(message) {
  const { timestamp, ...data } = JSON.parse(message.content)
  const room = `user:${data.userId}`
  const sockets = users.get(data.userId)
  if (sockets === undefined) return
  const { messageId: id } = message.properties
  const text = JSON.stringify({ type: message.fields.routingKey, version: 1, id, room, timestamp, data })
  for (const socket of sockets) socket.send(text)
}

async function main() {
  const connection = await amqp.connect(url)
  const channel = await connection.createChannel()
  await channel.prefetch(prefetch)
  let consumer // Its tag, while attached.
  async function attach() {
    const answer = await channel.consume(queue, (message) => {
      take(message)
      channel.ack(message)
    })
    consumer = answer.consumerTag
    return { attached: true }
  }
  async function detach() {
    await channel.cancel(consumer)
    return { attached: false }
  }
  function cpu() {
    const { user, system } = process.cpuUsage()
    return { user: user / 1e6, system: system / 1e6 }
  }
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, path: '/ws', backlog: 4096 })
  server.on('connection', welcome)
  server.on('listening', () => {
    const drained = ({ events }) => drain(channel, queue, events, take)
    obey({ drain: drained, attach, detach, cpu }, { port: server.address().port })
  })
}

main()
