package column

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseTimeFormat_Refusals(t *testing.T) {
	for _, tc := range []struct{ format, zone, want string }{
		{"rfc3339", "UTC", "have their own"}, {"unix", "UTC", "have their own"},
		{"%Y-%m-%d %H:%M %z", "UTC", "no effect"}, {"%F %T", "Mars/Olympus", "not a time zone"}, {"%F %T", "Local", "not a time zone"},
		{"%y-%m-%d", "", "no century"}, {"%F %T %Z", "", "several time zones share"}, {"%s", "", "format unix"}, {"%c", "", "locale"},
		{"%Q", "", "not known"}, {"%F %", "", "at the end"}, {"%Y-%m", "", "not complete"}, {"%m-%d", "", "not complete"},
		{"%Y-%j-%d", "", "neither month nor day"}, {"%F %I:%M", "", "go together"}, {"%F %H:%M %p", "", "go together"},
		{"%F %H:%S", "", "%S needs %M"}, {"%F %f", "", "%f needs %S"}, {"%F %M", "", "needs the hour"}, {"%F %Y", "", "read twice"},
		{"%F %H %I %p", "", "read twice"}, {"%a %T", "", "needs a date"},
	} {
		if _, err := ParseTimeFormat(tc.format, tc.zone); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q in %q: got %v, want an error with %q", tc.format, tc.zone, err, tc.want)
		}
	}
}

func TestTimeFormat_Check(t *testing.T) {
	for _, tc := range []struct{ format, zone, typ, want string }{
		{"%F %T", "UTC", "DateTime64(3)", ""}, {"%F %T %z", "", "DateTime", ""}, {"%Y-%j", "Europe/Berlin", "DateTime", ""},
		{"%F %T", "", "DateTime64(3)", "no time zone is given"}, {"%T", "UTC", "DateTime", "no full date"}, {"%T", "", "Array(Date)", "no full date"},
		{"%F", "", "Date", ""}, {"%F %T %z", "", "Date32", ""}, {"%F", "UTC", "Date", "no effect"},
		{"%T", "", "Time", ""}, {"%F %T", "", "Time", "neither date"}, {"%T", "UTC", "Time64(3)", "neither date"}, {"%T %z", "", "Time", "neither date"},
		{"%F", "", "Time", "no hour"}, {"%F", "", "Map(Date, DateTime)", "no time zone is given"}, {"%F", "", "Nullable(Date)", ""},
		{"%F", "", "String", ""}, {"unix", "", "Time", ""}, {"", "", "Map(Date, DateTime)", ""},
	} {
		f, err := ParseTimeFormat(tc.format, tc.zone)
		if err != nil {
			t.Fatal(err)
		}
		typ, err := ParseType(tc.typ)
		if err != nil {
			t.Fatal(err)
		}
		err = f.Check(typ)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%q in %q for %s: got %v, want %q", tc.format, tc.zone, tc.typ, err, tc.want)
		}
	}
}

// A format is its text, and it is where it was parsed that decides whether two are the same.
func TestTimeFormat_String(t *testing.T) {
	for _, name := range []string{"rfc3339", "unix", "unix_ms", "unix_us", "unix_ns", "%F %T%%"} {
		if f, err := ParseTimeFormat(name, ""); err != nil || f.String() != name {
			t.Errorf("%s became %s, %v", name, f, err)
		}
	}
}

func TestLayout_Values(t *testing.T) {
	for _, tc := range []struct {
		format, text, want string // RFC 3339 in UTC, or "" for ErrFormat
	}{
		{"%Y-%m-%d %H:%M:%S.%f", "2026-11-22 14:44:47.123456", "2026-11-22T14:44:47.123456Z"},
		{"%Y-%m-%d %H:%M:%S.%f", "2026-11-22 14:44:47.", ""},
		{"%Y-%m-%d %H:%M:%S.%f", "2026-11-22 14:44:47", ""},
		{"%Y-%m-%d", "2026-1-2", "2026-01-02T00:00:00Z"},
		{"%Y-%m-%d", "2026-13-02", ""}, {"%Y-%m-%d", "2026-02-30", ""}, {"%Y-%m-%d", "226-02-03", ""}, {"%Y-%m-%d", "2026-02-03 ", ""},
		{"%Y%m%dT%H%M%S", "20261122T144447", "2026-11-22T14:44:47Z"},
		{"%Y-%j", "2024-366", "2024-12-31T00:00:00Z"}, {"%Y-%j", "2023-366", ""}, {"%Y-%j", "2023-0", ""},
		{"%e %B %Y", " 2 november 2026", "2026-11-02T00:00:00Z"}, {"%e %B %Y", "22 November 2026", "2026-11-22T00:00:00Z"},
		{"%d %b %Y", "22 NOV 2026", "2026-11-22T00:00:00Z"}, {"%d %b %Y", "22 Nix 2026", ""}, {"%d %b %Y", "22 No", ""},
		{"%A, %d %b %Y", "Sunday, 22 Nov 2026", "2026-11-22T00:00:00Z"}, {"%A, %d %b %Y", "Monday, 22 Nov 2026", ""},
		{"%F %I:%M:%S %p", "2026-11-22 12:00:00 AM", "2026-11-22T00:00:00Z"}, {"%F %I:%M:%S %p", "2026-11-22 12:00:00 pm", "2026-11-22T12:00:00Z"},
		{"%F %I:%M:%S %p", "2026-11-22 00:00:00 AM", ""}, {"%F %I:%M:%S %p", "2026-11-22 13:00:00 AM", ""},
		{"%F %T", "2026-11-22 24:00:00", ""}, {"%F %T", "2026-11-22 23:60:00", ""}, {"%F %T", "2026-11-22 23:59:60", ""},
		{"%F %H%%", "2026-11-22 5%", "2026-11-22T05:00:00Z"}, {"%F %H%%", "2026-11-22 5", ""}, {"%F", "", ""},
	} {
		f, err := ParseTimeFormat(tc.format, "UTC")
		if err != nil {
			t.Fatal(err)
		}
		ticks, _, err := ParseTime([]byte(tc.text), f, 9)
		if tc.want == "" {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("%q %q: got %d, %v, want ErrFormat", tc.format, tc.text, ticks, err)
			}
			continue
		}
		if got := time.Unix(0, ticks).UTC().Format(time.RFC3339Nano); err != nil || got != tc.want {
			t.Errorf("%q %q: got %s, %v, want %s", tc.format, tc.text, got, err, tc.want)
		}
	}
}

func TestLayout_Offsets(t *testing.T) {
	f, err := ParseTimeFormat("%FT%T%z", "")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int64{
		"1970-01-01T00:00:00Z": 0, "1970-01-01T01:00:00+01:00": 0, "1970-01-01T01:00:00+0100": 0, "1969-12-31T18:30:00-0530": 0, "1970-01-01T00:00:00z": 0,
	} {
		if got, _, err := ParseTime([]byte(text), f, 0); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"1970-01-01T00:00:00", "1970-01-01T00:00:00+1", "1970-01-01T00:00:00+01", "1970-01-01T00:00:00+2400", "1970-01-01T00:00:00Zz", "1970-01-01T00:00:00+01:000"} {
		if _, _, err := ParseTime([]byte(text), f, 0); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want ErrFormat", text, err)
		}
	}
}

// Local times agree with Go's zones; those that clocks skip or show twice are refused, and no others.
func TestLayout_LocalTimes(t *testing.T) {
	const layout = "2006-01-02 15:04:05"
	for _, name := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca", "UTC"} {
		f, err := ParseTimeFormat("%F %T", name)
		if err != nil {
			t.Fatal(err)
		}
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(rt *rapid.T) {
			shown := time.Unix(rapid.Int64Range(0, 2e9).Draw(rt, "seconds"), 0).UTC().Format(layout)
			var moments []int64 // every moment within two days at which clocks in the zone show that
			wall, err := time.Parse(layout, shown)
			if err != nil {
				rt.Fatal(err)
			}
			for offset := -26 * 3600; offset <= 26*3600; offset += 900 {
				if m := wall.Unix() - int64(offset); time.Unix(m, 0).In(zone).Format(layout) == shown {
					moments = append(moments, m)
				}
			}
			got, _, err := ParseTime([]byte(shown), f, 0)
			switch {
			case len(moments) == 1 && (err != nil || got != moments[0]):
				rt.Fatalf("%s in %s: %d, %v, want %d", shown, name, got, err, moments[0])
			case len(moments) != 1 && !errors.Is(err, ErrFormat):
				rt.Fatalf("%s in %s: %d, %v, but it names %d moments", shown, name, got, err, len(moments))
			}
		})
	}
}

// Moments within hours of every change of clocks: drawing seldom meets them.
func TestLayout_ChangesOfClocks(t *testing.T) {
	for _, tc := range []struct {
		zone, from string // local time at which to begin
		skipped    int    // minutes of the six hours that name no moment
		twice      int    // that name two
	}{
		{"Europe/Berlin", "2026-03-29 00:00:00", 60, 0}, {"Europe/Berlin", "2026-10-25 00:00:00", 0, 60},
		{"America/New_York", "2026-03-08 00:00:00", 60, 0}, {"America/New_York", "2026-11-01 00:00:00", 0, 60},
		{"Australia/Lord_Howe", "2026-10-04 00:00:00", 30, 0}, {"Australia/Lord_Howe", "2026-04-05 00:00:00", 0, 30},
		{"Pacific/Apia", "2011-12-30 08:00:00", 360, 0}, {"UTC", "2026-03-29 00:00:00", 0, 0},
	} {
		f, err := ParseTimeFormat("%F %T", tc.zone)
		if err != nil {
			t.Fatal(err)
		}
		start, err := time.Parse("2006-01-02 15:04:05", tc.from)
		if err != nil {
			t.Fatal(err)
		}
		skipped, twice := 0, 0
		for minute := range 360 {
			text := start.Add(time.Duration(minute) * time.Minute).Format("2006-01-02 15:04:05")
			_, _, err := ParseTime([]byte(text), f, 0)
			switch {
			case err == nil:
			case strings.Contains(err.Error(), "skip"):
				skipped++
			case strings.Contains(err.Error(), "twice"):
				twice++
			}
		}
		if skipped != tc.skipped || twice != tc.twice {
			t.Errorf("%s from %s: %d minutes skipped, %d twice; want %d, %d", tc.zone, tc.from, skipped, twice, tc.skipped, tc.twice)
		}
	}
}
