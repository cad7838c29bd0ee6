package column

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a layout's time zone is known also where the system has no database
)

// TimeFormat says how a moment, a date or a time is written. The zero value is RFC3339. Formats that are equal are the same.
type TimeFormat struct {
	kind   formatKind
	layout *layout // of layoutFormat
}

type formatKind uint8

const (
	rfc3339Format formatKind = iota
	unixFormat               // this and the next three: a number of seconds, thousandths and so on
	unixMilliFormat
	unixMicroFormat
	unixNanoFormat
	layoutFormat
)

// The formats that need no layout.
var (
	RFC3339   = TimeFormat{}                      // text with a time zone: 2026-11-22T14:44:47.123Z
	UnixSec   = TimeFormat{kind: unixFormat}      // number of seconds since the Unix epoch, fractions allowed
	UnixMilli = TimeFormat{kind: unixMilliFormat} // number of milliseconds
	UnixMicro = TimeFormat{kind: unixMicroFormat} // number of microseconds
	UnixNano  = TimeFormat{kind: unixNanoFormat}  // number of nanoseconds
)

var timeFormats = map[string]TimeFormat{
	"": RFC3339, "rfc3339": RFC3339, "unix": UnixSec, "unix_ms": UnixMilli, "unix_us": UnixMicro, "unix_ns": UnixNano,
}

// ParseTimeFormat reads a format as pipeline files write it: a name ("" is rfc3339), or a layout, which has a % in it, as
// strptime takes it: see docs/reference/types.md. zone is the IANA name of the time zone of a layout that reads none; "" if
// none is given. A zone that would have no effect is an error. Whether the format fits a type is for Check to say.
func ParseTimeFormat(name, zone string) (TimeFormat, error) {
	if !strings.Contains(name, "%") {
		f, ok := timeFormats[name]
		switch {
		case !ok:
			return TimeFormat{}, fmt.Errorf("format %q is not one of rfc3339, unix, unix_ms, unix_us, unix_ns, nor a layout like %%Y-%%m-%%d %%H:%%M:%%S", name)
		case zone != "":
			return TimeFormat{}, fmt.Errorf("a time zone is for layouts without an offset: moments in the format %s have their own", f)
		}
		return f, nil
	}
	l, err := parseLayout(name)
	if err != nil {
		return TimeFormat{}, fmt.Errorf("format %q: %w", name, err)
	}
	if zone != "" {
		if l.has('z') {
			return TimeFormat{}, fmt.Errorf("format %q reads an offset, so the time zone %s would have no effect", name, zone)
		}
		if l.zone, err = time.LoadLocation(zone); err != nil || zone == "Local" {
			return TimeFormat{}, fmt.Errorf("%q is not a time zone of the IANA database", zone)
		}
	}
	return TimeFormat{layoutFormat, l}, nil
}

// String is the format as a pipeline file writes it.
func (f TimeFormat) String() string {
	if f.kind == layoutFormat {
		return f.layout.text
	}
	return [...]string{"rfc3339", "unix", "unix_ms", "unix_us", "unix_ns"}[f.kind]
}

// Takes are the kinds of JSON values in which the format writes moments. The Unix formats also take strings that hold
// a number: producers quote what a double cannot hold.
func (f TimeFormat) Takes() Kinds {
	if f.isUnix() {
		return TakesNumber | TakesString
	}
	return TakesString
}

func (f TimeFormat) isUnix() bool { return unixFormat <= f.kind && f.kind <= unixNanoFormat }

// Unix is the number of decimal places of a second in one unit; ok is false if the format is no Unix format.
func (f TimeFormat) Unix() (decimals int, ok bool) { return f.decimals(), f.isUnix() }

// decimals is the number of decimal places of a second in one unit of a Unix format.
func (f TimeFormat) decimals() int { return 3 * int(f.kind-unixFormat) }

// Check reports why the format does not say, for every type of moment in t, which moment is meant: a layout without
// a date or, where it matters, without a time zone.
func (f TimeFormat) Check(t Type) error {
	for _, e := range t.Elems {
		if err := f.Check(e); err != nil {
			return err
		}
	}
	if f.kind != layoutFormat || !t.HasTime() || t.Elems != nil {
		return nil
	}
	l, zoned := f.layout, f.layout.zone != nil
	bad := func(why string) error { return fmt.Errorf("format %q for %s: %s", l.text, t, why) }
	switch t.Name {
	case "DateTime", "DateTime64":
		switch {
		case !l.hasDate():
			return bad("the layout has no full date (%Y with %m and %d, or %Y with %j)")
		case !l.has('z') && !zoned:
			return bad("the layout has no offset (%z) and no time zone is given, so it does not say which moment is meant")
		}
	case "Date", "Date32":
		switch {
		case !l.hasDate():
			return bad("the layout has no full date (%Y with %m and %d, or %Y with %j)")
		case zoned:
			return bad("a date is taken as it is written, the time zone would have no effect")
		}
	default:
		switch {
		case !l.has('H') && !l.has('I'):
			return bad("the layout has no hour (%H, or %I with %p)")
		case l.hasAny("YmdjbBeaA") || l.has('z') || zoned:
			return bad("a time has neither date nor time zone, the layout has")
		}
	}
	return nil
}
