package contract

import (
	"bytes"
	"encoding/json"
	"strings"
)

// commentPrefix begins the comments of columns that Waybill has added.
const commentPrefix = "waybill: "

// commentText is what such a comment holds.
type commentText struct {
	From   string `json:"from"`
	As     string `json:"as,omitempty"`
	Format string `json:"format,omitempty"`
	Zone   string `json:"zone,omitempty"`
}

// ColumnComment is the table's comment on a column that Waybill has added: it says where the values come from.
func ColumnComment(c Column) string {
	var b bytes.Buffer
	b.WriteString(commentPrefix)
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(commentText{c.From, c.As, c.Format, c.Zone}); err != nil {
		panic(err) // strings only
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// ParseColumnComment reads such a comment; ok is false for any other, and for one that says more than this version knows:
// the column is then one that Waybill does not fill, and its field a new one, so that nothing is lost.
func ParseColumnComment(comment string) (c Column, ok bool) {
	text, ok := strings.CutPrefix(comment, commentPrefix)
	if !ok {
		return Column{}, false
	}
	var t commentText
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil || dec.More() {
		return Column{}, false
	}
	path, err := ParsePath(t.From)
	if err != nil || path.String() != t.From {
		return Column{}, false
	}
	return Column{From: t.From, As: t.As, Format: t.Format, Zone: t.Zone}, true
}
