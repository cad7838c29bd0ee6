package column

import "math"

// floater is a column of numbers.
type floater interface {
	Column
	float(row int) float64
}

func (c *Integers[T]) float(row int) float64 { return float64(c.Row(row)) }
func (c *Float32) float(row int) float64     { return float64(c.Row(row)) }
func (c *Float64) float(row int) float64     { return c.Row(row) }

// float is the value as far as its lowest 64 bits tell.
func (c *Decimals) float(row int) float64 {
	return float64(int64(c.Row(row)[0])) * math.Pow10(-c.scale) //nolint:gosec // two's complement
}

// Numeric reports whether Sample finds numbers in the column: integers, floats and decimals of up to 64 bits, also where they can be NULL.
func Numeric(c Column) bool {
	if n, ok := c.(*Nullable); ok {
		c = n.inner
	}
	if d, ok := c.(*Decimals); ok {
		return d.shift <= 3
	}
	_, ok := c.(floater)
	return ok
}

// Sample hands the values of up to n rows of a numeric column to add, evenly spread. NULLs are left out.
func Sample(c Column, n int, to interface{ Add(v float64) }) {
	rows := c.Rows()
	nullable, _ := c.(*Nullable)
	if nullable != nil {
		c = nullable.inner
	}
	f, ok := c.(floater)
	if !ok || n <= 0 {
		return
	}
	for row, step := 0, max(1, rows/n); row < rows && n > 0; row, n = row+step, n-1 {
		if nullable == nil || !nullable.IsNull(row) {
			to.Add(f.float(row))
		}
	}
}
