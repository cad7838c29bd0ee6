package json

import (
	"testing"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

func TestRescue_ValuesBesideTheEvent(t *testing.T) {
	d := newDecoder(t, rescueEverything(
		contract.Column{Name: "id", Type: "UUID", Kafka: "header.a.b"},
		contract.Column{Name: "num", Type: "UInt8", Kafka: "header.a.b"},
		contract.Column{Name: "key", Type: "UInt8", Kafka: "key"},
		contract.Column{Name: "part", Type: "Enum8('0' = 0)", Kafka: "partition"}))
	for _, tc := range []struct {
		key, header string
		want        string
	}{
		{"7", "7f9c24e8-3b12-4fef-91e0-1d2b3c4d5e6f", `{"kafka:header.a.b":{"reason":"bad_format","column":"num","value":"7f9c24e8-3b12-4fef-91e0-1d2b3c4d5e6f"}}`},
		{"no \"n\"\n", "x", `{"x":{"reason":"new_field","value":1},"kafka:header.a.b":{"reason":"bad_format","column":"id","value":"x"},"kafka:key":{"reason":"bad_format","column":"key","value":"no \"n\"\n"}}`},
		{"\xff\x00", "x", `{"x":{"reason":"new_field","value":1},"kafka:header.a.b":{"reason":"bad_format","column":"id","value":"x"},"kafka:key":{"reason":"bad_format","column":"key","value":"/wA=","encoding":"base64"}}`},
	} {
		value := `{}`
		if tc.header == "x" {
			value = `{"x":1}`
		}
		b := d.NewBlock()
		out := d.Decode(&waybill.Record{Topic: "t", Key: []byte(tc.key), Value: []byte(value), Headers: []waybill.Header{{Key: "a.b", Value: []byte(tc.header)}}}, 1, b)
		if out.Kind != Written {
			t.Fatal(out.Reject)
		}
		if got := rescued(t, d, b); got != tc.want {
			t.Errorf("%q:\ngot  %s\nwant %s", tc.key, got, tc.want)
		}
	}
	counts := map[string]int64{}
	for _, f := range d.Drift() {
		counts[f.Path+" "+f.Column] += f.Count
	}
	if counts["kafka:header.a.b num"] != 3 || counts["kafka:header.a.b id"] != 2 || counts["kafka:key key"] != 2 {
		t.Errorf("drift %v", counts)
	}
}

// exprDecoder has three computed columns: one that is rescued from, one that is required, an array of two.
func exprDecoder(t *testing.T) *Decoder {
	t.Helper()
	return newDecoder(t, rescueEverything(
		contract.Column{Name: "n", Type: "UInt8"},
		contract.Column{Name: "cost", Type: "Decimal(9, 2)", Expr: "a"},
		contract.Column{Name: "must", Type: "String", Expr: "b", Required: true},
		contract.Column{Name: "pair", Type: "Array(UInt8)", Expr: "c", Length: 2}))
}

func TestDecodeEvent_ComputedColumns(t *testing.T) {
	for _, tc := range []struct {
		name, event string
		computed    []string // "" is none
		want        string   // the row, or the rejection
		rescued     string
	}{
		{"all fit", `{"n":1}`, []string{"1.25", `"x"`, "[1,2]"}, "1 x [1 2]", ``},
		{"missing", `{"n":1}`, []string{"", `"x"`, ""}, "1 x []", ``},
		{"null", `{"n":1}`, []string{"null", `"x"`, "null"}, "1 x []", ``},
		{"do not fit", `{"n":1,"z":2}`, []string{`"1.x"`, `"x"`, "[1]"}, "1 x []",
			`{"z":{"reason":"new_field","value":2},"expr:cost":{"reason":"bad_format","column":"cost","value":"1.x"},"expr:pair":{"reason":"wrong_length","column":"pair","value":[1]}}`},
		{"required is missing", `{}`, []string{"1", "", ""}, "missing_required must", ``},
		{"required is null", `{}`, []string{"1", "null", ""}, "null_required must", ``},
		{"required does not fit", `{}`, []string{"1", "7", ""}, "wrong_type must", ``},
		{"the text is what counts", `{"n":2}`, []string{"1", `"y"`, ""}, "2 y []", ``},
	} {
		d := exprDecoder(t)
		var computed [][]byte
		for _, c := range tc.computed {
			if c == "" {
				computed = append(computed, nil)
			} else {
				computed = append(computed, []byte(c))
			}
		}
		b := d.NewBlock()
		out := d.DecodeEvent(&waybill.Record{Topic: "t", Value: []byte(`{"n":99}`)}, []byte(tc.event), computed, 1, b)
		got := ""
		if out.Reject != nil {
			got = string(out.Reject.Code) + " " + out.Reject.Column
		} else {
			got = show(b.Columns[0], 0) + " " + show(b.Columns[2], 0) + " " + show(b.Columns[3], 0)
			if text := rescued(t, d, b); text != tc.rescued {
				t.Errorf("%s: rescued\ngot  %s\nwant %s", tc.name, text, tc.rescued)
			}
		}
		if got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestDecodeEvent_RoundedAndNoComputedValues(t *testing.T) {
	d := exprDecoder(t)
	out := d.DecodeEvent(&waybill.Record{Topic: "t", Value: []byte(`{}`)}, []byte(`{}`), [][]byte{[]byte("1.255"), []byte(`""`), nil}, 1, d.NewBlock())
	if out.Rounded != 1 || d.Rounded()["cost"] != 1 {
		t.Errorf("got %+v", out)
	}
	if out, _ := decode(d, `{}`); out.Reject == nil || out.Reject.Code != MissingRequired {
		t.Errorf("without computed values: %+v", out)
	}
}
