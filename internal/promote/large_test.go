package promote

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
)

var (
	largeRows  = flag.Int("rows", 300_000, "rows of BenchmarkFill")
	largeSpelt = flag.Bool("spelt", false, "BenchmarkFill fills as in a replicated table")
)

// BenchmarkFill fills a table of many rows, of which nine in ten hold a value, in two table partitions:
//
//	go test ./internal/promote -run '^$' -bench Fill -benchtime 1x -rows 5000000
func BenchmarkFill(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		w := newWorld(b, 0)
		w.deps.Page = 0
		testenv.Exec(b, w.http, fmt.Sprintf(`INSERT INTO %s.calls (id, _rescued, _topic, _partition, _offset, _epoch) SELECT number,
			if(number %% 10 = 0, '', concat('{"plan":"c64e716840ba78d6","fields":{"n":{"reason":"new_field","value":', toString(number), '},"trace":{"reason":"new_field","value":"', toString(cityHash64(number)), '"}}}')),
			'llm.calls', number %% 16, intDiv(number, 16), 0 FROM numbers(%d)`, w.db, *largeRows))
		b.StartTimer()
		began := time.Now()
		j := w.prepare()
		j.replicated = *largeSpelt
		prepared := time.Since(began)
		r, err := j.Apply(b.Context(), func(p Progress) {
			b.Logf("%s: %d of %d after %v", p.Partition, p.Done, p.Of, time.Since(began).Round(time.Second))
		})
		b.StopTimer()
		if want := int64(*largeRows) / 10 * 9; err != nil || r.Filled+r.Already != want || r.Wrong != 0 || w.filled() != fmt.Sprint(want) {
			b.Fatalf("%+v, %v", r, err)
		}
		b.ReportMetric(prepared.Seconds(), "prepare-s")
		b.ReportMetric(float64(*largeRows)/time.Since(began).Seconds(), "rows/s")
		b.StartTimer()
	}
}
