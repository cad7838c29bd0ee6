package json

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/column"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json/oracle"
)

// judge holds a decoder against the oracle of the same plan.
type judge struct {
	name   string
	d      *Decoder
	oracle *oracle.Oracle
	offset int64
}

func newJudge(t testing.TB, name string, c contract.Contract) *judge {
	t.Helper()
	d := newDecoder(t, c)
	return &judge{name: name, d: d, oracle: oracle.New(d.plan)}
}

// fresh is the judge of the same plan with a decoder that has seen nothing.
func (j *judge) fresh(t testing.TB) *judge {
	t.Helper()
	d, err := New(j.d.plan)
	if err != nil {
		t.Fatal(err)
	}
	return &judge{name: j.name, d: d, oracle: j.oracle}
}

// check decodes a text into b, which may have rows, and compares everything with the oracle.
func (j *judge) check(t testing.TB, b *column.Block, text []byte) Outcome {
	t.Helper()
	j.offset++
	rec := &waybill.Record{Topic: "t", Partition: 3, Offset: j.offset, Value: append([]byte{}, text...)}
	want := j.oracle.Judge(rec, 9)
	rows, before := b.Rows(), wire(t, b)
	out := j.d.Decode(rec, 9, b)
	after := wire(t, b)
	if string(rec.Value) != string(text) {
		t.Fatalf("%s: %s: the record was changed", j.name, brief(text))
	}
	if got, want := rejection(out), wantedRejection(want.Reject); got != want {
		t.Errorf("%s: %s:\ngot  %s\nwant %s", j.name, brief(text), got, want)
		b.Truncate(rows)
		j.drain()
		return out
	}
	if want.Reject != nil {
		if after != before {
			t.Errorf("%s: %s: the rejected record left something", j.name, brief(text))
		}
		if len(j.drain()) > 0 {
			t.Errorf("%s: %s: the rejected record was counted", j.name, brief(text))
		}
		return out
	}
	if b.Rows() != rows+1 {
		t.Fatalf("%s: %s: %d rows", j.name, brief(text), b.Rows()-rows)
	}
	drift := j.d.Drift()
	row := j.compareRow(t, text, after, rows, want.Row)
	j.compareCounts(t, text, out, want, drift)
	dropped := discarded(drift)
	others := slices.ContainsFunc(dropped, func(k oracle.DriftKey) bool { return k.Path == contract.OtherPaths })
	if lost := j.oracle.Lost(text, row, dropped); lost != nil && !others {
		t.Errorf("%s: %s: lost %q of %v", j.name, brief(text), lost, row)
	}
	return out
}

// discarded are the paths and columns of what was dropped.
func discarded(drift []contract.FieldDrift) (keys []oracle.DriftKey) {
	for _, f := range drift {
		if f.Mode == contract.ModeDiscard {
			keys = append(keys, oracle.DriftKey{Path: f.Path, Column: f.Column, Mode: f.Mode})
		}
	}
	return keys
}

// compareRow reads the wire and compares one row.
func (j *judge) compareRow(t testing.TB, text []byte, wire string, row int, want []oracle.Value) (got []oracle.Value) {
	t.Helper()
	names, columns := oracle.ReadBlock([]byte(wire))
	for i, name := range names {
		if got = append(got, columns[i][row]); !got[i].Equal(want[i]) {
			t.Errorf("%s: %s: column %s:\ngot  %v\nwant %v", j.name, brief(text), name, got[i], want[i])
		}
	}
	return got
}

// compareCounts compares what is counted beside the row.
func (j *judge) compareCounts(t testing.TB, text []byte, out Outcome, v oracle.Verdict, drift []contract.FieldDrift) {
	t.Helper()
	want, rounded := map[string]string{}, 0
	for name, n := range v.Rounded {
		want["rounded "+name] = fmt.Sprint(n)
		rounded += n
	}
	for name, n := range v.Defaulted {
		want["defaulted "+name] = fmt.Sprint(n.Missing, n.Null, n.Invalid)
	}
	for name, n := range v.Nulls {
		want["null "+name] = fmt.Sprint(n)
	}
	longest := 0
	for key, d := range v.Drift {
		want[fmt.Sprintf("drift %+v", key)] = fmt.Sprintf("%d %s %s %v", d.Count, d.Reason, d.Sample, kindsOf(d.Kinds))
		longest = max(longest, len(key.Path))
	}
	var rescued int64
	for _, n := range j.d.Rescued() {
		rescued += n
	}
	if rescued != int64(v.Rescued) {
		t.Errorf("%s: %s: %d values are counted as rescued, want %d", j.name, brief(text), rescued, v.Rescued)
	}
	got := j.drain()
	countDrift(got, drift)
	if len(v.Drift) <= maxUnmapped && longest <= maxMember && !maps.Equal(got, want) { // else which ones are told apart is the decoder's choice
		t.Errorf("%s: %s: counted\ngot  %v\nwant %v", j.name, brief(text), without(got, want), without(want, got))
	}
	if out.Rounded != rounded || out.Rescued != v.Rescued || out.Blank != v.Blank {
		t.Errorf("%s: %s: got %+v, want rounded %d, rescued %d, blank %v", j.name, brief(text), out, rounded, v.Rescued, v.Blank)
	}
}

// without is what a has and b has not.
func without(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	maps.DeleteFunc(out, func(k, v string) bool { w, ok := b[k]; return ok && v == w })
	return out
}

// kindsOf has numbers of both kinds together: the oracle does not tell them apart.
func kindsOf(kinds map[byte]int) contract.Kinds {
	n := func(kind byte) int64 { return int64(kinds[kind]) }
	return contract.Kinds{Null: n('n'), Bool: n('t') + n('f'), Integer: n('0'), String: n('"'), Array: n('['), Object: n('{')}
}

// drain is what the decoder has counted since the last call.
func (j *judge) drain() map[string]string {
	got := map[string]string{}
	for name, n := range j.d.Rounded() {
		got["rounded "+name] = fmt.Sprint(n)
	}
	for name, n := range j.d.Defaulted() {
		got["defaulted "+name] = fmt.Sprint(n.Missing, n.Null, n.Invalid)
	}
	for name, n := range j.d.Nulls() {
		got["null "+name] = fmt.Sprint(n)
	}
	countDrift(got, j.d.Drift())
	return got
}

func countDrift(got map[string]string, drift []contract.FieldDrift) {
	for _, f := range drift {
		k := f.Observed.Kinds
		k.Integer, k.Decimal = k.Integer+k.Decimal, 0
		key := oracle.DriftKey{Path: f.Path, Column: f.Column, Mode: f.Mode}
		got[fmt.Sprintf("drift %+v", key)] = fmt.Sprintf("%d %s %s %v", f.Count, f.Reason, f.Sample, k)
	}
}

func rejection(out Outcome) string {
	if out.Reject == nil {
		return out.Kind.String()
	}
	r := out.Reject
	return fmt.Sprintf("%s of %q at %q, byte %d", r.Code, r.Column, r.Path, r.ByteOffset)
}

func wantedRejection(r *oracle.Reject) string {
	if r == nil {
		return Written.String()
	}
	return fmt.Sprintf("%s of %q at %q, byte %d", r.Code, r.Column, r.Path, r.Offset)
}

// brief quotes a text, cut to what fits a line.
func brief(text []byte) string {
	if len(text) <= 300 {
		return strconv.Quote(string(text))
	}
	return fmt.Sprintf("%q...(%d bytes)...%q", text[:200], len(text), text[len(text)-80:])
}

// corpusCase is a line of testdata/corpus.
type corpusCase struct{ name, code, text string }

// readCorpus reads one of testdata/corpus: lines of name, expected code and Go-quoted text.
func readCorpus(t testing.TB, file string, count int) []corpusCase {
	t.Helper()
	data, err := os.ReadFile("testdata/corpus/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var cases []corpusCase
	seen := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		parts := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(parts) != 3 {
			t.Fatalf("%s: %q is not name, code and text", file, line)
		}
		text, err := strconv.Unquote(parts[2])
		if err != nil || seen[parts[0]] {
			t.Fatalf("%s: %s: %v, or twice", file, parts[0], err)
		}
		seen[parts[0]] = true
		cases = append(cases, corpusCase{parts[0], parts[1], text})
	}
	if len(cases) != count {
		t.Fatalf("%s has %d cases, want %d", file, len(cases), count)
	}
	return cases
}

// corpusValues is how many lines values.txt has: a corpus that shrinks unseen is none.
const corpusValues = 1056

// Alone, every value of the corpus has the outcome that its line says.
func TestCorpus_ValuesAlone(t *testing.T) {
	for _, plan := range corpusPlans(t) {
		b := plan.d.NewBlock()
		for _, c := range readCorpus(t, "values.txt", corpusValues) {
			out := plan.check(t, b, []byte(c.text))
			if got := textCode(out); got != c.code {
				t.Errorf("%s: %s %q: got %s, want %s", plan.name, c.name, c.text, got, c.code)
			}
		}
	}
}

// Inside other values, what is valid alone must be accepted and what is not must be rejected, wherever it
// lies: in fields that a column takes, in parts of them, in what is kept as text and in what is ignored.
func TestCorpus_ValuesInside(t *testing.T) {
	frames := []string{
		`{"v":%}`, ` { "v" : % } `, `{"a":{"b":{"c":%}}}`, `{"a":{"v":%,"b":1}}`, `{"z":%,"v":1}`, `{"a":[%]}`,
		`{"z":[1,{"y":%},2]}`, `{"arr":[%,"x"]}`, `{"":%}`, `{"metadata":{"k":%}}`, "{\n\t\"v\"\n:\r\n%\n}",
	}
	cases := readCorpus(t, "values.txt", corpusValues)
	for p, plan := range corpusPlans(t) {
		b := plan.d.NewBlock()
		for i, c := range cases {
			for k := range 3 { // with seven plans, every frame sees every value
				checkInside(t, plan, b, c, frames[(i+3*p+k)%len(frames)])
			}
		}
	}
}

// completes reports whether a text that is no value is none too many elements in the frame's brackets.
func completes(c corpusCase, frame string) bool {
	if strings.TrimLeft(c.text, " \t\r\n") == "" {
		return strings.Contains(frame, "[%]")
	}
	return c.name == `array/trail_["a"]%0a,1` && strings.Contains(frame, "[%")
}

func checkInside(t *testing.T, plan *judge, b *column.Block, c corpusCase, frame string) {
	t.Helper()
	if b.Rows() > 3 {
		b.Reset()
	}
	out := plan.check(t, b, []byte(strings.Replace(frame, "%", c.text, 1)))
	valid := c.code == "ok" || c.code == string(NotAnObject) || completes(c, frame)
	if got := textCode(out) == "ok"; got != valid {
		t.Errorf("%s: %s in %s: valid %v, want %v (%v)", plan.name, c.name, frame, got, valid, out.Reject)
	}
}

// textCode is the code of a problem of the text; "ok" if the text is fine, whatever its fields are.
func textCode(out Outcome) string {
	if out.Reject == nil {
		return "ok"
	}
	switch out.Reject.Code {
	case InvalidJSON, TrailingData, Truncated, InvalidUTF8, TooDeep, NotAnObject:
		return string(out.Reject.Code)
	}
	return "ok"
}
