package column

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// eachType runs a property once per type, on rows drawn for it.
func eachType(t *testing.T, property func(rt *rapid.T, c Column, rows []func(Column))) {
	for _, text := range everyType {
		t.Run(text, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				typ, err := ParseType(text)
				if err != nil {
					rt.Fatal(err)
				}
				rows := make([]func(Column), rapid.IntRange(0, 40).Draw(rt, "rows"))
				for i := range rows {
					rows[i] = draw(rt, typ)
				}
				property(rt, typ.New(), rows)
			})
		})
	}
}

func TestTruncate_LeavesWhatWasThere(t *testing.T) {
	eachType(t, func(rt *rapid.T, c Column, rows []func(Column)) {
		keep := rapid.IntRange(0, len(rows)).Draw(rt, "keep")
		for _, row := range rows[:keep] {
			row(c)
		}
		before, size := encoded(c), c.Size()
		for _, row := range rows[keep:] {
			row(c)
		}
		full := encoded(c)
		halfRow(c)
		c.Truncate(keep)
		if c.Rows() != keep || c.Size() != size || !bytes.Equal(encoded(c), before) {
			rt.Fatalf("after Truncate(%d): %d rows, %d bytes\n%x, before %d bytes\n%x", keep, c.Rows(), c.Size(), encoded(c), size, before)
		}
		for _, row := range rows[keep:] {
			row(c)
		}
		if !bytes.Equal(encoded(c), full) {
			rt.Fatalf("rows appended after Truncate differ:\n%x, want\n%x", encoded(c), full)
		}
	})
}

func TestAppendFrom_IsAppendingTheSameValue(t *testing.T) {
	eachType(t, func(rt *rapid.T, c Column, rows []func(Column)) {
		want, got := c.Fresh(), c.Fresh()
		for _, row := range rows {
			row(c)
		}
		if len(rows) > 0 {
			for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(rows)-1), 0, 60).Draw(rt, "subset") {
				got.AppendFrom(c, i)
				rows[i](want)
			}
		}
		if got.Rows() != want.Rows() || !bytes.Equal(encoded(got), encoded(want)) {
			rt.Fatalf("subset:\n%x, want\n%x", encoded(got), encoded(want))
		}
	})
}

func TestWriteColumn_IsEncodeColumn(t *testing.T) {
	eachType(t, func(rt *rapid.T, c Column, rows []func(Column)) {
		for _, row := range rows {
			row(c)
		}
		if a, b := encoded(c), written(t, c); !bytes.Equal(a, b) {
			rt.Fatalf("encoded\n%x, written\n%x", a, b)
		}
		if c.Size() < len(rows) {
			rt.Fatalf("size %d of %d rows", c.Size(), len(rows))
		}
	})
}

func TestReset_IsFresh(t *testing.T) {
	eachType(t, func(rt *rapid.T, c Column, rows []func(Column)) {
		other := c.Fresh()
		for _, row := range rows {
			row(c)
		}
		c.Reset()
		if c.Rows() != 0 || !bytes.Equal(encoded(c), encoded(other)) {
			rt.Fatalf("after Reset: %d rows, %x", c.Rows(), encoded(c))
		}
		for _, row := range rows {
			row(c)
			row(other)
		}
		if !bytes.Equal(encoded(c), encoded(other)) {
			rt.Fatal("a reset column differs from a fresh one")
		}
	})
}

// A dictionary beyond 256 and 65,536 values changes the width of its keys and has grown many times.
func TestLowCardinality_LargeDictionaryRollsBack(t *testing.T) {
	c := mustNew(t, "LowCardinality(String)").(*LowCardinality)
	value := func(i int) []byte { return []byte{byte(i), byte(i >> 8), byte(i >> 16)} }
	sizes := map[int][]byte{}
	for i := range 70_000 {
		if i == 255 || i == 256 || i == 257 || i == 65_536 {
			sizes[i] = encoded(c)
		}
		c.Append(value(i))
	}
	for _, rows := range []int{65_536, 257, 256, 255} {
		c.Truncate(rows)
		if !bytes.Equal(encoded(c), sizes[rows]) {
			t.Fatalf("after Truncate(%d) the wire form differs", rows)
		}
	}
	for i := range 70_000 { // 255 old values, the rest new again
		c.Append(value(i))
		if got := c.Row(c.Rows() - 1); !bytes.Equal(got, value(i)) {
			t.Fatalf("row for value %d is %x", i, got)
		}
	}
	if n := c.dict.Rows(); n != 70_000 {
		t.Fatalf("%d dictionary entries for 70000 distinct values", n)
	}
}

func TestAppendFrom_RefusesAnotherType(t *testing.T) {
	for _, pair := range [][2]string{{"DateTime64(3)", "DateTime64(6)"}, {"Int64", "UInt64"}, {"String", "Nullable(String)"}} {
		src, dst := mustNew(t, pair[0]), mustNew(t, pair[1])
		src.AppendZero()
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a row of %s went into %s", pair[0], pair[1])
				}
			}()
			dst.AppendFrom(src, 0)
		}()
	}
}

func TestBlock_SelectAndTruncate(t *testing.T) {
	b, err := NewBlock([]string{"id", "tags"}, []string{"UInt32", "Array(LowCardinality(String))"})
	if err != nil {
		t.Fatal(err)
	}
	tags := b.Columns[1].(*Array)
	for i := range 4 {
		b.Columns[0].(*UInt32).Append(uint32(i))
		tags.Elem().(Texter).AppendString(string(rune('a' + i)))
		tags.EndRow()
	}
	s := b.Select([]int{3, 1})
	if s.Rows() != 2 || s.Columns[0].(*UInt32).Row(0) != 3 || string(s.Columns[1].(*Array).Elem().(*LowCardinality).Row(1)) != "b" {
		t.Error("Select took other rows than asked for")
	}
	b.Columns[0].AppendZero() // a row that failed after its first column
	if b.Rows() != 4 {
		t.Errorf("%d complete rows, want 4", b.Rows())
	}
	b.Truncate(4)
	if b.Columns[0].Rows() != 4 || s.Rows() != 2 || b.Size() == 0 {
		t.Error("Truncate touched the wrong rows")
	}
	b.Reset()
	if b.Rows() != 0 || s.Rows() != 2 {
		t.Error("a selected block shares rows with its origin")
	}
	in := b.Input()
	if len(in) != 2 || in[1].Name != "tags" {
		t.Errorf("input %v", in)
	}
}
