package json

import (
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// checkScanner decodes a few events under one plan, each after others, twice, and in the reverse order: what
// a decoder remembers of earlier records must not show.
func checkScanner(rt *rapid.T) {
	c := drawContract(rt)
	j := newJudge(rapidT{rt: rt}, "drawn", c)
	var texts []string
	for range rapid.IntRange(1, 4).Draw(rt, "events") {
		d := eventDrawer{t: rt, columns: wanted(j.d.plan), spaced: rapid.IntRange(0, 3).Draw(rt, "spaced") == 0}
		text := d.space() + d.object(nil) + d.space()
		if d.chance(20) {
			text = mutate(rt, text)
		}
		texts = append(texts, text)
	}
	b := j.d.NewBlock()
	for _, text := range texts {
		j.check(rapidT{rt: rt}, b, []byte(text))
		j.check(rapidT{rt: rt}, b, []byte(text))
	}
	for i := range texts {
		j.check(rapidT{rt: rt}, b, []byte(texts[len(texts)-1-i]))
	}
}

// rapidT is a rapid test where a testing.TB is wanted.
type rapidT struct {
	testing.TB
	rt *rapid.T
}

func (t rapidT) Helper()                           { t.rt.Helper() }
func (t rapidT) Errorf(format string, args ...any) { t.rt.Errorf(format, args...) }
func (t rapidT) Fatalf(format string, args ...any) { t.rt.Fatalf(format, args...) }
func (t rapidT) Fatal(args ...any)                 { t.rt.Fatal(args...) }

// checkChangedEvent decodes a valid event whose members are moved, doubled, dropped and replaced.
func checkChangedEvent(rt *rapid.T, events map[string]string, plans []*judge) {
	j := rapid.SampledFrom(plans).Draw(rt, "plan").fresh(rapidT{rt: rt})
	event := events[rapid.SampledFrom([]string{"llm", "small", "spaced"}).Draw(rt, "event")]
	b := j.d.NewBlock()
	for range 3 {
		d := eventDrawer{t: rt}
		text := d.changed(strings.TrimSpace(event), 4)
		if d.chance(10) {
			text = mutate(rt, text)
		}
		j.check(rapidT{rt: rt}, b, []byte(event))
		j.check(rapidT{rt: rt}, b, []byte(text))
	}
}

// rounds is how often rapid's hundred checks are run: a thousand draws a test.
const rounds = 10

func TestScanner_RandomPlansAndEvents(t *testing.T) {
	for range rounds {
		rapid.Check(t, checkScanner)
	}
}

func TestScanner_ChangedEvents(t *testing.T) {
	events, plans := wholeEvents(t), corpusPlans(t)
	for range rounds {
		rapid.Check(t, func(rt *rapid.T) { checkChangedEvent(rt, events, plans) })
	}
}

// FuzzPlan is TestScanner_RandomPlansAndEvents led by coverage. A draw takes kilobytes of the fuzzer's bytes.
func FuzzPlan(f *testing.F) {
	addNoise(f)
	f.Fuzz(rapid.MakeFuzz(checkScanner))
}

// FuzzEvent is TestScanner_ChangedEvents led by coverage.
func FuzzEvent(f *testing.F) {
	events, plans := wholeEvents(f), corpusPlans(f)
	addNoise(f)
	f.Fuzz(rapid.MakeFuzz(func(rt *rapid.T) { checkChangedEvent(rt, events, plans) }))
}

// addNoise adds seeds that are long enough for many draws.
func addNoise(f *testing.F) {
	for seed := range uint64(12) {
		r := rand.NewChaCha8([32]byte{byte(seed)})
		noise := make([]byte, 1<<16)
		if _, err := r.Read(noise); err != nil {
			f.Fatal(err)
		}
		f.Add(noise)
	}
}

// FuzzScanner decodes any bytes under one of the plans of the corpus, before and after events that are fine.
func FuzzScanner(f *testing.F) {
	plans := corpusPlans(f)
	plans = append(plans, stringPlan(f), newJudge(f, "semantics", semanticsContract()))
	for i, c := range readCorpus(f, "values.txt", corpusValues) {
		f.Add(uint8(i), []byte(c.text))
		f.Add(uint8(i), []byte(`{"v":`+c.text+`,"s":`+c.text+`,"a":{"v":`+c.text+`}}`))
	}
	for i, c := range semantics {
		f.Add(uint8(len(plans)-1), []byte(c.text))
		f.Add(uint8(i), []byte(c.text))
	}
	events := wholeEvents(f)
	for i := range plans {
		for _, event := range events {
			f.Add(uint8(i), []byte(event))
		}
	}
	f.Fuzz(func(t *testing.T, plan uint8, value []byte) {
		j := plans[int(plan)%len(plans)].fresh(t)
		b := j.d.NewBlock()
		for _, text := range [][]byte{[]byte(events["small"]), value, value, []byte(events["llm"]), value} {
			j.check(t, b, text)
		}
	})
}
