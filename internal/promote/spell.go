package promote

import (
	"fmt"
	"strings"

	"github.com/waybill-data/waybill/internal/clickhouse"
)

// spellBytes bounds the text of one mutation: the server reads statements of up to 256 KiB, Keeper keeps entries of up to 1 MiB.
const spellBytes = 128 << 10

// spell gives the page's rows in one partition of a replicated table their values. Each replica carries a mutation out for itself, and has no
// table to look the values up in. So they stand in the statement, which says the same everywhere and at any time.
func (f *filler) spell(id string) error {
	keys := f.source.keys()
	for i, k := range keys {
		keys[i] = "toString(" + k + ")"
	}
	key := "concat(" + strings.Join(keys, ", '/', ") + ")"
	chunks := [2]chunk{{null: false}, {null: true}}
	var statements []string
	flush := func(c *chunk) {
		if len(c.keys) > 0 {
			statements = append(statements, f.spelt(id, key, c))
		}
		c.keys, c.texts, c.bytes = nil, nil, 0
	}
	err := f.deps.Client.Texts(f.ctx, fmt.Sprintf("SELECT %s AS waybill_1, ifNull(toString(%s AS waybill_0), '') AS waybill_2, toString(isNull(waybill_0)) AS waybill_3 FROM %s WHERE _partition_id = %s AND %s AND %s",
		key, f.value(), f.target(), clickhouse.Literal(id), f.here(), f.lacks()), aliases[:3], func(row []string) error {
		c := &chunks[0]
		if row[2] == "1" {
			c = &chunks[1]
		}
		if c.add(row[0], row[1]); c.bytes >= spellBytes {
			flush(c)
		}
		return nil
	})
	if err != nil {
		return err
	}
	flush(&chunks[0])
	flush(&chunks[1])
	for _, sql := range statements {
		if err := f.exec(f.ctx, sql); err != nil {
			return err
		}
		if err := f.wait(); err != nil {
			return err
		}
	}
	return nil
}

// chunk is what goes into one statement: rows and the texts of their values, or rows that have NULL.
type chunk struct {
	null        bool
	keys, texts []string // quoted
	bytes       int
}

func (c *chunk) add(key, text string) {
	key, text = clickhouse.Literal(key), clickhouse.Literal(text)
	c.keys = append(c.keys, key)
	c.bytes += len(key) + 2
	if !c.null {
		c.texts = append(c.texts, text)
		c.bytes += len(key) + len(text) + 4 // a key stands in the expression and in the condition
	}
}

// spelt is the mutation. The text of a type's value is what the type is read from: nothing is lost on the way. Rows that are not meant go
// through the expression too, which is why it falls back on a text that can be read. The name in the condition, which is always true, is
// how a run finds the mutations of another.
func (f *filler) spelt(id, key string, c *chunk) string {
	value := "CAST(NULL AS " + f.Column.Type + ")"
	if !c.null {
		value = read(fmt.Sprintf("transform(%s, [%s], [%s], %s)", key, strings.Join(c.keys, ", "), strings.Join(c.texts, ", "), c.texts[0]), f.Column.Type)
	}
	return fmt.Sprintf("ALTER TABLE %s UPDATE %s = %s IN PARTITION ID %s WHERE %s IN (%s) AND %s != ''",
		f.target(), clickhouse.Ident(f.Column.Name), value, clickhouse.Literal(id), key, strings.Join(c.keys, ", "), clickhouse.Literal(f.prefix))
}

// read is the expression that reads a type's value from its text. Of a Map the server reads it only within an array.
func read(text, typ string) string {
	if strings.HasPrefix(typ, "Map(") {
		return fmt.Sprintf("CAST(concat('[', %s, ']') AS Array(%s))[1]", text, typ)
	}
	return fmt.Sprintf("CAST(%s AS %s)", text, typ)
}
