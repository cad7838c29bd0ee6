package trial

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/engine"
)

// AppendOutcome appends what became of the record that was taken last, as JSON text on one line: {"row":{...}}, {"dead_letter":{...}},
// {"filtered":true} or {"tombstone":true}. Of a pipeline with routes, a row is {"route":"...","row":{...}}. A row has the values of the INSERT's columns, as column.Column's AppendValue writes them;
// without lineage unless it is asked for. The rescue column is there if it holds something, as the object that it holds without the
// plan's id, which changes with every change of the pipeline file.
func (t *Trial) AppendOutcome(dst []byte, out engine.Processed, lineage bool) []byte {
	switch out.Fate {
	case engine.FateFiltered:
		return append(dst, `{"filtered":true}`...)
	case engine.FateTombstone:
		return append(dst, `{"tombstone":true}`...)
	case engine.FateDead:
		return appendDead(dst, out)
	}
	dst = append(dst, '{')
	route := t.routes[out.Route]
	if route.Name != "" {
		dst = append(appendString(append(dst, `"route":`...), route.Name), ',')
	}
	dst = append(dst, `"row":{`...)
	first := true
	for i, c := range route.Plan.Columns() {
		if c.Lineage && !lineage {
			continue
		}
		value := t.blocks[out.Route].Columns[i].AppendValue(nil, 0)
		if c.Source == contract.SourceRescued {
			if value = rescued(value); value == nil {
				continue
			}
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(append(appendString(dst, c.Name), ':'), value...)
	}
	return append(dst, "}}"...)
}

func appendDead(dst []byte, out engine.Processed) []byte {
	why := out.Reason
	dst = appendString(append(dst, `{"dead_letter":{"stage":`...), string(why.Stage))
	dst = appendString(append(dst, `,"code":`...), why.Code)
	if why.Column != "" {
		dst = appendString(append(dst, `,"column":`...), why.Column)
	}
	dst = appendString(append(dst, `,"message":`...), why.Message)
	if out.Byte >= 0 {
		dst = strconv.AppendInt(append(dst, `,"byte":`...), int64(out.Byte), 10)
	}
	return append(dst, "}}"...)
}

// rescued is what a rescue column's value says of fields; nil if it holds nothing.
func rescued(value []byte) []byte {
	var text string
	if json.Unmarshal(value, &text) == nil { // a String: the object's text
		value = []byte(text)
	}
	var object struct {
		Fields json.RawMessage `json:"fields"`
	}
	if json.Unmarshal(value, &object) != nil || len(object.Fields) == 0 {
		return nil
	}
	var line bytes.Buffer // values are kept as they came, line breaks and all
	if err := json.Compact(&line, object.Fields); err != nil {
		return nil // it has been parsed
	}
	return line.Bytes()
}

func appendString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // the error says that U+FFFD stands for bytes that are no UTF-8
	return dst
}
