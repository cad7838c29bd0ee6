package cli

import (
	"strings"
	"testing"

	"github.com/waybill-data/waybill/internal/backfill/diff"
)

func TestLimitFlags(t *testing.T) {
	l := limitFlags{missing: "3", extra: "any", doubled: "0", rows: "1%", changed: []string{"5%", "model=0", "a=b=any"}, nullRate: []string{"cost=0.5%"}}
	got, err := l.thresholds()
	if err != nil || got.Missing.Count != 3 || got.Extra != nil || got.Doubled == nil || got.Rows.Share != 0.01 || got.Changed.Share != 0.05 || got.NullRate != nil {
		t.Errorf("%+v, %v", got, err)
	}
	if len(got.ColumnChanged) != 1 || got.ColumnChanged["model"] != (diff.Limit{}) || got.ColumnNullRate["cost"].Share != 0.005 {
		t.Errorf("%+v, %+v", got.ColumnChanged, got.ColumnNullRate)
	}
	for flag, l := range map[string]limitFlags{"--max-missing": {missing: "few", extra: "0", doubled: "0", rows: "any"}, "--max-changed": {missing: "0", extra: "0", doubled: "0", rows: "any", changed: []string{"model=200%"}}} {
		if _, err := l.thresholds(); err == nil || exitCode(err) != ExitUsage || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
	// What the flags say by default is what the library does.
	cmd := newBackfillDiff(Streams{})
	var plain limitFlags
	for flag, to := range map[string]*string{"max-missing": &plain.missing, "max-extra": &plain.extra, "max-doubled": &plain.doubled, "rows": &plain.rows} {
		*to = cmd.Flags().Lookup(flag).DefValue
	}
	if got, err := plain.thresholds(); err != nil || *got.Missing != *diff.DefaultThresholds().Missing || *got.Extra != *diff.DefaultThresholds().Extra || *got.Doubled != *diff.DefaultThresholds().Doubled || got.Changed != nil || got.Rows != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// Values are shown on one line if they are short; blanks in them are kept.
func TestPrintValues(t *testing.T) {
	var b strings.Builder
	long := `"` + strings.Repeat("x", 90) + `"`
	printValues(&b, []diff.ValueSample{{Key: diff.Key{"t", "0", "7"}, Live: `"a  b"`, Shadow: "null"}, {Key: diff.Key{"t", "0", "8"}, Live: long, Shadow: "1"}})
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 3 || lines[0] != `    t 0 7: "a  b" -> null` || !strings.HasPrefix(lines[1], `    t 0 8: "xxx`) || strings.TrimSpace(lines[2]) != "-> 1" {
		t.Errorf("%q", lines)
	}
}
