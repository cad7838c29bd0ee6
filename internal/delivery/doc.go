// Package delivery is the exactly-once protocol as a pure state machine: events in, effects out.
// It has no clock, no context, no goroutine and no I/O, so that a seeded simulator can drive it
// through every interleaving; package engine performs the effects on real servers.
//
// # The idea
//
// A batch is gathered across the partitions of a worker. Before a row of it is sent, its intent (id,
// spans, plan, time) is committed to Kafka as the metadata string of the group's offsets, in all of
// its partitions at once. From then on the batch is a promise: whoever sees the string carries it out.
// The rows go to ClickHouse as one block under one deduplication token, T(0). If that is answered
// without a deduplicated block, they have landed. Anything else is doubt, and doubt is settled by
// reading which offsets the table holds and sending the absent ones under the token chain T(0), T(1),
// T(2), ... which every worker derives alike from the batch's id. Then dead letters, then one ledger
// row per partition, in offset order; then the committed offset moves past the span.
//
// # Why the chain is safe
//
// A server records (table partition, T(k)) atomically with the slice that it lands or drops. A row is
// sent under T(k+1) only by someone who had an answer to a T(k) request with that row in it, and who
// then read the table without seeing the row. So at that moment T(k) is recorded in the row's table
// partition, and every other request that carries the row under T(k) or below will be dropped there.
// Any subset of a batch, sent by any number of workers with any delay, lands each row once, as long as
// no token is forgotten while a request that carries it can still arrive; the lease and the deadline
// of Send bound that time.
//
// # Names
//
// A work is a batch (or the held part of one that is being recovered) on its way through the stages
// of Stage. A deposit is the placing of rows into one store (target, dead letters, ledger) by the rule
// above. An instance is one assignment of one partition to this worker; it dies with the assignment,
// even if the partition comes back.
package delivery
