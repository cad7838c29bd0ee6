package e2e

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// shaper draws events of many shapes: producers of seven versions write at once, and beside them fields come, change their type and go. The i-th
// event of a seed is always the same.
type shaper struct {
	seed uint64
	// every so many events a new field appears; it is there for lifetime births.
	every uint64
}

const lifetime = 14

func (s shaper) rng(what, i uint64) *rand.Rand {
	return rand.New(rand.NewPCG(s.seed+what<<56, i)) //nolint:gosec // chance, not secrecy
}

// shapedContract is the contract of the events: some paths are under each mode.
const shapedContract = `contract:
  new_fields: {default: evolve, raw: rescue, raw.debug: discard, debug: discard, forbidden: freeze}
  type_conflicts: {default: evolve, kept: rescue, strict: freeze, loose: discard}
  columns:
    id: {type: UInt64, required: true}
    tenant: {type: LowCardinality(String)}
    n: {type: UInt32, from: usage.n}
    at: {type: DateTime, format: unix}
    body: {type: String}
    small: {type: UInt8}
    ratio: {type: Float64}
    grade: {type: "Enum8('a' = 1, 'b' = 2)"}
    code: {type: FixedString(4)}
    kept: {type: UInt8}
    strict: {type: UInt8}
    loose: {type: UInt8}
`

// shapedColumns are those beside the usual table's.
const shapedColumns = `ADD COLUMN small UInt8, ADD COLUMN ratio Float64, ADD COLUMN grade Enum8('a' = 1, 'b' = 2), ADD COLUMN code FixedString(4),
	ADD COLUMN kept UInt8, ADD COLUMN strict UInt8, ADD COLUMN loose UInt8`

// shaped makes the case's table and pipeline file those of shaped events.
func (w *world) shaped() {
	w.Helper()
	w.exec("ALTER TABLE " + w.db + ".events " + shapedColumns)
	file := w.pipelineFile()
	before, rest, _ := strings.Cut(file, "contract:\n")
	_, after, _ := strings.Cut(rest, "sink:\n")
	w.file = before + shapedContract + "sink:\n" + after
	w.allow("column_added", "column_widened", "evolve_held")
}

// shapedDefaults is what a column of the contract has where nothing was written, as JSON.
var shapedDefaults = map[string]string{"body": `""`, "small": "0", "ratio": "0", "grade": `"a"`, "code": `"\u0000\u0000\u0000\u0000"`, "kept": "0", "strict": "0", "loose": "0"}

// isDefault: a FixedString that was widened has the zero of a String.
func isDefault(column, text string) bool {
	return text == shapedDefaults[column] || column == "code" && text == `""`
}

// event draws the i-th event with what must become of it.
func (s shaper) event(i uint64) record {
	rng := s.rng(1, i)
	r := record{id: i, n: rng.Uint64N(1 << 31), tenant: fmt.Sprintf("t%d", i%tenants)}
	if rng.IntN(400) == 0 {
		r.tenant = "cursed"
	}
	members := []string{
		fmt.Sprintf(`"id":%d`, i), fmt.Sprintf(`"tenant":%q`, r.tenant), fmt.Sprintf(`"at":%d`, firstDay+i), fmt.Sprintf(`"body":"b%d"`, i),
		fmt.Sprintf(`"usage":{%s}`, strings.Join(append(usageFields(rng), fmt.Sprintf(`"n":%d`, r.n)), ",")),
	}
	members = append(members, conflicting(rng)...)
	members = append(members, versions[rng.IntN(len(versions))](rng, i)...)
	members = append(members, s.walk(rng, i)...)
	if rng.IntN(200) == 0 {
		members = members[1:] // no id
	}
	rng.Shuffle(len(members), func(a, b int) { members[a], members[b] = members[b], members[a] })
	r.value = []byte("{" + strings.Join(members, ",") + "}")
	r.key = fmt.Appendf(nil, "key-%d", i)
	switch rng.IntN(150) {
	case 0:
		r.value = r.value[:rng.IntN(len(r.value))]
	case 1:
		r.value = nil
	case 2:
		r.headers = []kgo.RecordHeader{{Key: "trace", Value: fmt.Appendf(nil, "%x", i)}}
	}
	r.fate = fateOf(r.value)
	return r
}

// fateOf says by the event's own text, and by the contract, what must become of it.
func fateOf(value []byte) fate {
	if value == nil {
		return asTombstone
	}
	event, err := parseTree(value)
	if err != nil || event.kind != isObject {
		return asDead
	}
	strict := event.member("strict")
	switch {
	case event.member("id") == nil, event.member("forbidden") != nil, event.member("tenant").text == "cursed":
		return asDead
	case strict != nil && strict.kind != isNull:
		if n, err := strconv.ParseUint(strict.raw, 10, 8); err != nil || n > 255 {
			return asDead
		}
	}
	return asRow
}

func pick(rng *rand.Rand, from ...string) string { return from[rng.IntN(len(from))] }

func usageFields(rng *rand.Rand) (out []string) {
	if rng.IntN(3) == 0 {
		out = append(out, fmt.Sprintf(`"tokens":{"in":%d,"out":%d}`, rng.IntN(10_000), rng.IntN(10_000)))
	}
	if rng.IntN(5) == 0 {
		out = append(out, `"price":`+quarter(rng))
	}
	return out
}

// quarter is a number with a fraction that any float holds.
func quarter(rng *rand.Rand) string { return fmt.Sprintf("%d.%d", rng.IntN(1000), 25+50*rng.IntN(2)) }

// conflicting are members for columns of the contract whose values sometimes do not fit.
func conflicting(rng *rand.Rand) (out []string) {
	draw := func(name string, often, rare []string) {
		if rng.IntN(3) > 0 {
			return
		}
		from := often
		if rng.IntN(25) == 0 {
			from = rare
		}
		out = append(out, fmt.Sprintf("%q:%s", name, pick(rng, from...)))
	}
	draw("small", []string{"1", "2", "255", "7.0", "0"}, []string{"300", "-5", "null", "4294967296", `"x"`, "1.5", "[1]"})
	draw("ratio", []string{"0.5", "3", "1e3", "-2.25"}, []string{"null", `"high"`, "1e400"})
	draw("grade", []string{`"a"`, `"b"`}, []string{`"c"`, `"dd"`, "null", "1"})
	draw("code", []string{`"ab"`, `"abcd"`, `""`}, []string{`"abcdef"`, "null", "{}"})
	draw("kept", []string{"1", "9"}, []string{"256", `"k"`, `{"in":[1,{"deep":null}]}`, "null"})
	draw("loose", []string{"1", "9"}, []string{"256", `"l"`, `[{"x":1}]`, "null"})
	draw("strict", []string{"1", "9"}, []string{"256", `"s"`, "-1", "null"})
	if rng.IntN(40) == 0 {
		out = append(out, pick(rng, `"debug":{"a":[1,"x"],"b":null}`, `"debug":"off"`, `"raw":{"keep":[1.50,"é"],"debug":{"x":1},"n":null}`, `"raw":7`, `"forbidden":1`, `"forbidden":{"x":[]}`))
	}
	return out
}

// versions are the shapes of producers that write at once: fields are added, removed, renamed, nested, and of another type.
var versions = []func(*rand.Rand, uint64) []string{
	func(*rand.Rand, uint64) []string { return nil },
	func(rng *rand.Rand, _ uint64) []string {
		return []string{`"cost":` + strconv.Itoa(rng.IntN(50)), fmt.Sprintf(`"flags":{"on":%v}`, rng.IntN(2) == 0)}
	},
	func(rng *rand.Rand, i uint64) []string {
		return []string{`"cost":` + quarter(rng), fmt.Sprintf(`"user":{"name":"u%d","age":%d,"vip":%v}`, i%7, rng.IntN(90), rng.IntN(2) == 0), amount(rng)}
	},
	func(rng *rand.Rand, i uint64) []string {
		return []string{fmt.Sprintf(`"cost":"%d EUR"`, rng.IntN(50)), `"words":["a","` + pick(rng, "b", "ü", "\\u0063", "") + `"]`, fmt.Sprintf(`"tags":{"team":"t%d","env":"prod"}`, i%3)}
	},
	func(rng *rand.Rand, i uint64) []string { // user is called person from here on
		return []string{fmt.Sprintf(`"person":{"name":"u%d","born":%d}`, i%7, 1950+rng.IntN(60)), fmt.Sprintf(`"deep":{"l1":{"l2":{"l3":%d},"s":"x"}}`, i),
			fmt.Sprintf(`"items":[{"sku":"s%d","qty":%d},{"sku":null}]`, i%9, rng.IntN(9)), fmt.Sprintf(`"trace":"%08x-0000-4000-8000-%012x"`, i, i),
			fmt.Sprintf(`"when":"2026-11-25T10:%02d:%02d.%03dZ"`, i/60%60, i%60, 1+rng.IntN(999))}
	},
	func(rng *rand.Rand, _ uint64) []string {
		return []string{`"user":` + pick(rng, "null", "{}", `{"name":null}`), `"cost":null`, `"only_null":null`, `"words":` + pick(rng, "[]", "null", `["a",null]`), `"tags":` + pick(rng, "null", "{}", `{"team":"x"}`),
			`"empty":` + pick(rng, "[]", "{}", "null"), `"person":{"name":"p","extra_list":[]}`}
	},
	func(rng *rand.Rand, i uint64) []string {
		return []string{`"mixed":` + pick(rng, "1", `"one"`, "true", "[1,[2]]", `{"k":1}`, "null"), fmt.Sprintf(`"a":{"b":"ab%d"},"a_b":"flat%d"`, i, i), fmt.Sprintf(`"odd name!":"o%d"`, i),
			fmt.Sprintf(`"dotted.name":{"x":"d%d"}`, i), fmt.Sprintf(`"naïve":"n%d"`, i), amount(rng), `"big":` + pick(rng, "18446744073709551615", "1", "123456789012345678901234567890", "-9223372036854775808"),
			`"grid":[[1,2],[3]]`}
	},
}

func amount(rng *rand.Rand) string {
	return `"amount":` + pick(rng, "1.5", "0.1234567890123456789", "1e3", "12", "99999999999999999999.5", "-0.0")
}

// walkKinds are the types of the fields that come and go; the second value of a pair is what a field that wanders becomes.
var walkKinds = []func(*rand.Rand, uint64) string{
	func(rng *rand.Rand, _ uint64) string { return strconv.Itoa(rng.IntN(1_000_000) - 500_000) },
	func(rng *rand.Rand, _ uint64) string { return quarter(rng) },
	func(_ *rand.Rand, i uint64) string { return fmt.Sprintf(`"text %d"`, i) },
	func(rng *rand.Rand, _ uint64) string { return strconv.FormatBool(rng.IntN(2) == 0) },
	func(_ *rand.Rand, i uint64) string { return fmt.Sprintf(`"%08x-0000-4000-8000-00000000abcd"`, i) },
	func(rng *rand.Rand, _ uint64) string {
		return fmt.Sprintf(`"2026-11-25T10:00:%02d.%03dZ"`, rng.IntN(60), 1+rng.IntN(999))
	},
	func(rng *rand.Rand, i uint64) string { return fmt.Sprintf(`[%d,%d]`, i, rng.IntN(100)) },
	func(_ *rand.Rand, i uint64) string { return fmt.Sprintf(`["x","y%d"]`, i) },
	func(rng *rand.Rand, i uint64) string {
		return fmt.Sprintf(`{"label":"l%d","score":%s}`, i, quarter(rng))
	},
	func(rng *rand.Rand, i uint64) string {
		return fmt.Sprintf(`[{"k":%d},{"k":null}]`, rng.IntN(9)+int(i%2))
	}, //nolint:gosec // small
}

// walker is the k-th field that comes and goes.
type walker struct {
	name    string
	group   string // it is a member of; empty: of the event
	kind    int
	becomes int // another kind in the second half of its life; -1: it stays
}

func (s shaper) walker(k uint64) walker {
	rng := s.rng(2, k)
	f := walker{name: fmt.Sprintf("w%d", k), kind: rng.IntN(len(walkKinds)), becomes: -1}
	if rng.IntN(3) == 0 {
		f.group = fmt.Sprintf("g%d", k/8)
	}
	if rng.IntN(4) == 0 {
		f.becomes = rng.IntN(len(walkKinds))
	}
	return f
}

// walk are the fields that are there at the i-th event, most of them.
func (s shaper) walk(rng *rand.Rand, i uint64) (out []string) {
	groups := map[string][]string{}
	var order []string
	newest := i / s.every
	for k := newest - min(newest, lifetime-1); k <= newest; k++ {
		if rng.IntN(2) == 0 {
			continue
		}
		f := s.walker(k)
		kind := f.kind
		if age := i - k*s.every; f.becomes >= 0 && age > s.every*lifetime/2 {
			kind = f.becomes
		}
		member := fmt.Sprintf("%q:%s", f.name, walkKinds[kind](rng, i))
		if f.group == "" {
			out = append(out, member)
			continue
		}
		if groups[f.group] == nil {
			order = append(order, f.group)
		}
		groups[f.group] = append(groups[f.group], member)
	}
	for _, g := range order {
		out = append(out, fmt.Sprintf("%q:{%s}", g, strings.Join(groups[g], ",")))
	}
	return out
}

// steadyPaths begin the paths whose values have one type as long as there are any.
var steadyPaths = []string{"usage.tokens.", "usage.price", "flags.on", "user.name", "user.age", "user.vip", "words[", "tags.", "person.name", "person.born", "deep.", "items[", "trace", "when",
	"a.b", "a_b", "odd name!", "`dotted.name`.x", "naïve", "grid["}

// steady reports whether the values at a path are of one type, whatever is drawn.
func (s shaper) steady(path string) bool {
	for _, p := range steadyPaths {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	name := path
	if rest, in := strings.CutPrefix(path, "g"); in {
		_, name, _ = strings.Cut(rest, ".")
	}
	digits, ok := strings.CutPrefix(name, "w")
	if end := strings.IndexAny(digits, ".["); end >= 0 {
		digits = digits[:end]
	}
	k, err := strconv.ParseUint(digits, 10, 64)
	return ok && err == nil && s.walker(k).becomes < 0
}

// produceShaped sends the next n events.
func (w *world) produceShaped(s shaper, n int) {
	w.Helper()
	w.send(s.next(w, n))
}

// next are the next n events of the case.
func (s shaper) next(w *world, n int) []record {
	w.mu.Lock()
	first := w.nextID + 1
	w.nextID += uint64(n) //nolint:gosec // not negative
	w.mu.Unlock()
	events := make([]record, n)
	for i := range events {
		events[i] = s.event(first + uint64(i)) //nolint:gosec // not negative
	}
	return events
}
