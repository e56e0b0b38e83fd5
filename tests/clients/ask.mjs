// One client of an application against the server: a query, a subscription, and the mutation that makes it tell something.
// `node ask.mjs CLIENT` takes {url, token, patient, department} on stdin and prints {query, mutation, message} as JSON.

import { randomUUID } from 'node:crypto'
import { text } from 'node:stream/consumers'
import WebSocket from 'ws'

const QUERY = 'query Chart($id: ID!) { patient(id: $id) { id name { family } } }'
const MUTATION = `
  mutation Open($input: OpenEncounterInput!) {
    openEncounter(input: $input) { encounter { id status version } userErrors { code } }
  }`
const SUBSCRIPTION = `
  subscription Changes($patient: ID!) {
    chartChanged(patient: $patient) { cursor resources { __typename id } }
  }`

const { url, token, patient } = JSON.parse(await text(process.stdin))
const authorization = `Bearer ${token}`
const socketUrl = url.replace(/^http/, 'ws')

/** Of each client: `run(document, variables)` gives {data}, `listen(document, variables, told)` calls told with {data}. */
const clients = {
  async apollo() {
    const { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } = await import('@apollo/client')
    const { GraphQLWsLink } = await import('@apollo/client/link/subscriptions')
    const { OperationTypeNode } = await import('graphql')
    const { createClient } = await import('graphql-ws')
    const socket = createClient({ url: socketUrl, webSocketImpl: WebSocket, connectionParams: { authorization } })
    const link = ApolloLink.split(
      ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
      new GraphQLWsLink(socket),
      new HttpLink({ uri: url, headers: { authorization } }),
    )
    const client = new ApolloClient({ link, cache: new InMemoryCache() })
    return {
      run: (document, variables) =>
        document.trimStart().startsWith('mutation')
          ? client.mutate({ mutation: gql(document), variables })
          : client.query({ query: gql(document), variables }),
      listen: (document, variables, told) =>
        client.subscribe({ query: gql(document), variables }).subscribe({ next: told, error: fail }),
    }
  },

  async urql() {
    const { Client, fetchExchange, gql } = await import('@urql/core')
    // urql's own way with subscriptions over fetch: Server-Sent Events.
    const client = new Client({
      url,
      exchanges: [fetchExchange],
      fetchSubscriptions: true,
      preferGetMethod: false,
      fetchOptions: { headers: { authorization } },
    })
    return {
      run: (document, variables) =>
        document.trimStart().startsWith('mutation')
          ? client.mutation(gql(document), variables).toPromise()
          : client.query(gql(document), variables).toPromise(),
      listen: (document, variables, told) =>
        client.subscription(gql(document), variables).subscribe((result) => (result.error ? fail(result.error) : told(result))),
    }
  },

  async 'graphql-ws'() {
    const { createClient } = await import('graphql-ws')
    return streaming(createClient({ url: socketUrl, webSocketImpl: WebSocket, connectionParams: { authorization } }))
  },

  async 'graphql-sse'() {
    const { createClient } = await import('graphql-sse')
    return streaming(createClient({ url, headers: { authorization } }))
  },
}

/** graphql-ws and graphql-sse have one interface. */
function streaming(client) {
  const listen = (query, variables, told) => client.subscribe({ query, variables }, { next: told, error: fail, complete() {} })
  const run = (query, variables) =>
    new Promise((resolve, reject) => {
      let last
      client.subscribe({ query, variables }, { next: (result) => (last = result), error: reject, complete: () => resolve(last) })
    })
  return { run, listen }
}

function fail(error) {
  console.error(error)
  process.exit(1)
}

function visit() {
  const type = { system: 'http://snomed.info/sct', code: '185349003', display: 'Encounter for check up' }
  return { input: { idempotencyKey: randomUUID(), patientId: patient, class: 'AMB', type } }
}

const client = await clients[process.argv[2]]()
const query = await client.run(QUERY, { id: patient })
let mutation
const message = await new Promise((resolve) => {
  client.listen(SUBSCRIPTION, { patient }, resolve)
  // Nobody says when the server listens: a visit is opened until one was told.
  setInterval(() => (mutation = client.run(MUTATION, visit())), 500)
})
const pick = (result) => ({ data: result.data, errors: result.errors ?? result.error ?? null })
console.log(JSON.stringify({ query: pick(query), mutation: pick(await mutation), message: pick(message) }))
process.exit(0)
