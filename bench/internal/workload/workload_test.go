package workload

import (
	"encoding/json"
	"hash/fnv"
	"testing"
	"unicode/utf8"
)

func TestAppend_SameSeedSameBytes(t *testing.T) {
	digest := func(w *Workload, seed uint64) uint64 {
		g, h := w.New(seed), fnv.New64a()
		var b []byte
		for range 20_000 {
			b = g.Append(b[:0])
			_, _ = h.Write(b)
		}
		return h.Sum64()
	}
	// Stored results depend on these bytes: whoever changes them does it knowingly.
	golden := map[string]uint64{"llm": 0xdf8b52123ae7a3b2, "small": 0xbb4fc1af7dc9ebfa}
	for _, w := range All() {
		if digest(w, 1) == digest(w, 2) {
			t.Errorf("%s: two seeds make the same events", w.Name)
		}
		if got := digest(w, 1); got != golden[w.Name] {
			t.Errorf("%s: the events of seed 1 have changed: %#x, was %#x", w.Name, got, golden[w.Name])
		}
	}
}

func TestAppend_ShapeAndSize(t *testing.T) {
	for name, want := range map[string]struct{ fields, optional, least, most int }{
		"llm":   {19, 3, 800, 900},
		"small": {8, 0, 140, 165},
	} {
		w, err := ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		const n = 20_000
		g, size, absent := w.New(7), 0, map[string]int{}
		for range n {
			event := g.Append(nil)
			size += len(event)
			checkFields(t, w, event, absent)
		}
		if mean := size / n; mean < want.least || mean > want.most || len(w.Columns) != want.fields || len(absent) != want.optional {
			t.Errorf("%s: %d bytes, %d fields, %d of them optional: want %+v", name, mean, len(w.Columns), len(absent), want)
		}
	}
}

func checkFields(t *testing.T, w *Workload, event []byte, absent map[string]int) {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(event, &fields); err != nil || !utf8.Valid(event) {
		t.Fatalf("%s: %v\n%s", w.Name, err, event)
	}
	for _, c := range w.Columns {
		if _, ok := fields[c.Name]; !ok {
			absent[c.Name]++
			if c.Required {
				t.Fatalf("%s: no %s in %s", w.Name, c.Name, event)
			}
		}
		delete(fields, c.Name)
	}
	if len(fields) > 0 {
		t.Fatalf("%s: fields without a column in %s", w.Name, event)
	}
}
