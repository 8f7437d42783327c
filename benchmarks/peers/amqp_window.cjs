'use strict'
// What a drain costs: CPU from before a process attaches to a queue until it has come to rest. See amqp/window.py.

const REST_MS = 50 // After the last event: what is still on its way out is counted, too.

/** Take `events` from a queue with `take`, acking each; return CPU and wall time in seconds. */
async function drain(channel, queue, events, take) {
  let missing = events
  let done
  const last = new Promise((resolve) => { done = resolve })
  const began = process.hrtime.bigint()
  const before = process.cpuUsage()
  const { consumerTag } = await channel.consume(queue, (message) => {
    take(message)
    channel.ack(message)
    missing -= 1
    if (missing === 0) done()
  })
  await last
  const wall = Number(process.hrtime.bigint() - began) / 1e9
  await new Promise((resolve) => setTimeout(resolve, REST_MS))
  const { user, system } = process.cpuUsage(before)
  await channel.cancel(consumerTag)
  return { user: user / 1e6, system: system / 1e6, wall, events: events - missing }
}

module.exports = { drain }
