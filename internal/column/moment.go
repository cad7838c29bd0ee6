package column

// dayMillis is a day in milliseconds.
const dayMillis = 86_400_000

// Moment is the point in time that a row of a column holds, in milliseconds since the Unix epoch, the rest cut off towards the past. ok is
// false for NULL, and for columns of other types than Type.IsMoment.
func Moment(c Column, row int) (millis int64, ok bool) {
	switch c := c.(type) {
	case *DateTime64:
		ticks := c.Row(row)
		if c.precision <= 3 {
			return ticks * pow10[3-c.precision], true
		}
		unit := pow10[c.precision-3]
		if ticks < 0 {
			ticks -= unit - 1
		}
		return ticks / unit, true
	case *DateTime:
		return int64(c.Row(row)) * 1000, true
	case *Date:
		return int64(c.Row(row)) * dayMillis, true
	case *Date32:
		return int64(c.Row(row)) * dayMillis, true
	case *Nullable:
		if c.IsNull(row) {
			return 0, false
		}
		return Moment(c.inner, row)
	}
	return 0, false
}
