package e2e

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-data/waybill/internal/testenv"
)

// The oracle knows what was produced and asks ClickHouse by plain SQL over HTTP and Kafka by its admin
// protocol. It shares no code with the product.

// allow names kinds of finding that the case's fault may bring.
func (w *world) allow(kinds ...string) {
	for _, k := range kinds {
		w.allowed[k] = true
	}
}

// expectFinding waits for a finding in the table, and allows it.
func (w *world) expectFinding(kind string) {
	w.Helper()
	w.allow(kind)
	var n string
	w.eventually("finding "+kind, func() bool {
		body, err := testenv.Query(w.ch.HTTPAddr(), fmt.Sprintf("SELECT count() FROM waybill.findings WHERE pipeline = '%s' AND kind = '%s'", w.pipeline, kind))
		n = strings.TrimSpace(body)
		return err == nil && n != "0"
	})
	count, _ := strconv.ParseInt(n, 10, 64)
	w.observe("finding "+kind, count)
}

// verify fails the case if anything produced is not where it has to be, or anything else is.
func (w *world) verify() {
	w.Helper()
	if problems := w.problems(); len(problems) > 0 {
		w.Errorf("the oracle found %d problems:\n  %s", len(problems), strings.Join(problems[:min(len(problems), 40)], "\n  "))
	}
}

// verifyAllBut is verify for a case that changes what the oracle compares: problems with these words are no problems.
func (w *world) verifyAllBut(words string) {
	w.Helper()
	problems := slices.DeleteFunc(w.problems(), func(p string) bool { return strings.Contains(p, words) })
	if len(problems) > 0 {
		w.Errorf("the oracle found %d problems:\n  %s", len(problems), strings.Join(problems[:min(len(problems), 40)], "\n  "))
	}
}

// problems is everything that does not hold.
func (w *world) problems() []string {
	w.Helper()
	o := &oracle{w: w, want: map[place]*record{}}
	w.mu.Lock()
	for i := range w.records {
		if r := &w.records[i]; !w.lost[r.place] {
			o.want[r.place] = r
		}
	}
	w.mu.Unlock()
	o.table()
	o.deadLetters()
	o.offsets()
	o.ledger()
	o.findings()
	o.views()
	return o.bad
}

type oracle struct {
	w     *world
	want  map[place]*record
	bad   []string
	found map[string]bool // kinds of finding
}

func (o *oracle) failf(format string, args ...any) {
	o.bad = append(o.bad, fmt.Sprintf(format, args...))
}

// integer reads what ClickHouse said was one.
func integer(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func placeOf(topic, epoch, partition, offset string) place {
	return place{position{topic, uint32(integer(epoch)), int32(integer(partition))}, integer(offset)} //nolint:gosec // their columns have these types
}

// table: each record that is a row is there once, with its own values, and nothing else is.
func (o *oracle) table() {
	o.w.Helper()
	seen := map[place]int{}
	sql := "SELECT _topic, _epoch, _partition, _offset, id, n, tenant, 'events' FROM " + o.w.db + ".events WHERE _topic != '" + otherTopic + "'"
	if o.w.routed {
		sql += " UNION ALL SELECT _topic, _epoch, _partition, _offset, id, n, tenant, 'events_even' FROM " + o.w.db + ".events_even"
	}
	for _, f := range o.w.rowsOf(sql) {
		at := placeOf(f[0], f[1], f[2], f[3])
		r := o.want[at]
		switch {
		case o.w.routed && (integer(f[4])%2 == 0) != (f[7] == "events_even"):
			o.failf("row %v id %s is in table %s", at, f[4], f[7])
		case r == nil:
			o.failf("a row from nowhere: %v id %s", at, f[4])
		case r.fate != asRow && !r.replayed:
			o.failf("a row that must not be: %v id %s", at, f[4])
		case uint64(integer(f[4])) != r.id || uint64(integer(f[5])) != r.n || f[6] != r.tenant: //nolint:gosec // their columns have these types
			o.failf("row %v says id %s n %s tenant %s; produced was id %d n %d tenant %s", at, f[4], f[5], f[6], r.id, r.n, r.tenant)
		}
		seen[at]++
	}
	for at, r := range o.want {
		n := seen[at]
		switch {
		case r.fate != asRow && !r.replayed:
		case n == 0:
			o.failf("row missing: %v id %d", at, r.id)
		case n > 1 && o.w.delivery != "at-least-once":
			o.failf("row there %d times: %v id %d", n, at, r.id)
		}
	}
}

// deadLetters: each record that cannot be a row is there once, byte for byte.
func (o *oracle) deadLetters() {
	o.w.Helper()
	seen := map[place]int{}
	for _, f := range o.w.rowsOf(fmt.Sprintf(`SELECT topic, epoch, partition, offset, isNull(key), hex(ifNull(key, '')), isNull(value), hex(ifNull(value, '')),
		arrayStringConcat(header_keys, ','), arrayStringConcat(arrayMap(v -> hex(v), header_values), ','), code FROM waybill.dead_letters WHERE pipeline = '%s'`, o.w.pipeline)) {
		at := placeOf(f[0], f[1], f[2], f[3])
		seen[at]++
		r := o.want[at]
		if r == nil || r.fate != asDead {
			o.failf("a dead letter that must not be: %v, %s", at, f[10])
			continue
		}
		var keys, values []string
		for _, h := range r.headers {
			keys, values = append(keys, h.Key), append(values, strings.ToUpper(hex.EncodeToString(h.Value)))
		}
		want := []string{digit(r.key == nil), strings.ToUpper(hex.EncodeToString(r.key)), digit(r.value == nil), strings.ToUpper(hex.EncodeToString(r.value)),
			strings.Join(keys, ","), strings.Join(values, ",")}
		if !slices.Equal(f[4:10], want) {
			o.failf("dead letter %v holds other bytes than were produced: %.300v instead of %.300v", at, f[4:10], want)
		}
		if f[10] == "" {
			o.failf("dead letter %v has no reason", at)
		}
	}
	for at, r := range o.want {
		n := seen[at]
		switch {
		case r.fate != asDead:
		case n == 0:
			o.failf("dead letter missing: %v id %d", at, r.id)
		case n > 1 && o.w.delivery != "at-least-once":
			o.failf("dead letter there %d times: %v", n, at)
		}
	}
}

func digit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// offsets: the group stands at the end of every partition.
func (o *oracle) offsets() {
	o.w.Helper()
	if why := o.w.lag(); why != "" {
		o.failf("the group is not at the end: %s", why)
	}
}

// account is what a ledger row says, or what it should say.
type account struct{ read, written, filtered, dead, tombstones, lost, deduplicated int64 }

// ledger: the spans tile each partition from its first offset to its end, and each says what the oracle
// counts in it.
func (o *oracle) ledger() {
	o.w.Helper()
	next := map[position]int64{}
	for _, f := range o.w.rowsOf(fmt.Sprintf(`SELECT topic, epoch, partition, first, next, offsets, read, written, filtered, dead_lettered, tombstones, lost, deduplicated, routed[concat('%[2]s', '.events')], routed[concat('%[2]s', '.events_even')]
		FROM waybill.ledger WHERE pipeline = '%[1]s' ORDER BY topic, epoch, partition, first`, o.w.pipeline, o.w.db)) {
		at := placeOf(f[0], f[1], f[2], f[3])
		end := integer(f[4])
		switch {
		case at.offset > next[at.position]:
			o.failf("the ledger has a gap: %v, %d to %d", at.position, next[at.position], at.offset)
		case at.offset < next[at.position] && o.w.delivery != "at-least-once":
			o.failf("the ledger overlaps: %v, %d is covered up to %d already", at.position, at.offset, next[at.position])
		}
		next[at.position] = max(next[at.position], end)
		if integer(f[5]) != end-at.offset || end <= at.offset {
			o.failf("the ledger's span %v to %d is said to cover %s offsets", at, end, f[5])
		}
		says := account{integer(f[6]), integer(f[7]), integer(f[8]), integer(f[9]), integer(f[10]), integer(f[11]), integer(f[12])}
		if want := o.account(at, end); says != want {
			o.failf("the ledger's span %v to %d says %+v; the oracle counts %+v", at, end, says, want)
		}
		even := o.evens(at, end)
		if odd := says.written - even; integer(f[13]) != odd || integer(f[14]) != even {
			o.failf("the ledger's span %v to %d says %s and %s rows in two tables; the oracle counts %d and %d", at, end, f[13], f[14], odd, even)
		}
	}
	ends := maps.Clone(o.w.ends)
	for p, end := range o.w.ended() {
		ends[position{o.w.topic, o.w.epoch, p}] = end
	}
	for at, end := range ends {
		if next[at] != end {
			o.failf("the ledger accounts for %v up to %d of %d", at, next[at], end)
		}
		delete(next, at)
	}
	for at := range next {
		o.failf("the ledger has rows of %v, which never was", at)
	}
}

// account counts what was produced in a span.
func (o *oracle) account(from place, next int64) (a account) {
	for at := from; at.offset < next; at.offset++ {
		if o.w.lost[at] {
			a.lost++
			a.read++
			continue
		}
		r := o.want[at]
		if r == nil { // a transaction's marker
			continue
		}
		switch r.fate {
		case asRow:
			a.written++
		case asDead:
			a.dead++
		case asTombstone:
			a.tombstones++
		case asNothing:
			continue
		}
		a.read++
	}
	return a
}

// evens are the rows of a span that are routed to the second table, if there is one.
func (o *oracle) evens(from place, next int64) (n int64) {
	for at := from; o.w.routed && at.offset < next; at.offset++ {
		if r := o.want[at]; r != nil && r.fate == asRow && r.id%2 == 0 {
			n++
		}
	}
	return n
}

// findings: none but those that the case's fault brings, neither in the table nor in a worker's log.
func (o *oracle) findings() {
	o.w.Helper()
	o.found = map[string]bool{}
	for _, f := range o.w.rowsOf(fmt.Sprintf("SELECT kind, any(message) FROM waybill.findings WHERE pipeline = '%s' GROUP BY kind", o.w.pipeline)) {
		o.unexpected(f[0], f[1])
	}
	for _, p := range o.w.workers {
		for line := range strings.SplitSeq(p.log.String(), "\n") {
			var l struct{ Msg, Kind, Message string }
			if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "finding" {
				o.unexpected(l.Kind, p.name+": "+l.Message)
			}
		}
	}
}

func (o *oracle) unexpected(kind, message string) {
	if !o.w.allowed[kind] && !o.found[kind] {
		o.failf("unexpected finding %s: %s", kind, message)
	}
	o.found[kind] = true
}

// views: the view's sums are those of what was produced, unless a finding says that they may not be.
func (o *oracle) views() {
	o.w.Helper()
	if !o.w.view || o.found["view_incomplete"] {
		return
	}
	type sums struct{ events, total int64 }
	want, got := map[string]sums{}, map[string]sums{}
	for _, r := range o.want {
		if r.fate == asRow {
			s := want[r.tenant]
			want[r.tenant] = sums{s.events + 1, s.total + int64(r.n)}
		}
	}
	for _, f := range o.w.rowsOf("SELECT tenant, sum(events), sum(total) FROM " + o.w.db + ".by_tenant GROUP BY tenant") {
		got[f[0]] = sums{integer(f[1]), integer(f[2])}
	}
	if !maps.Equal(want, got) {
		o.failf("the view says %v; produced was %v", got, want)
	}
}
