package engine_test

import (
	"fmt"
	"testing"

	"github.com/waybill-data/waybill/internal/testenv"
)

// Drift adds up in the table, over several rounds and a restart; what has been told of is not told again by the next process.
func TestDrift_AddsUpAndIsToldOnce(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.file(spec{modes: "new_fields: rescue"})
	cfg.Contract.Columns[0].Required = false
	strange := func(i int) string {
		if i%4 == 0 {
			return fmt.Sprintf(`{"extra":%d}`, i) // fills no column
		}
		return fmt.Sprintf(`{"id":%d,"extra":%[1]d}`, i)
	}
	sum := func(kind string) string {
		return "SELECT toString(sum(count)) FROM waybill.drift WHERE pipeline = '" + w.name + "' AND kind = '" + kind + "'"
	}
	added := func(kind string, n int) {
		t.Helper()
		testenv.Eventually(t, soon, fmt.Sprintf("%d of kind %s", n, kind), func() bool { return w.query(sum(kind)) == fmt.Sprint(n) })
	}
	w.produceAs(100, strange)
	a := w.start(cfg)
	w.quiet(100)
	added("new_field", 100)
	w.produceAs(100, strange)
	w.quiet(200)
	added("new_field", 200)
	added("blank", 50)
	added("written", 200)
	a.stop()
	w.wantFinding("new_field", 1)
	b := w.start(cfg)
	w.produceAs(100, strange)
	w.quiet(300)
	b.stop() // which records what it has noted
	added("new_field", 300)
	w.wantFinding("new_field", 1)
}
