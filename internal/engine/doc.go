// Package engine performs what package delivery decides: it owns the goroutines, the connections, the
// memory and the clock. It decides nothing about delivery itself.
//
// A Pipeline prepares (connects, compiles the plan, runs the preflight) and then runs one life after
// another. A life is one membership of the consumer group with one delivery.Machine; when the machine
// says Leave, or the membership is lost, the life ends, everything it had in memory is forgotten, and
// the next one recovers from the strings.
//
// Within a life three kinds of goroutine meet:
//
//   - the group client's callbacks, which step the machine under life.mu before they return;
//   - the gatherer, which alone polls, decodes, and starts partitions;
//   - one performer per effect, which waits out its backoff, performs, and steps the machine with the
//     answer.
//
// Lock order: life.mu is taken by callbacks and by the commit's builder, which the Kafka session calls;
// so nobody calls the session while holding life.mu.
package engine
