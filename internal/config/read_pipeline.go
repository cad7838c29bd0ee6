package config

import (
	"fmt"
	"math"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/transform/expr"
)

// tombstonesSkip is how a file says contract.TombstonesSkip.
const tombstonesSkip contract.Tombstones = "skip"

func (r *reader) pipeline(v value, p *Pipeline) {
	var routes value
	v.object(
		required("name", intoText(&p.Name, dnsLike)),
		optional("epoch", intoInt(&p.Epoch, 0, math.MaxUint32)),
		required("source", func(v value) { readSource(v, &p.Source) }),
		optional("contract", func(v value) { readContract(v, &p.Contract) }),
		required("sink", func(v value) { readSink(v, &p.Sink) }),
		optional("delivery", intoWord(&p.Delivery, words(ExactlyOnce, AtLeastOnce))),
		optional("batch", func(v value) { readBatch(v, &p.Batch) }),
		optional("version", func(v value) { readVersions(v, &p.Contract.Transform) }),
		optional("redact", func(v value) { readRedact(v, &p.Contract.Transform, &p.RedactSecret) }),
		optional("filter", intoExpr(&p.Contract.Transform.Filter, expr.CompileBool, nil)),
		optional("tombstones", func(v value) {
			to := tombstonesSkip
			intoWord(&to, words(tombstonesSkip, contract.TombstonesDeadLetter))(v)
			if to != tombstonesSkip {
				p.Contract.Transform.Tombstones = to
			}
		}),
		optional("allowed_lateness", intoDuration(&p.AllowedLateness, time.Millisecond, 30*24*time.Hour)),
		optional("on_blank", intoWord(&p.OnBlank, words(BlankStop, BlankContinue))),
		optional("audit", func(v value) { readAudit(v, &p.Audit) }),
		optional("routes", func(v value) { routes = v }),
		optional("unrouted", intoWord(&p.Unrouted, words(contract.UnroutedDeadLetter, contract.UnroutedDiscard))),
		optional("dead_letters", func(v value) { readDeadLetters(v, &p.DeadLetters) }),
		optional("archive", func(v value) {
			p.Archive = &Archive{}
			readArchive(v, p.Archive)
		}),
		optional("content", func(v value) {
			p.Content = &Content{}
			readContent(v, p.Content)
		}),
		optional("alerts", func(v value) { readAlerts(v, &p.Alerts) }),
		later("dedup"),
	)
	if v.describing() {
		v.saysRoutes(routes)
		return
	}
	if p.Source.Kafka.Group == "" {
		p.Source.Kafka.Group = "waybill-" + p.Name
	}
	switch _, mapping := v.node.(*ast.MappingNode); {
	case routes.node != nil:
		r.routes(v, routes, p) // once the rest is known
	case mapping:
		r.oneTable(v, p)
	}
	if p.Archive != nil {
		r.archive(v, p)
	}
	r.content(v, p)
}

// checkTable checks what is promised of one table.
func (r *reader) checkTable(v value, p *Pipeline) {
	r.lineageClashes(v, p)
	r.eventTime(v, p)
	r.checkContract(p)
}

// eventTime checks that the column of event times is one of the contract's.
func (r *reader) eventTime(v value, p *Pipeline) {
	name := p.Contract.EventTime
	if name == "" || slices.ContainsFunc(p.Contract.Columns, func(c contract.Column) bool { return c.Name == name }) {
		return
	}
	v.at("contract", "event_time").report(fmt.Sprintf("%scontract.event_time: the contract has no column %q", p.at, name), "name one of its columns of DateTime or DateTime64")
}

func readSource(v value, s *Source) {
	v.object(
		required("kafka", func(v value) { readKafka(v, &s.Kafka) }),
		optional("format", intoWord(&s.Format, words(JSON), planned[Format]("avro", "protobuf", "otlp"))),
		later("registry"),
	)
}

func readSink(v value, s *Sink) {
	v.object(required("clickhouse", func(v value) { readClickHouse(v, &s.ClickHouse) }))
}

func readAudit(v value, a *Audit) {
	v.object(
		optional("continuous", intoBool(&a.Continuous)),
		optional("reason", intoText(&a.Reason, notEmpty)),
	)
	if !a.Continuous && a.Reason == "" {
		v.report("the continuous audit is off, and nothing says why", "give the reason: audit: {continuous: false, reason: ...}")
	}
}

func readBatch(v value, b *Batch) {
	v.object(
		optional("rows", intoInt(&b.Rows, 1, 10_000_000)),
		optional("bytes", intoSize(&b.Bytes, 1<<10, 1<<30)),
		optional("age", intoDuration(&b.Age, time.Millisecond, 10*time.Minute)),
	)
}

func readDeadLetters(v value, d *DeadLetters) {
	v.object(
		optional("max_share", intoShare(&d.MaxShare)),
		optional("max_count", intoInt(&d.MaxCount, 1, math.MaxInt32)),
		optional("window", intoDuration(&d.Window, time.Minute, 24*time.Hour)),
		optional("ttl", intoDays(&d.TTL, 1, 36_500)),
		optional("mirror", func(v value) { v.object(required("topic", intoText(&d.Mirror, topicName))) }),
	)
}

// lineageClashes finds one name used for two columns of a row.
func (r *reader) lineageClashes(v value, p *Pipeline) {
	l := p.Sink.ClickHouse.Lineage
	names := map[string]string{}
	for _, f := range []struct{ what, name string }{
		{"topic", l.Topic}, {"partition", l.Partition}, {"offset", l.Offset}, {"epoch", l.Epoch},
	} {
		if other, taken := names[f.name]; taken {
			v.at("sink", "clickhouse", "lineage").report(
				fmt.Sprintf("lineage %s and %s are both called %q", other, f.what, f.name), "")
		}
		if f.name != "" {
			names[f.name] = f.what
		}
	}
	if rescue := p.Contract.RescueColumn; names[rescue] != "" {
		v.at("contract", "rescue_column").report(fmt.Sprintf("the rescue column and the lineage column for the %s are both called %q", names[rescue], rescue), "")
	}
	for _, c := range p.Contract.Columns {
		if c.Name == p.Contract.RescueColumn {
			r.problems = append(r.problems, r.src.problem(c.Line, c.Col, p.at+"contract.columns."+c.Name,
				fmt.Sprintf("column %q is the rescue column, which Waybill fills", c.Name),
				"leave it out of the contract, or give the rescue column another name under contract.rescue_column"))
			continue
		}
		if what, taken := names[c.Name]; taken {
			r.problems = append(r.problems, r.src.problem(c.Line, c.Col, p.at+"contract.columns."+c.Name,
				fmt.Sprintf("column %q is the lineage column for the %s, which Waybill fills", c.Name, what),
				"leave it out of the contract, or rename the lineage column under sink.clickhouse.lineage"))
		}
	}
}

// at finds a value further down, or the nearest one above it.
func (v value) at(keys ...string) value {
	for _, key := range keys {
		m, ok := v.node.(*ast.MappingNode)
		if !ok {
			return v
		}
		next := v
		for _, kv := range m.Values {
			if s, _ := scalarText(kv.Key); s == key {
				next = value{r: v.r, node: kv.Value, path: join(v.path, key)}
			}
		}
		v = next
	}
	return v
}

// hostPort checks an address and adds the port if it has none.
func (v value) hostPort(s, defaultPort string) (string, bool) {
	if s == "" {
		if _, ok := scalarText(v.node); ok {
			v.report(v.path+" names no host", "")
		}
		return "", false
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), defaultPort
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if host == "" || err != nil || n == 0 || strings.ContainsAny(host, "/@ ,") {
		v.report(v.path+" is not an address", "write host:port, like localhost:"+defaultPort)
		return "", false
	}
	return net.JoinHostPort(host, port), true
}

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func dnsLike(s string) (message, hint string) {
	if dnsLabel.MatchString(s) {
		return "", ""
	}
	return "is not a pipeline name", "use lower-case letters, digits and dashes, at most 63, like llm-calls"
}

func notEmpty(s string) (message, hint string) {
	if s == "" {
		return "must not be empty", ""
	}
	return "", ""
}

func atMost(n int) check {
	return func(s string) (message, hint string) {
		if len(s) > n {
			return fmt.Sprintf("is longer than %d characters", n), ""
		}
		return "", ""
	}
}

var topicChars = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

func topicName(s string) (message, hint string) {
	if topicChars.MatchString(s) && s != "." && s != ".." {
		return "", ""
	}
	return "is not a topic name that Kafka allows", "one topic; letters, digits, dots, dashes and underscores, at most 249"
}

func tableName(s string) (message, hint string) {
	switch {
	case strings.Contains(s, "."):
		return "has a dot in it", "the database belongs into sink.clickhouse.url, after the port"
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == '`' || r == '\\' || r == '"' }):
		return "has a character that a table name cannot have", ""
	}
	return "", ""
}

// ValidName reports whether a pipeline can have a name.
func ValidName(name string) bool { return dnsLabel.MatchString(name) }
