'use strict'
// How a peer in Node is led: a line of JSON in, a line of JSON out, until the end of input. See servers/lines.py.

const readline = require('node:readline')

function say(answer) {
  process.stdout.write(JSON.stringify(answer) + '\n')
}

/** Say that the server is ready, then do what is asked. A handler takes the question and returns the answer. */
function obey(handlers, ready) {
  say({ pids: [process.pid], ...ready })
  const lines = readline.createInterface({ input: process.stdin })
  lines.on('line', async (line) => {
    const question = JSON.parse(line)
    try {
      say(await handlers[question.do](question))
    } catch (error) {
      say({ error: String(error && error.stack) })
    }
  })
  lines.on('close', () => process.exit(0))
}

/** Call `send` for each event, and let the loop turn after each batch, as it does between two reads of a queue. */
async function inBatches(question, send) {
  for (let batch = 0; batch < question.batches; batch++) {
    for (let event = 0; event < question.events; event++) send()
    await new Promise(setImmediate)
  }
  return {}
}

module.exports = { inBatches, obey }
