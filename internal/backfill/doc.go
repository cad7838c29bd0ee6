// Package backfill is a backfill as a job: what states it has, which step follows which, what may be given up and what may not. It is pure:
// package backfill/operator performs what it decides. See docs/adr/0015.
//
// A job is a row in a journal (waybill.jobs), which is only added to. Whoever wants to go on with a job reads its last row, takes what
// [Job.Apply] makes of it, and adds that under the next sequence; of several who do, one succeeds. Nothing else says how far a job is. So
// every step is of the kind that can be taken again by somebody who does not know how far the last one came with it:
//
//   - What names a table by its UUID, or sets what is set already, is simply done again.
//   - ATTACH PARTITION and EXCHANGE TABLES are not of that kind, and a statement can be carried out long after its sender has died. So the table
//     that they are about has a name of its own for each session ([Job.SessionName]), and EXCHANGE one for each attempt. Whoever takes over
//     renames the table first. A statement of a former session then names a table that is not there.
//   - What a former session may have attached is removed before it is attached again: rows of older epochs in that table partition, from
//     the position that its round began at.
//
// No name is ever that of two tables ([Job.WorkName], [Job.ReplacedName]): a worker of the backfill that slept must not write into the table that was
// replaced.
package backfill
