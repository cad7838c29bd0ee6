package column

import (
	"bytes"
	"testing"
)

// Whatever the text, a column of any type takes it as one row or stays byte for byte what it was.
func FuzzAppendJSON(f *testing.F) {
	for i, e := range catalogue {
		for _, x := range e.cases {
			f.Add(uint8(i), x.format, []byte(x.json))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, format string, text []byte) {
		e := catalogue[int(which)%len(catalogue)]
		tf, err := example{format: format}.parse()
		typ, typErr := ParseType(e.typ)
		if typErr != nil {
			t.Fatal(typErr)
		}
		if err != nil || tf.Check(typ) != nil {
			return
		}
		c := typ.New()
		c.AppendZero()
		before := encoded(c)
		if _, err := AppendJSON(c, text, tf); err != nil {
			if c.Rows() != 1 || !bytes.Equal(encoded(c), before) {
				t.Fatalf("%s %q left something behind: %v", e.typ, text, err)
			}
			return
		}
		if c.Rows() != 2 {
			t.Fatalf("%s %q: %d rows", e.typ, text, c.Rows())
		}
		c.Truncate(1)
		if !bytes.Equal(encoded(c), before) {
			t.Fatalf("%s %q does not roll back", e.typ, text)
		}
	})
}
