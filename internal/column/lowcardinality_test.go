package column

import (
	"fmt"
	"strings"
	"testing"
)

// Values that agree in their first and last bytes, or in their hash's parts, are still different values.
func TestLowCardinality_TellsSimilarValuesApart(t *testing.T) {
	c, err := New("LowCardinality(String)")
	if err != nil {
		t.Fatal(err)
	}
	low := c.(*LowCardinality)
	var values []string
	for n := range 40 {
		values = append(values, strings.Repeat("a", n), strings.Repeat("a", n)+"b", "b"+strings.Repeat("a", n), strings.Repeat("a", n)+"\x00")
		for at := range n { // one byte differs
			values = append(values, strings.Repeat("a", at)+"c"+strings.Repeat("a", n-at-1))
		}
	}
	distinct := map[string]bool{}
	for range 2 {
		for _, v := range values {
			distinct[v] = true
			low.AppendString(v)
		}
	}
	for i := range low.Rows() {
		if want := values[i%len(values)]; string(low.Row(i)) != want {
			t.Fatalf("row %d is %q, want %q", i, low.Row(i), want)
		}
	}
	if low.dict.Rows() != len(distinct) {
		t.Errorf("%d values in the dictionary, want %d", low.dict.Rows(), len(distinct))
	}
	low.Truncate(len(values) / 2)
	for i := range len(values) {
		low.AppendString(fmt.Sprint(values[i], "x"))
	}
	for i := range len(values) {
		if got, want := string(low.Row(len(values)/2+i)), values[i]+"x"; got != want {
			t.Fatalf("after a roll-back: %q, want %q", got, want)
		}
	}
}

// Values of one to three bytes can agree in all that is compared but their length.
func TestLowCardinality_ComparesLengths(t *testing.T) {
	c, err := New("LowCardinality(String)")
	if err != nil {
		t.Fatal(err)
	}
	low := c.(*LowCardinality)
	low.AppendString("a")
	short := lowKey([]byte("a"))
	short.entry = 1
	low.table[int(lowKey([]byte("aa")).hash())&(len(low.table)-1)] = short // where "aa" is looked for first
	low.AppendString("aa")
	if got := string(low.Row(1)); got != "aa" {
		t.Errorf("got %q", got)
	}
}
