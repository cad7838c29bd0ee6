package waybill_test

import (
	"testing"

	"github.com/waybill-data/waybill"
)

// What is done about each class. That a pipeline does it is tested in internal/engine.
func TestClass_Action(t *testing.T) {
	want := map[string]string{"unknown": "retry", "retryable": "retry", "throttled": "retry", "poison": "bisect", "schema": "replan", "fenced": "rejoin", "denied": "probe", "config": "stop", "bug": "stop"}
	n := 0
	for c := waybill.ClassUnknown; c <= waybill.ClassBug; c++ {
		n++
		if got := c.Action().String(); got != want[c.String()] {
			t.Errorf("%s: %s, want %s", c, got, want[c.String()])
		}
		if heals := want[c.String()] == "retry"; c.Heals() != heals {
			t.Errorf("%s heals: %v", c, c.Heals())
		}
	}
	if n != len(want) {
		t.Errorf("%d classes, want %d", n, len(want))
	}
}
