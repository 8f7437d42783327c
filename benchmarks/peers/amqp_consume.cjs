'use strict'
// A consumer as amqplib's documentation shows it: parse, ack.
//   {"url": "amqp://…", "queue": "…", "prefetch": 500}

const amqp = require('amqplib')
const { drain } = require('./amqp_window.cjs')
const { obey } = require('./lines.cjs')

const { url, queue, prefetch } = JSON.parse(process.argv[2])

function take(message) {
  JSON.parse(message.content)
}

async function main() {
  const connection = await amqp.connect(url)
  const channel = await connection.createChannel()
  await channel.prefetch(prefetch)
  obey({ drain: ({ events }) => drain(channel, queue, events, take) })
}

main()
