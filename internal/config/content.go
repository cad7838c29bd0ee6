package config

import (
	"fmt"

	"github.com/waybill-data/waybill/internal/contract"
)

// Content says where long values are kept that rows only refer to, see contract.Large and docs/adr/0026.
type Content struct {
	Table string // without the database: that of the pipeline's tables; empty: they are objects
	S3    *S3    // nil: there is a table
}

func readContent(v value, c *Content) {
	v.object(
		optional("table", intoText(&c.Table, notEmpty, tableName)),
		optional("s3", func(v value) {
			c.S3 = newS3()
			v.object(s3Place(c.S3)...)
			c.S3.slash()
		}),
	)
	switch {
	case c.S3 == nil && !v.has("table"):
		v.report(v.name()+" names neither a table nor s3", "write content: {table: NAME}, or content: {s3: {endpoint: ..., bucket: ...}}")
	case c.S3 != nil && v.has("table"):
		v.at("s3").report(v.name()+" names a table and s3", "long values are kept in one place: take one of them out")
	}
}

// maxInline is the longest value that a row may be told to keep.
const maxInline = 64 << 20

// readLarge reads what is said of a column's long values.
func readLarge(v value, column string) *contract.Large {
	l := contract.Large{Preview: contract.DefaultPreview, Ref: column + "_ref", Bytes: column + "_bytes"}
	inline, preview := int64(contract.DefaultInline), int64(contract.DefaultPreview)
	v.object(
		optional("inline", intoSize(&inline, 64, maxInline)),
		optional("preview", intoSize(&preview, 0, maxInline)),
		optional("ref", intoText(&l.Ref, notEmpty)),
		optional("bytes", intoText(&l.Bytes, notEmpty)),
	)
	l.Inline, l.Preview = int(inline), int(min(preview, maxInline))
	if !v.has("preview") {
		l.Preview = min(l.Preview, l.Inline)
	}
	return &l
}

// content checks what the file says of long values as a whole.
func (r *reader) content(v value, p *Pipeline) {
	var with *contract.Column
	for _, t := range p.Tables() {
		for i := range t.Contract.Columns {
			if c := &t.Contract.Columns[i]; c.Large != nil && with == nil {
				with = c
			}
		}
		if p.Content != nil && p.Content.Table != "" && t.Sink.ClickHouse.Table == p.Content.Table {
			v.at("content", "table").report(fmt.Sprintf("content.table: %s is where the pipeline's rows go", p.Content.Table), "long values are kept in a table of their own")
		}
	}
	switch {
	case with != nil && p.Content == nil:
		v.report(fmt.Sprintf("column %s has long values kept elsewhere, and nothing says where", with.Name), "write content: {table: NAME}, or content: {s3: ...}")
	case with == nil && p.Content != nil:
		v.at("content").report("content says where long values are kept, and no column has any", "say which: columns: {NAME: {type: String, large: {inline: 8KiB}}}; or remove it")
	}
	if p.Content != nil && p.Archive != nil && p.Content.Table != "" && p.Content.Table == p.Archive.Table {
		v.at("content", "table").report(fmt.Sprintf("content.table: %s is the archive's", p.Content.Table), "long values are kept in a table of their own")
	}
}
