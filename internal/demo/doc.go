// Package demo shows Waybill at work on one machine, and proves the result: a broker, a real ClickHouse, a producer of LLM
// call events, and a worker (the same binary, `waybill run`) that is killed again and again while its inserts are in flight.
//
// The proof shares no code with the product. What was produced is what the broker acknowledged to the producer here; what
// arrived is asked of ClickHouse in plain SQL over HTTP; how far the group is, of the broker. See Balance.
//
// The broker is franz-go's kfake, a stand-in for Apache Kafka that speaks its protocol, in a process of its own.
package demo
