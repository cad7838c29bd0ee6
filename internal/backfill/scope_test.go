package backfill

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseScope(t *testing.T) {
	for text, want := range map[string]string{
		"all": "all", "rescued": "rescued", "dead-letters": "dead-letters", "plan:AB12": "plan ab12", "finding:9f": "finding 9f",
		"offsets:0:5-9,1:3,0:10-11":                     "offsets map[0:[5,12) 1:[3,4)]",
		"time:2026-11-01..2026-11-02T03:04:05+01:00":    "time 2026-11-01T00:00:00 2026-11-02T02:04:05",
		"kafka-time:2026-11-01 10:00..2026-11-01 10:30": "kafka-time 2026-11-01T10:00:00 2026-11-01T10:30:00",
		"":                            "!write all, time:",
		"everything":                  "!write all, time:",
		"all:x":                       "!nothing follows all",
		"plan:":                       "!name the plan",
		"time:2026-11-02":             "!write FROM..TO",
		"time:2026-11-02..x":          `!"x" is no time`,
		"time:2026-11-02..2026-11-02": "!FROM is not before TO",
		"offsets:0":                   "!write PARTITION:FIRST-LAST",
		"offsets:0:9-5":               "!write PARTITION:FIRST-LAST",
		"offsets:-1:1-5":              "!write PARTITION:FIRST-LAST",
	} {
		s, err := ParseScope(text)
		got := string(s.Kind)
		const form = "2006-01-02T15:04:05"
		switch {
		case err != nil:
			got = "!" + err.Error()
		case s.ID != "":
			got += " " + s.ID
		case s.Offsets != nil:
			got += " " + fmt.Sprint(s.Offsets)
		case !s.From.IsZero():
			got += " " + s.From.Format(form) + " " + s.To.Format(form)
		}
		if got != want && (!strings.HasPrefix(want, "!") || !strings.Contains(got, want[1:])) {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
