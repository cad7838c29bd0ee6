package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
)

// leafOracle asks of every leaf of every event that became a row where it is: in a column that takes it, in the rescue column, or nowhere by right.
// It reads events by the tokens of encoding/json, and the table by SQL.
type leafOracle struct {
	w       *world
	columns []column
	byPath  map[string][]int   // columns that take a path
	values  []map[place]string // of columns, where they are neither NULL nor empty, as JSON
	rescued map[place]string
	spans   map[position][]ledgerSpan
	plans   map[string]map[string]string // by id: the column that takes a path
	notes   map[string]string            // batch id to what column_dropped said of it
	renamed map[string]bool              // batch ids that column_renamed named
	inserts map[string][]interval        // batch ids, short, to when workers inserted them

	bad   []string
	tally leafTally
	seen  map[string]bool // kinds of problem by path, so that one cause does not fill the list
}

// leafTally counts leaves by where they are.
type leafTally struct {
	leaves, typed, text, rescued, discarded, nothing, excused int64
	// steady are leaves with a value, of one type for life, under evolve, of paths that nobody else has touched; typedSteady are those in columns.
	steady, typedSteady int64
	// renamed are those of the excused that a rename has met; silent are those that no finding tells of.
	renamed, silent int64
}

// ledgerSpan is what the ledger says of a span of offsets.
type ledgerSpan struct {
	first, next int64
	batch, plan string
	at          int64 // milliseconds, by the server's clock
}

// interval of time, by the clock of this machine.
type interval struct{ from, to time.Time }

func (i interval) meets(o interval) bool { return !i.to.Before(o.from) && !o.to.Before(i.from) }

// leafProblems is everything that does not hold of values.
func (w *world) leafProblems(other *otherClient, steady func(path string) bool) ([]string, leafTally) {
	w.Helper()
	o := &leafOracle{w: w, byPath: map[string][]int{}, rescued: map[place]string{}, spans: map[position][]ledgerSpan{}, plans: map[string]map[string]string{},
		notes: map[string]string{}, renamed: map[string]bool{}, inserts: map[string][]interval{}, seen: map[string]bool{}}
	o.readColumns(other)
	o.readRescued()
	o.readLedger()
	for i := range w.records {
		if w.records[i].fate == asRow {
			o.event(&w.records[i], other, steady)
		}
	}
	o.foreign(other)
	for _, what := range slices.Sorted(maps.Keys(o.seen)) {
		if strings.HasPrefix(what, "silent ") {
			w.Logf("a rename has met an insert, and nobody has said so: %s", what)
		}
	}
	return o.bad, o.tally
}

func (o *leafOracle) failf(kind, path, format string, args ...any) {
	if key := kind + " " + path; !o.seen[key] {
		o.seen[key] = true
		o.bad = append(o.bad, kind+": "+fmt.Sprintf(format, args...))
	}
}

// asText has the server write values as JSON, numbers as numbers.
const asText = ` SETTINGS output_format_json_quote_64bit_integers = 0, output_format_json_quote_64bit_floats = 0, output_format_json_quote_decimals = 0, output_format_json_escape_forward_slashes = 0`

// lines are the rows of a query whose fields hold no tabs.
func (w *world) lines(sql string) [][]string {
	w.Helper()
	text, err := testenv.Query(w.ch.HTTPAddr(), sql+" FORMAT TSVRaw"+asText)
	if err != nil {
		w.Fatalf("%s\n%v", sql, err)
	}
	var rows [][]string
	for line := range strings.Lines(text) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows
}

func quoted(name string) string { return "`" + name + "`" }

// lineage columns and the rescue column have checks of their own.
var notValues = []string{"_topic", "_partition", "_offset", "_epoch", "_rescued", "id", "tenant"}

// readColumns reads what each column takes, and its values.
func (o *leafOracle) readColumns(other *otherClient) {
	o.w.Helper()
	for _, f := range o.w.rowsOf("SELECT name, type, comment FROM system.columns WHERE database = '" + o.w.db + "' AND table = 'events' ORDER BY position") {
		c := column{name: f[0], typ: strings.ReplaceAll(f[1], `\'`, `'`)}
		_, inContract := shapedDefaults[c.name]
		switch {
		case slices.Contains(notValues, c.name):
			continue
		case c.name == "n":
			c.path = "usage.n"
		case c.name == "at":
			c.path, c.unix = "at", true
		case inContract:
			c.path = c.name
		default:
			c.path, c.asJSON = commentOf(f[2])
			if was, ok := other.owned[c.name]; ok { // its comment is gone, its values are not
				c.path, c.asJSON = was.path, was.asJSON
			}
		}
		if c.path == "" {
			continue // the other client's
		}
		o.byPath[c.path] = append(o.byPath[c.path], len(o.columns))
		o.columns = append(o.columns, c)
		values := map[place]string{}
		for _, f := range o.w.lines(fmt.Sprintf("SELECT _topic, _epoch, _partition, _offset, toJSONString(%s) AS v FROM %s.events WHERE v NOT IN ('null', '[]', '{}')", quoted(c.name), o.w.db)) {
			values[placeOf(f[0], f[1], f[2], f[3])] = f[4]
		}
		o.values = append(o.values, values)
	}
}

// commentOf is what a column takes by its comment.
func commentOf(comment string) (path string, asJSON bool) {
	text, ours := strings.CutPrefix(strings.ReplaceAll(comment, `\\`, `\`), "waybill: ")
	var c struct{ From, As string }
	if !ours || json.Unmarshal([]byte(text), &c) != nil {
		return "", false
	}
	return c.From, c.As == "json"
}

func (o *leafOracle) readRescued() {
	o.w.Helper()
	for _, f := range o.w.lines("SELECT _topic, _epoch, _partition, _offset, toJSONString(_rescued) FROM " + o.w.db + ".events WHERE _rescued != ''") {
		var text string
		if err := json.Unmarshal([]byte(f[4]), &text); err != nil {
			o.failf("unreadable", "", "%s: %v", f[4], err)
		}
		o.rescued[placeOf(f[0], f[1], f[2], f[3])] = text
	}
	// The ledger counts the rows that have any.
	if says := o.w.query("SELECT sum(rescued) FROM waybill.ledger WHERE pipeline = '" + o.w.pipeline + "'"); says != fmt.Sprint(len(o.rescued)) {
		o.failf("ledger", "", "it says that %s rows have rescued values; the table has %d", says, len(o.rescued))
	}
}

func (o *leafOracle) readLedger() {
	o.w.Helper()
	for _, f := range o.w.rowsOf(fmt.Sprintf("SELECT topic, epoch, partition, first, next, lower(hex(batch)), toString(plan), toUnixTimestamp64Milli(batch_time) FROM waybill.ledger WHERE pipeline = '%s' ORDER BY first", o.w.pipeline)) {
		at := placeOf(f[0], f[1], f[2], f[3])
		o.spans[at.position] = append(o.spans[at.position], ledgerSpan{at.offset, integer(f[4]), f[5], f[6], integer(f[7])})
	}
	for _, f := range o.w.lines("SELECT toString(id), replaceAll(text, '\\n', ' ') FROM waybill.plans WHERE pipeline = '" + o.w.pipeline + "'") {
		var plan struct {
			Columns []struct{ Name, Source, Path string }
		}
		if err := json.Unmarshal([]byte(f[1]), &plan); err != nil {
			o.failf("unreadable", "", "plan %s: %v", f[0], err)
			continue
		}
		takes := map[string]string{}
		for _, c := range plan.Columns {
			if c.Source == "field" {
				takes[c.Path] = c.Name
			}
		}
		o.plans[f[0]] = takes
	}
	for _, f := range o.w.rowsOf("SELECT kind, substring(batch, 1, 8), message FROM waybill.findings WHERE kind IN ('column_dropped', 'column_renamed') AND pipeline = '" + o.w.pipeline + "'") {
		o.note(f[0], f[1], f[2])
	}
	for _, p := range o.w.workers {
		o.readLog(p.log.String())
	}
}

func (o *leafOracle) note(kind, batch, message string) {
	switch kind {
	case "column_dropped":
		o.notes[batch] += message
	case "column_renamed":
		o.renamed[batch] = true
	}
}

// readLog reads the findings of a worker that may have been killed before they were in the table, and when it inserted what.
func (o *leafOracle) readLog(log string) {
	for line := range strings.SplitSeq(log, "\n") {
		if !strings.Contains(line, `"column_`) && !strings.Contains(line, `"store":"target"`) {
			continue
		}
		var l struct {
			Time                              time.Time
			Msg, Kind, Message, Batch, Answer string
			Took                              time.Duration
		}
		if json.Unmarshal([]byte(line), &l) != nil {
			continue
		}
		switch l.Msg {
		case "finding":
			if _, rest, found := strings.Cut(l.Message, " batch "); found {
				o.note(l.Kind, rest[:8], l.Message)
			}
		case "insert":
			o.inserts[l.Batch] = append(o.inserts[l.Batch], interval{l.Time.Add(-l.Took - 100*time.Millisecond), l.Time})
		}
	}
}

// spanOf is the ledger's word on a record.
func (o *leafOracle) spanOf(at place) ledgerSpan {
	spans := o.spans[at.position]
	i, found := slices.BinarySearchFunc(spans, at.offset, func(s ledgerSpan, offset int64) int { return cmp.Compare(s.first, offset) })
	if !found {
		i--
	}
	if i < 0 || at.offset >= spans[i].next {
		return ledgerSpan{} // which the ledger's own oracle tells
	}
	return spans[i]
}

// event looks for all leaves of one event, and for values that it does not have.
func (o *leafOracle) event(r *record, other *otherClient, steady func(string) bool) {
	event, err := parseTree(r.value)
	if err != nil {
		o.failf("unreadable", "", "a row is expected of %q: %v", r.value, err)
		return
	}
	in := rowOf{record: r, span: o.spanOf(r.place), nodes: event.byPath(), rescued: o.rescuedOf(r.place)}
	in.takes = o.plans[in.span.plan]
	for path, text := range in.rescued {
		if from := in.nodes[path]; from == nil || from.raw != text {
			o.failf("rescued from nowhere", path, "row %v has %s = %s; the event is %s", r.place, path, text, r.value)
		}
	}
	for i := range o.columns {
		o.invented(i, &in)
	}
	event.leaves(func(c chain) {
		leaf := c[len(c)-1]
		if leaf.path == "id" || leaf.path == "tenant" {
			return // the table's oracle compares them
		}
		o.leaf(c, &in, other, steady(leaf.path))
	})
}

// rowOf is an event's row, as far as it is not in columns.
type rowOf struct {
	*record
	span    ledgerSpan
	takes   map[string]string // by path: the column of the plan that the batch was gathered under
	nodes   map[string]*node
	rescued map[string]string
}

func (o *leafOracle) rescuedOf(at place) map[string]string {
	text := o.rescued[at]
	if text == "" {
		return nil
	}
	n, err := parseTree([]byte(text))
	if err != nil || n.member("fields") == nil || n.member("plan") == nil {
		o.failf("unreadable", "", "the rescue column of %v is %s: %v", at, text, err)
		return nil
	}
	out := map[string]string{}
	for i, path := range n.member("fields").names {
		entry := n.member("fields").subs[i]
		if entry.member("value") == nil || entry.member("reason") == nil {
			o.failf("unreadable", path, "the rescue column of %v is %s", at, text)
			continue
		}
		out[path] = entry.member("value").raw
	}
	return out
}

// invented: a column has a value that is not the event's, nor what a column has without one.
func (o *leafOracle) invented(i int, in *rowOf) {
	c, text := o.columns[i], o.values[i][in.place]
	if text == "" || isDefault(c.name, text) {
		return
	}
	value, err := parseTree([]byte(text))
	from := in.nodes[c.path]
	if err != nil || from == nil || !c.holds(value, from) {
		o.failf("a wrong value", c.path, "row %v has %s (%s) = %s; the event is %s", in.place, c.name, c.typ, text, in.value)
	}
}

// leaf says where a leaf is.
func (o *leafOracle) leaf(c chain, in *rowOf, other *otherClient, steady bool) {
	o.tally.leaves++
	leaf := c[len(c)-1]
	valued := leaf.kind != isNull && leaf.kind != isArray && leaf.kind != isObject
	steady = steady && valued && modeOf(newFieldModes, leaf.path) == "evolve" && !other.touches(leaf.path)
	if steady {
		o.tally.steady++
	}
	col := o.inColumn(c, in)
	switch {
	case col >= 0:
		if o.columns[col].asJSON {
			o.tally.text++
		} else {
			o.tally.typed++
		}
		if steady {
			o.tally.typedSteady++
		}
		// A column that leads through the value refuses what is no object, though another takes it.
		if path := o.columns[col].path; in.rescued[path] != "" && !isDefault(o.columns[col].name, o.values[col][in.place]) && !in.takesBelow(path) {
			o.failf("twice", path, "row %v has %s in %s and in the rescue column: %v", in.place, leaf.raw, o.columns[col].name, in.rescued)
		}
	case slices.ContainsFunc(c, func(at located) bool { return in.rescued[at.path] == at.raw }):
		o.tally.rescued++
	case o.discarded(c, in):
		o.tally.discarded++
	case !valued && o.saysNothing(leaf, in):
		o.tally.nothing++
	case o.excused(c, in, other):
		o.tally.excused++
	default:
		o.failf("nowhere", leaf.path, "row %v lacks %s = %s; it was gathered at %d under plan %s, in which it belongs to column %q; the event is %s, rescued are %v",
			in.place, leaf.path, leaf.raw, in.span.at, in.span.plan, in.takes[leaf.path], in.value, in.rescued)
	}
}

// inColumn is the column that holds the leaf or a part of the event around it, -1 if none does.
func (o *leafOracle) inColumn(c chain, in *rowOf) int {
	for _, at := range c {
		for _, i := range o.byPath[at.path] {
			text, there := o.values[i][in.place]
			if !there {
				text = emptyOf(o.columns[i].typ)
			}
			if value, err := parseTree([]byte(text)); err == nil && o.columns[i].holds(value, at.node) {
				return i
			}
		}
	}
	return -1
}

// emptyOf is the value of a column that was left out of values.
func emptyOf(typ string) string {
	switch name, _ := typeParts(typ); name {
	case "Array":
		return "[]"
	case "Map":
		return "{}"
	}
	return "null"
}

// The modes of the contract of shaped events, told once more.
var (
	newFieldModes = map[string]string{"": "evolve", "raw": "rescue", "raw.debug": "discard", "debug": "discard", "forbidden": "freeze"}
	conflictModes = map[string]string{"": "evolve", "kept": "rescue", "strict": "freeze", "loose": "discard"}
)

// modeOf is the mode of a path: that of the longest path that leads to it.
func modeOf(modes map[string]string, path string) string {
	best := ""
	for p := range modes {
		if len(p) > len(best) && (path == p || strings.HasPrefix(path, p+".") || strings.HasPrefix(path, p+"[")) {
			best = p
		}
	}
	return modes[best]
}

// discarded: the contract says that the value is to be dropped.
func (o *leafOracle) discarded(c chain, in *rowOf) bool {
	top, leaf := c[0], c[len(c)-1]
	if in.takes[top.path] != "" && len(c) > 0 {
		return modeOf(conflictModes, top.path) == "discard"
	}
	return modeOf(newFieldModes, leaf.path) == "discard"
}

// saysNothing: a null that a column of the contract counts, or a null or empty object where columns take members: they count those as missing.
func (o *leafOracle) saysNothing(leaf located, in *rowOf) bool {
	if leaf.kind == isNull && in.takes[leaf.path] != "" && modeOf(conflictModes, leaf.path) != "evolve" {
		return true
	}
	return in.takesBelow(leaf.path)
}

// takesBelow: the batch's plan has columns for what is within the value at the path.
func (in *rowOf) takesBelow(path string) bool {
	for taken := range in.takes {
		if taken != path && leadsTo(path, taken) {
			return true
		}
	}
	return false
}

// excused: the leaf was in a column that the other client has dropped: either the batch was closed before the DROP was over, or a finding names it. Or the
// column was renamed just when the batch was inserted, which a finding says too, unless the worker was killed before it noticed.
func (o *leafOracle) excused(c chain, in *rowOf, other *otherClient) bool {
	for _, at := range c {
		name := in.takes[at.path]
		if name == "" {
			continue
		}
		batch := in.span.batch[:min(8, len(in.span.batch))]
		for _, d := range other.drops {
			if d.names[name] && (in.span.at <= d.after || strings.Contains(o.notes[batch], name)) {
				return true
			}
		}
		for _, r := range other.renames {
			met := slices.ContainsFunc(o.inserts[batch], r.when.meets)
			told := o.renamed[batch] || strings.Contains(o.notes[batch], name) // the latter: its comment was taken away as well
			if r.from == name && (told || met) {
				o.tally.renamed++
				if !told {
					o.tally.silent++
					o.seen["silent "+batch+" "+name] = true
				}
				return true
			}
		}
	}
	return false
}

// foreign: columns of the other client have what their DEFAULT gives them.
func (o *leafOracle) foreign(other *otherClient) {
	o.w.Helper()
	for _, name := range slices.Sorted(maps.Keys(other.foreign)) {
		if n := o.w.query(fmt.Sprintf("SELECT countIf(%s != %s) FROM %s.events", quoted(name), other.foreign[name], o.w.db)); n != "0" {
			o.failf("a wrong value", name, "%s rows of the other client's column %s have another value than its DEFAULT", n, name)
		}
	}
}
