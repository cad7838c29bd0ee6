// Package guide runs the pages of docs/guide as they read, against a stand-in for Kafka in the process and a real
// ClickHouse, and holds docs/guarantees.md to the tests that it names. It holds nothing but tests.
//
// A page's fenced blocks run in order. The word after the language says what a block is:
//
//	```yaml llm-calls.yaml        a file of that name (json and ndjson likewise)
//	```json events                records for topic llm.calls, a value on each line; "events other" for topic other
//	```json records               records for it with key, headers and timestamp, as `waybill test --records` takes them
//	```sql                        statements for the server; if the next block is text, the last one's answer is that
//	```text                       an answer, as clickhouse-client shows it
//	```console                    commands after "$ ", each followed by all that it prints; exit=1 if one ends with 1
//	```yaml illustration          not run
//
// Commands are those of waybill, and cat, diff, sed, sleep, and export NAME=value. `waybill run FILE` followed by ^C ends when the topic
// has been read to its end, without it when it stops by itself; with & it runs on, until fg brings it back. What it logs is left
// out of what it prints, and so is what any command says of how far it is.
// Anything else is a fault of the page, and so is a code block that is indented instead of fenced.
//
// Pages say localhost:9092 and localhost:9000 where the broker and the server are, and localhost:8080 for a web server that puts what it is sent at
// /NAME into NAME.ndjson, and localhost:7070 for storage that speaks S3, which has a bucket llm-archive. Each begins with an empty database ai, without
// the database waybill, and with a topic llm.calls of one partition. What differs from run to run may differ from the page: a
// time of now, as long as it is a time; and ids of plans and batches, as long as the same id on the page is the same id in the run.
//
// `go test ./internal/guide -update` writes into the pages what was printed.
package guide
