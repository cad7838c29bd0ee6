package json

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/decode/json/oracle"
)

// stringPlan has strings in every place where a scanner may take a way of its own.
func stringPlan(t testing.TB) *judge {
	return newJudge(t, "strings", contract.Contract{Columns: []contract.Column{
		{Name: "s", Type: "String"}, {Name: "lc", Type: "LowCardinality(String)", From: "l"},
		{Name: "raw", Type: "String", From: "r", As: "json"},
		{Name: "m", Type: "Map(LowCardinality(String), String)"}, {Name: "arr", Type: "Array(String)"},
		{Name: "id", Type: "UUID", OnInvalid: contract.Default},
	}})
}

// Scanners look at eight bytes at a time. Every special byte at every offset of every short string: plain,
// escaped, where the string is a value, a name, kept as text, ignored.
func TestShapes_SpecialByteAtEveryOffset(t *testing.T) {
	specials := []string{
		`"`, `\`, `\"`, `\\`, `\n`, `\u0041`, `\ud83d\ude00`, `\ud83d`, "\n", "\x00", "\x1f", "\x7f", "\x80", "\xff", "é", "€", "😀",
		"\xe2\x82", "\xed\xa0\x80", "{", "}", "[", ",", ":", " ", `\u`, `\x`,
	}
	frames := []string{`{"s":"%"}`, `{"l":"%"}`, `{"r":"%"}`, `{"m":{"%":"x"}}`, `{"arr":["","%"]}`, `{"z":"%"}`, `{"%":1}`, `{"z":{"%":["%"]}}`}
	j := stringPlan(t)
	b := j.d.NewBlock()
	i := 0
	for length := 0; length <= 40; length++ {
		for at := 0; at <= min(length, 24); at++ {
			for _, special := range specials {
				i++
				text := strings.Repeat("a", at) + special + strings.Repeat("b", length-at)
				for k := range 2 {
					b.Reset()
					j.check(t, b, []byte(strings.ReplaceAll(frames[(i+k*3)%len(frames)], "%", text)))
				}
			}
		}
		if t.Failed() {
			return
		}
	}
}

// Two special bytes near each other, across the borders of words.
func TestShapes_PairsOfSpecialBytes(t *testing.T) {
	specials := []string{`\"`, `\\`, `\`, `"`, "\x01", "é", `\ud83d`, `\ude00`, "\xc3"}
	j := stringPlan(t)
	b := j.d.NewBlock()
	for at := range 18 {
		for gap := range 10 {
			for _, first := range specials {
				for _, second := range specials {
					text := strings.Repeat("a", at) + first + strings.Repeat("b", gap) + second + "cdefghij"
					b.Reset()
					j.check(t, b, []byte(`{"s":"`+text+`","l":"x"}`))
				}
			}
		}
		if t.Failed() {
			return
		}
	}
}

// longTexts are regular texts that are too long to be written down.
func longTexts() map[string]string {
	open := strings.Repeat
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	texts := map[string]string{
		"megabyte of newlines":   `{"s":"` + open(`\n`, 1<<19) + `"}`,
		"megabyte of crlf":       `{"s":"` + open(`\r\n`, 1<<18) + `","raw":1}`,
		"megabyte of nul":        `{"s":"` + open(`\u0000`, 1<<18) + `"}`,
		"megabyte of pairs":      `{"s":"` + open(`\ud83d\ude00`, 1<<17) + `"}`,
		"megabyte of quotes":     `{"r":["` + open(`\"`, 1<<19) + `"]}`,
		"megabyte of high bytes": `{"s":"` + open("é", 1<<19) + `"}`,
		"megabyte plain":         `{"s":"` + open("x", 1<<20) + `"}`,
		"megabyte of spaces":     `{"s":` + open(" \n\t\r", 1<<18) + `"x"}`,
		"megabyte key":           `{"` + open("k", 1<<20) + `":1,"s":"x"}`,
		"megabyte number":        `{"z":` + open("1", 1<<20) + `}`,
		"megabyte raw control":   `{"s":"` + open("x", 1<<20) + "\n" + `"}`,
		"megabyte bad utf8":      `{"s":"` + open("x", 1<<20) + "\xff" + `"}`,
		"unmapped keys":          `{` + many(3000, `"key%d":1`) + `,"s":"x"}`,
		"unmapped objects":       `{` + many(500, `"k%d":{"a":[1,{"b":"c"}]}`) + `}`,
		"map of many":            `{"m":{` + many(3000, `"key%d":"v"`) + `}}`,
		"array of many":          `{"arr":[` + many(3000, `"value %d"`) + `]}`,
		"keys with one prefix":   `{` + many(300, `"aaaaaaaaaaaaaaaa%d":1`) + `}`,
		"last key doubled":       `{` + many(3000, `"key%d":1`) + `,"key0":2}`,
		"map key doubled":        `{"m":{` + many(300, `"key%d":"v"`) + `,"\u006bey7":"w"}}`,
		"doubled in ignored":     `{"z":{` + many(300, `"key%d":"v"`) + `,"key7":"w"},"s":"x"}`,
		"doubled in raw":         `{"r":{"a":1,"a":2},"s":"x"}`,
	}
	for _, n := range []int{1, 2, 63, 64, 65, 126, 127, 128, 129, 200, 1000, 9999, 10_000, 10_001, 20_000} {
		for name, pair := range map[string][2]string{ // what opens and closes it
			"objects": {`{"a":`, "}"}, "arrays": {"[", "]"}, "mixed": {`[{"b":`, "}]"}, "arrays of two": {"[1,", "]"},
		} {
			for _, key := range []string{"z", "r", "arr", "m"} {
				prefix := fmt.Sprintf("%s under %s, %d deep, ", name, key, n)
				texts[prefix+"closed"] = `{"` + key + `":` + open(pair[0], n) + "1" + open(pair[1], n) + "}"
				texts[prefix+"open"] = `{"` + key + `":` + open(pair[0], n)
				texts[prefix+"broken"] = `{"` + key + `":` + open(pair[0], n) + "x"
			}
		}
	}
	return texts
}

func TestShapes_LongTexts(t *testing.T) {
	j := stringPlan(t)
	texts := longTexts()
	if len(texts) != 741 {
		t.Errorf("%d texts", len(texts))
	}
	for name, text := range texts {
		b := j.d.NewBlock()
		out := j.check(t, b, []byte(text))
		var shape, key, end string
		var n int
		if _, err := fmt.Sscanf(strings.ReplaceAll(name, " of two", "2"), "%s under %1s, %d deep, %s", &shape, &key, &n, &end); err != nil || end != "closed" {
			continue
		}
		if shape == "mixed" {
			n *= 2
		}
		if want := n+1 > MaxDepth; want != (out.Reject != nil && out.Reject.Code == TooDeep) {
			t.Errorf("%s: %v", name, out.Reject)
		}
	}
}

// wholeEvents are valid events whose every cut and change is tried.
func wholeEvents(t testing.TB) map[string]string {
	t.Helper()
	llm, err := os.ReadFile("testdata/llm_call.json")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"llm":    string(llm),
		"small":  `{"s":"x\u00e9😀\ud83d\ude00\n","u":12.50e1,"b":true,"arr":["1",null],"a":{"s":{"s":null},"k":["v"]},"z":[{},-0.1]}`,
		"spaced": " {\r\n\t\"s\" : \"x\" ,\n\"u\" : 1 , \"arr\" : [ \"a\" , \"b\" ] , \"a\" : { \"k\" : [ ] }\n} \n",
	}
}

// A text that is cut anywhere is rejected, or is what the oracle says it is.
func TestShapes_TruncatedAtEveryByte(t *testing.T) {
	for _, j := range corpusPlans(t) {
		b := j.d.NewBlock()
		for name, event := range wholeEvents(t) {
			for i := range len(event) {
				b.Reset()
				out := j.check(t, b, []byte(event[:i]))
				if whole := strings.TrimSpace(event[:i]) == strings.TrimSpace(event); !whole && out.Kind != Rejected {
					t.Errorf("%s cut at %d is %v", name, i, out.Kind)
				}
			}
		}
	}
}

// One byte is changed, inserted, removed or doubled at every place of an event.
func TestShapes_SingleByteMutations(t *testing.T) {
	const replacements = "\x00\t\n \"\\{}[]:,-+.0e1tn/u\x1f\x7f\x80\xc3\xff"
	plans := corpusPlans(t)
	for name, event := range wholeEvents(t) {
		n := 0
		for i := range len(event) {
			for k := range len(replacements) {
				if name == "llm" && (i+k)%23 != 0 { // one in 23 of them, all places and all bytes
					continue
				}
				c := replacements[k : k+1]
				j := plans[2+n%5]
				n++
				for _, text := range []string{event[:i] + c + event[i+1:], event[:i] + c + event[i:], event[:i] + event[i+1:]} {
					j.check(t, j.d.NewBlock(), []byte(text))
				}
			}
		}
	}
}

// The order of keys, white space and escapes in names do not change the row.
func TestShapes_EqualTexts(t *testing.T) {
	j := newJudge(t, "llm", contract.Contract{Columns: llmCall()})
	event := wholeEvents(t)["llm"]
	members := oracle.Members([]byte(event))
	r := rand.New(rand.NewPCG(1, 2))
	var want string
	for i := range 300 {
		text := []byte(rewrite(r, members, i))
		b := j.d.NewBlock()
		if out := j.check(t, b, text); out.Kind != Written {
			t.Fatalf("%s: %v", text, out.Reject)
		}
		_, columns := oracle.ReadBlock([]byte(wire(t, b)))
		got := ""
		for k, name := range b.Names {
			if name != "prompt" && name != "_offset" { // prompt is kept as it was written
				got += fmt.Sprintln(name, columns[k])
			}
		}
		if want == "" {
			want = got
		}
		if got != want {
			t.Fatalf("%s:\ngot  %s\nwant %s", text, got, want)
		}
	}
}

// rewrite writes an object anew: its members in another order, with white space, names escaped.
func rewrite(r *rand.Rand, members []oracle.Member, round int) string {
	space := func() string {
		if round%3 == 0 {
			return ""
		}
		return strings.Repeat(string(" \t\r\n"[r.IntN(4)]), r.IntN(4))
	}
	var b bytes.Buffer
	b.WriteString(space() + "{")
	for i, at := range r.Perm(len(members)) {
		if round == 0 {
			at = i
		}
		if i > 0 {
			b.WriteString(space() + ",")
		}
		name := members[at].Name
		if round%5 == 1 {
			k := r.IntN(len(name))
			name = name[:k] + fmt.Sprintf(`\u%04X`, name[k]) + name[k+1:]
		}
		value := members[at].Raw
		if value[0] == '{' && members[at].Name != "metadata" && round > 0 { // a map keeps its order
			value = rewrite(r, oracle.Members([]byte(value)), round)
		}
		b.WriteString(space() + `"` + name + `"` + space() + ":" + space() + value)
	}
	b.WriteString(space() + "}" + space())
	return b.String()
}
