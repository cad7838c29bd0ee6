package column

// Date is a column of days since 1970-01-01, 16 bits without a sign: until 2149-06-06.
type Date struct{ fixed }

// Append adds one value in days.
func (c *Date) Append(days uint16) { c.buf = appendInteger(c.buf, uint64(days), c.shift) }

// Row is the value of one row in days.
func (c *Date) Row(row int) uint16 { return uint16(readInteger(c.wire(row))) }

// Fresh is an empty column of the same type.
func (c *Date) Fresh() Column { return &Date{c.fresh()} }

// Date32 is a column of days since 1970-01-01, from 1900-01-01 to 2299-12-31.
type Date32 struct{ fixed }

// The range of Date32 in days.
const (
	minDays = -25567
	maxDays = 120529
)

// Append adds one value in days, minDays to maxDays.
func (c *Date32) Append(days int32) { c.buf = appendInteger(c.buf, uint64(days), c.shift) }

// AppendZero adds 1900-01-01: ClickHouse's default of Date32 is its first day, not the epoch.
func (c *Date32) AppendZero() { c.Append(minDays) }

// Row is the value of one row in days.
func (c *Date32) Row(row int) int32 { return int32(readInteger(c.wire(row))) }

// Fresh is an empty column of the same type.
func (c *Date32) Fresh() Column { return &Date32{c.fresh()} }

// Time is a column of seconds from -999:59:59 to 999:59:59: a time of day or a span.
type Time struct{ fixed }

// maxClock is the largest magnitude of a Time in whole seconds, 999:59:59.
const maxClock = 999*3600 + 59*60 + 59

// Append adds one value in seconds, at most maxClock in magnitude.
func (c *Time) Append(seconds int32) { c.buf = appendInteger(c.buf, uint64(seconds), c.shift) }

// Row is the value of one row in seconds.
func (c *Time) Row(row int) int32 { return int32(readInteger(c.wire(row))) }

// Fresh is an empty column of the same type.
func (c *Time) Fresh() Column { return &Time{c.fresh()} }

// Time64 is a column of ticks of 10^-Precision seconds, in magnitude less than 1000 hours.
type Time64 struct {
	fixed
	precision int
}

// Precision is the number of decimal places of a second, 0 to 9.
func (c *Time64) Precision() int { return c.precision }

// Append adds one value in ticks.
func (c *Time64) Append(ticks int64) { c.buf = appendInteger(c.buf, uint64(ticks), c.shift) }

// Row is the value of one row in ticks.
func (c *Time64) Row(row int) int64 { return int64(readInteger(c.wire(row))) }

// Fresh is an empty column of the same type.
func (c *Time64) Fresh() Column { return &Time64{c.fresh(), c.precision} }
