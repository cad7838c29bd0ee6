// Package codes writes docs/reference/errors.md: what a server or a broker may answer, and what a pipeline then does. It says nothing of its
// own about codes, which the classifiers of internal/clickhouse and internal/kafka know, nor about what follows, which waybill.Class.Action
// says and internal/engine does: a test there has a pipeline meet each row.
package codes

//go:generate go run ./gen ../../docs/reference/errors.md

import (
	"fmt"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/kafka"
)

// Exit codes of `waybill run`, see `waybill help exit-codes`.
const (
	exitFatal = 4
	exitBug   = 5
)

// Exit is the exit code of a pipeline that an error of this class has stopped.
func Exit(c waybill.Class) int {
	if c == waybill.ClassBug {
		return exitBug
	}
	return exitFatal
}

// Classes are all there are, in the order in which they are shown.
func Classes() []waybill.Class {
	var out []waybill.Class
	for c := waybill.ClassUnknown; c <= waybill.ClassBug; c++ {
		out = append(out, c)
	}
	return out
}

// conduct is an action in words.
var conduct = map[waybill.Action]struct{ running, starting, state, ready, exit, probe string }{
	waybill.ActionRetry: {"tries again, after 0.1 s at first and 15 s at most, without an end", "the same", "`stalled` from the second failure on", "ready; at its start not", "none", "each retry"},
	waybill.ActionProbe: {"tries again, likewise: a password file, a certificate, a grant are looked at anew each time", "stops", "`stalled` from the second failure on", "ready", "%d at its start", "each retry"},
	waybill.ActionBisect: {"halves the block until the rows are known that are refused; they become dead letters. More than 100 of a block, and more than 1 in 100, stop the pipeline before any does",
		"does not occur", "`running`", "ready", "%d if it stops", "a copy of the table without rows, where one can be made"},
	waybill.ActionReplan: {"reads the table anew and goes on with what it is; stops if the table is what it was, or is gone", "stops", "`running`, or `stopped`", "not ready when stopped", "%d", "none: start it again"},
	waybill.ActionRejoin: {"leaves the group, joins it again and carries out what is pending", "tries again", "`running`", "not ready until it has partitions", "none", "each time it joins"},
	waybill.ActionStop:   {"stops", "stops", "`stopped`", "not ready", "%d", "none: start it again"},
}

// Reference is the page.
func Reference() string {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString("| class | action | while it runs | at its start | state | `/readyz` | exit code | looks again by itself |\n|---|---|---|---|---|---|---|---|\n")
	for _, c := range Classes() {
		d := conduct[c.Action()]
		exit := d.exit
		if strings.Contains(exit, "%d") {
			exit = fmt.Sprintf(exit, Exit(c))
		}
		row(&b, c.String(), c.Action().String(), d.running, d.starting, d.state, d.ready, exit, d.probe)
	}
	b.WriteString(clickhouseHead)
	for _, c := range clickhouse.Codes() {
		row(&b, fmt.Sprint(c.Code), "`"+c.Name+"`", c.Class.String(), c.Class.Action().String(), c.Why, c.Hint)
	}
	b.WriteString(kafkaHead)
	for _, c := range kafka.Codes() {
		written := "no"
		if !c.Refused {
			written = "perhaps"
		}
		row(&b, fmt.Sprint(c.Code), "`"+c.Name+"`", c.Class.String(), c.Class.Action().String(), written, c.Why, c.Hint)
	}
	return b.String()
}

func row(b *strings.Builder, cells ...string) {
	for _, c := range cells {
		b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
	}
	b.WriteString("|\n")
}

const head = `# Errors: what a pipeline does about them

<!-- Made by go generate from the classifiers. Do not edit. -->

Each error of a server or a broker is of a class, and the class decides what a pipeline does. What no row names is of class ` + "`unknown`" + `: it
is tried again, and shown. No outage, rotated password or missing grant makes a dead letter of anything: only class ` + "`poison`" + ` leads there, and only row by row.

While a pipeline is stalled, its reason is in ` + "`/status`" + `, in the log and in the metric ` + "`waybill_stalled`" + `, by class. It stays ready, for starting it
again would mend nothing. One that has stopped is not ready, and its process ends with the exit code below when no other pipeline of it runs.

`

const clickhouseHead = `
## ClickHouse

These are the answers to an INSERT. A SELECT that proves which rows are there is tried again whatever the answer is: nothing is taken for absent that could not be read.

Some answers mean something else than their code says:

| answer | what it means | what is done |
|---|---|---|
| 252 about "single INSERT block" | the block spans too many table partitions | it is halved; one row always fits |
| 395 with a text of Waybill's own | the block came too late, or was made for another shape of the table: nothing of it has landed | it is sent again, or made anew |
| 469 of the constraint of an epoch | another table has taken the place of this one | the tables are looked at anew |
| any, "while pushing to view" | a view throws; the rows have landed by then | tried again until the view is mended; no row is to blame |
| none: the connection fails | class ` + "`retryable`" + ` | what was sent is in doubt, and read back before it is sent again |
| a certificate, a key or a password file that does not do | class ` + "`denied`" + ` | looked at again for each new connection |
| HTTP 429 or 503 of a proxy | class ` + "`throttled`" + ` | tried again |
| HTTP 5xx or 408 of a proxy | class ` + "`retryable`" + ` | tried again |
| any other HTTP status, and what no ClickHouse wrote | class ` + "`denied`" + ` | tried again |

| code | name | class | action | why | what helps |
|---|---|---|---|---|---|
`

const kafkaHead = `
## Kafka

The action is that of an error which ends a membership of the group, or keeps one from beginning. Elsewhere:

- A **fetch** that fails is tried again, partition by partition, whatever the code. 100 and 103 are looked into: a topic that was in fact deleted or created again stops the pipeline. A position
  that is not in the log (1) is dealt with as ` + "`start`, `when_moved`" + ` and the runbook on lost records say.
- An **offset commit** that was turned down is tried again. One that may have been written all the same (see the table) ends the membership, so that it cannot be
  written late, over a later one. 12, a string that is too long for the broker, stops the pipeline.

| code | name | class | action | written all the same | why | what helps |
|---|---|---|---|---|---|---|
`
