package column

import (
	"testing"

	"pgregory.net/rapid"
)

func TestMoments_TakesWhatIsCommon(t *testing.T) {
	var m Moments
	for _, text := range []string{"2026-11-22T14:44:47.123Z", "1969-12-31T23:59:59.999999999z", "2026-02-28t00:00:00Z", "2262-04-10T23:47:16.854775806Z"} {
		if _, _, ok := m.Ticks([]byte(text), 9); !ok {
			t.Errorf("%s is not taken", text)
		}
	}
	for _, text := range []string{"2026-02-29T00:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22T14:44:60Z", "2026-11-22T14:44:47.Z", "2026-11-22T14:44:47.1x3Z",
		"2026-11-22T14:44:47", "2026-11-22 14:44:47Z", "2026-11-22T14:44:47+Z", "9999-01-01T00:00:00Z", ""} {
		if ticks, _, ok := m.Ticks([]byte(text), 3); ok {
			t.Errorf("%s is taken as %d", text, ticks)
		}
	}
}

// The day that is remembered is the whole day.
func TestMoments_DaysOfOneMonth(t *testing.T) {
	var m Moments
	for _, text := range []string{"2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-22T00:00:01Z", "2025-11-22T00:00:01Z", "2026-12-22T00:00:01Z", "2026-12-22T00:00:02Z"} {
		got, _, ok := m.Ticks([]byte(text), 3)
		want, _, err := ParseTime([]byte(text), RFC3339, 3)
		if !ok || err != nil || got != want {
			t.Errorf("%s: %d, want %d (%v)", text, got, want, err)
		}
	}
}

// Whatever Moments takes, it reads as ParseTime does.
func TestMoments_RandomTexts(t *testing.T) {
	var m Moments
	rapid.Check(t, func(rt *rapid.T) {
		text := []byte(rapid.StringMatching(`(19|20|22)[0-9]{2}-[01][0-9]-[0-3][0-9][Tt][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,10})?[Zz+]`).Draw(rt, "text"))
		precision := rapid.IntRange(0, 9).Draw(rt, "precision")
		ticks, exact, ok := m.Ticks(text, precision)
		wantTicks, wantExact, err := ParseTime(text, RFC3339, precision)
		if ok && (err != nil || ticks != wantTicks || exact != wantExact) {
			rt.Fatalf("%s at %d: %d %v, ParseTime says %d %v %v", text, precision, ticks, exact, wantTicks, wantExact, err)
		}
		if !ok && err == nil && len(text) <= 30 && precision < 9 {
			rt.Fatalf("%s at %d is not taken", text, precision)
		}
	})
}
