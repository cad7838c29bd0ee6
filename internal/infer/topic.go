package infer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-data/waybill/internal/contract"
)

// eventTime chooses the column that says when an event happened: of those that are moments and in every object, the one whose name says so
// best, and of equals the first.
func (b *builder) eventTime() {
	best, rank := -1, 0
	for i := range b.out.Fields {
		f := &b.out.Fields[i]
		if !strings.HasPrefix(f.Type, "DateTime") || f.Records != b.p.Objects() || f.Nulls > 0 {
			continue
		}
		if r := eventRank(snake(f.Name)); r > rank {
			best, rank = i, r
		}
	}
	if best < 0 {
		b.out.EventTimeWhy = "no field that is in every event is a time: the record's timestamp stands for it"
		return
	}
	f := &b.out.Fields[best]
	b.out.EventTime, b.out.EventTimeWhy = f.Name, "a time that every event of the sample has"
	f.Required = true
}

// eventRank is how well a name says that it is when the event happened.
func eventRank(name string) int {
	for i, words := range [][]string{{"event_time", "event_timestamp", "occurred_at", "event_ts"}, {"timestamp", "ts", "time", "at", "@timestamp"},
		{"created_at", "created", "start_time", "started_at", "start_ts", "start", "ts_ms"}} {
		for _, w := range words {
			if name == w || i > 0 && strings.HasSuffix(name, "_"+w) && !strings.HasPrefix(name, "before_") {
				return 10 - 2*i
			}
		}
	}
	for _, w := range []string{"end", "expires", "updated", "until", "deleted"} {
		if strings.Contains(name, w) {
			return 1
		}
	}
	return 2
}

// versionNames are names of fields that say which shape an event has.
var versionNames = []string{"version", "schema_version", "schemaversion", "v", "event_version", "eventversion", "_version", "schema_ver"}

// notes are about shapes that are known: envelopes, and events of several versions.
func (b *builder) notes() {
	root := &b.p.root
	has := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return root.members[name] == nil })
	}
	note := func(format string, args ...any) { b.out.Notes = append(b.out.Notes, fmt.Sprintf(format, args...)) }
	switch {
	case has("op", "after", "source"), has("payload", "schema") && root.members["payload"].members["op"] != nil:
		note("this looks like Debezium's envelope: each event is a change of a row, and a row of the table here is a change, too; a table of the latest state is made of it by a view or by ReplacingMergeTree over its key")
	case has("resourceSpans"), has("resourceLogs"), has("resourceMetrics"):
		note("this looks like OTLP: an event holds many spans, logs or metrics, and becomes one row; have the collector send one to a record (its kafka exporter: partition_traces_by_id; or a batch size of 1), or take them apart in a view")
	}
	for _, name := range root.names {
		m := root.members[name]
		if !slices.Contains(versionNames, strings.ToLower(name)) || m.many || len(m.distinct) < 2 || len(m.distinct) > 20 || m.kinds.Object+m.kinds.Array > 0 {
			continue
		}
		note("%s has %d different values: if they are versions of the events, `version` in the file can bring older ones into the newest shape (docs/guide/versions.md)", contract.Names(name), len(m.distinct))
	}
	for _, form := range []Form{FormArray, FormScalar, FormNone, FormRegistry, FormGzip, FormZstd, FormInvalid, FormBinary, FormBOM, FormTruncated} {
		if n := b.p.Forms[form]; n > 0 {
			note("%s of %d records are %s: %s", percent(n, b.p.Records), b.p.Records, form, Remedy(form))
		}
	}
}

// Remedy says what becomes of records that are no objects.
func Remedy(f Form) string {
	switch f {
	case FormNone:
		return "they are counted and skipped (tombstones: skip)"
	case FormRegistry:
		return "they become dead letters: Waybill reads JSON. Have the producer, or a stream job, write JSON"
	case FormGzip, FormZstd:
		return "they become dead letters: compress in the producer (compression.type), not in the value"
	}
	return "they become dead letters, kept as they are"
}

// UnsureAll are all things that the sample does not decide, for people.
func (o *Proposal) UnsureAll() []string {
	out := append([]string{}, o.Notes...)
	for i := range o.Fields {
		if f := &o.Fields[i]; f.Unsure != "" {
			out = append(out, f.Name+": "+f.Unsure)
		}
	}
	return out
}
