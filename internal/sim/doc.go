// Package sim is the seeded simulator of the exactly-once protocol. It runs several workers, each a
// delivery.Machine with a performer of its effects, against the models of a broker (groupmodel) and of
// a ClickHouse server (chmodel), in virtual time, with one pseudo-random generator that is seeded once.
// Nothing else is random and nothing else tells the time, so a seed replays exactly.
//
// Every effect is performed in steps that are scheduled independently: decided, built, sent, applied
// (an insert: slice by slice), answered. Crashes, pauses, moves and lost messages come between any two
// of them. Faults are text (see Fault); a failing run prints its script and a transcript.
//
// With Options.Handover an operator puts tables in the place of tables meanwhile (operator.go): he promotes backfills, takes them back and
// promotes again, and is as mortal as everybody else. See docs/adr/0015.
//
// When the faults are over, everything must become quiet in bounded virtual time, and then an oracle
// that shares no code with the product compares what the tables hold with what was produced.
package sim
