package workload

import "strconv"

// Small are clicks: events of about 150 bytes with 8 fields.
var Small = &Workload{
	Name: "small", Memory: "270MiB",
	Columns: []Column{
		{"ts", "DateTime64(3, 'UTC')", true},
		{"user_id", "UInt64", true},
		{"kind", "LowCardinality(String)", true},
		{"path", "String", true},
		{"country", "LowCardinality(String)", true},
		{"duration_ms", "UInt32", true},
		{"value", "Float64", true},
		{"premium", "Bool", true},
	},
	OrderBy: "(kind, ts)",
	Some:    `event.kind == "page_view"`, Every: `event.kind != ""`,
	New: func(seed uint64) Generator { return &small{newSource(seed)} },
}

type small struct{ source }

func (g *small) Append(b []byte) []byte {
	g.tick(4)
	b = g.appendTime(append(b, `{"ts":"`...))
	b = strconv.AppendInt(append(b, `","user_id":`...), int64(g.rng.IntN(10_000_000)), 10)
	b = appendText(append(b, `,"kind":`...), g.skewed(kinds))
	b = strconv.AppendInt(append(b, `,"path":"/products/`...), int64(g.rng.IntN(100_000)), 10)
	b = appendText(append(b, `","country":`...), g.skewed(countries))
	b = strconv.AppendInt(append(b, `,"duration_ms":`...), int64(g.rng.IntN(30_000)), 10)
	b = strconv.AppendFloat(append(b, `,"value":`...), float64(g.rng.IntN(100_000))/100, 'f', -1, 64)
	b = strconv.AppendBool(append(b, `,"premium":`...), g.rng.IntN(4) == 0)
	return append(b, '}')
}
