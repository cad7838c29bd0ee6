package clickhouse

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
)

func TestCodeRules_AreComplete(t *testing.T) {
	for code, rule := range codeRules {
		if rule.why == "" || rule.name == "" || rule.class == waybill.ClassUnknown {
			t.Errorf("%d has no name, class or reason: %+v", code, rule)
		}
		if known := proto.Error(code); known.IsAError() && code != 201 /* ch-go has its old name */ && !strings.EqualFold(normal(known.String()), normal(rule.name)) {
			t.Errorf("%d is %s, not %s", code, known, rule.name)
		}
		if !rule.class.Heals() && rule.class != waybill.ClassBug && rule.hint == "" && rule.class != waybill.ClassConfig {
			t.Errorf("%d does not heal by itself and says not what to do", code)
		}
	}
}

func normal(s string) string { return strings.ReplaceAll(strings.ToUpper(s), "_", "") }

func TestClassify(t *testing.T) {
	server := func(code int, msg string) error {
		return &ch.Exception{Code: proto.Error(code), Name: "DB::Exception", Message: msg}
	}
	for _, c := range []struct {
		err  error
		want waybill.Class
	}{
		{io.ErrUnexpectedEOF, waybill.ClassRetryable},
		{errors.Join(errors.New("flush"), server(241, "")), waybill.ClassThrottled},
		{server(252, "Too many parts (3000)"), waybill.ClassThrottled},
		{server(252, "Too many partitions for single INSERT block (more than 100)"), waybill.ClassPoison},
		{server(395, "waybill: deadline passed: while executing"), waybill.ClassRetryable},
		{server(395, "somebody's own"), waybill.ClassPoison},
		{server(469, ""), waybill.ClassPoison},
		{server(16, ""), waybill.ClassSchema},
		{server(741, ""), waybill.ClassRetryable},
		{server(516, ""), waybill.ClassDenied},
		{server(497, ""), waybill.ClassDenied},
		{server(4242, ""), waybill.ClassUnknown},
	} {
		if got := Classify("op", c.err); got.Class != c.want || got.Op != "op" {
			t.Errorf("%v: %s, want %s", c.err, got.Class, c.want)
		}
	}
}

func TestClassify_MessageIsOneLineForPeople(t *testing.T) {
	err := Classify("clickhouse.insert", &ch.Exception{Code: 497, Name: "DB::Exception", Message: "DB::Exception: reader: Not enough privileges. (version 26.7.2.1)"})
	if want := "clickhouse.insert: ACCESS_DENIED (497): reader: Not enough privileges. (grant the user what the message names)"; err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

// What an outage, pressure, a password, a grant or a limit leads to is never a verdict on rows, whatever else the table of codes becomes.
func TestCodeRules_OnlyRowsAreToBlameForDeadLetters(t *testing.T) {
	for class, codes := range map[waybill.Class][]int{
		waybill.ClassRetryable: {95, 96, 209, 210, 225, 236, 242, 285, 286, 319, 394, 659, 733, 741, 999, 1000, 1001, 1002, 74, 75, 76, 107, 499},
		waybill.ClassThrottled: {159, 173, 201, 202, 241, 243, 252, 439, 692, 745},
		waybill.ClassDenied:    {158, 164, 192, 193, 194, 195, 291, 307, 396, 452, 472, 497, 516, 720},
		waybill.ClassSchema:    {7, 8, 10, 16, 20, 44, 47, 53, 60, 70, 81},
		waybill.ClassPoison:    {6, 25, 26, 27, 38, 41, 69, 72, 117, 128, 130, 131, 153, 190, 248, 321, 349, 376, 395, 407, 441, 467, 469, 503, 563, 632, 645, 675, 676, 691},
	} {
		for _, code := range codes {
			if got := codeRules[code].class; got != class {
				t.Errorf("%d %s is %s, want %s", code, codeRules[code].name, got, class)
			}
		}
		if class != waybill.ClassPoison {
			continue
		}
		for code, rule := range codeRules {
			if rule.class == waybill.ClassPoison && !slices.Contains(codes, code) {
				t.Errorf("%d %s leads to dead letters: say here that a row is to blame", code, rule.name)
			}
		}
	}
}
