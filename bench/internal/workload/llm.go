package workload

import (
	"math/rand/v2"
	"strconv"
	"time"
)

// LLM are calls of language models: events of about 850 bytes with 19 fields.
var LLM = &Workload{
	Name: "llm", Memory: "400MiB",
	Columns: []Column{
		{"id", "UUID", true},
		{"timestamp", "DateTime64(3, 'UTC')", true},
		{"project_id", "LowCardinality(String)", true},
		{"environment", "LowCardinality(String)", true},
		{"provider", "LowCardinality(String)", true},
		{"model", "LowCardinality(String)", true},
		{"status", "LowCardinality(String)", true},
		{"prompt", "String", true},
		{"completion", "String", true},
		{"input_tokens", "UInt32", true},
		{"output_tokens", "UInt32", true},
		{"latency_ms", "UInt32", true},
		{"temperature", "Float32", true},
		{"cost_usd", "Float64", true},
		{"tags", "Array(LowCardinality(String))", true},
		{"metadata", "Map(LowCardinality(String), String)", true},
		{"ttft_ms", "Nullable(UInt32)", false},
		{"user_score", "Nullable(Float32)", false},
		{"error", "Nullable(String)", false},
	},
	OrderBy: "(project_id, timestamp)",
	Some:    `event.environment == "prod"`, Every: `event.environment != ""`,
	New: func(seed uint64) Generator { return &llm{source: newSource(seed)} },
}

type llm struct{ source }

func (g *llm) Append(b []byte) []byte {
	g.tick(40)
	b = g.appendUUID(append(b, `{"id":"`...))
	b = g.appendTime(append(b, `","timestamp":"`...))
	b = appendText(append(b, `","project_id":`...), g.skewed(projects))
	b = appendText(append(b, `,"environment":`...), g.skewed(environments))
	b = appendText(append(b, `,"provider":`...), g.skewed(providers))
	b = appendText(append(b, `,"model":`...), g.skewed(models))
	failed := g.rng.IntN(50) == 0
	b = appendText(append(b, `,"status":`...), map[bool]string{false: "ok", true: "error"}[failed])
	b = g.appendProse(append(b, `,"prompt":`...), questions, 2)
	b = g.appendProse(append(b, `,"completion":`...), answers, 2)
	b = g.appendNumbers(b)
	b = g.appendTags(append(b, `,"tags":`...))
	b = g.appendMetadata(append(b, `,"metadata":`...))
	return append(g.appendOptional(b, failed), '}')
}

func (g *llm) appendNumbers(b []byte) []byte {
	b = strconv.AppendInt(append(b, `,"input_tokens":`...), int64(50+g.rng.IntN(70)*g.rng.IntN(70)), 10)
	b = strconv.AppendInt(append(b, `,"output_tokens":`...), int64(1+g.rng.IntN(2048)), 10)
	b = strconv.AppendInt(append(b, `,"latency_ms":`...), int64(120+g.rng.IntN(20_000)), 10)
	b = strconv.AppendFloat(append(b, `,"temperature":`...), float64(g.rng.IntN(21))/20, 'f', -1, 64)
	return strconv.AppendFloat(append(b, `,"cost_usd":`...), float64(g.rng.IntN(200_000))/1e6, 'f', -1, 64)
}

func (g *llm) appendTags(b []byte) []byte {
	b = append(b, '[')
	for i := range 1 + g.rng.IntN(4) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, g.skewed(tags))
	}
	return append(b, ']')
}

func (g *llm) appendMetadata(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"user":"u_`...), int64(g.rng.IntN(50_000)), 10)
	b = strconv.AppendInt(append(b, `","session":"s_`...), int64(g.rng.IntN(1<<30)), 36)
	b = strconv.AppendInt(append(b, `","experiment":"prompt-v`...), int64(g.rng.IntN(4)), 10)
	b = appendText(append(b, `","release":`...), g.skewed(releases))
	b = appendText(append(b, `,"region":`...), g.skewed(regions))
	return append(b, '}')
}

func (g *llm) appendOptional(b []byte, failed bool) []byte {
	if g.rng.IntN(4) > 0 {
		b = strconv.AppendInt(append(b, `,"ttft_ms":`...), int64(60+g.rng.IntN(900)), 10)
	}
	if g.rng.IntN(5) == 0 {
		b = strconv.AppendFloat(append(b, `,"user_score":`...), float64(g.rng.IntN(11))/10, 'f', -1, 64)
	}
	if failed {
		b = appendText(append(b, `,"error":`...), g.skewed(failures))
	}
	return b
}

// source is chance and time, both by seed alone.
type source struct {
	rng *rand.Rand
	at  time.Time
}

// start is the moment of the first event.
var start = time.Date(2026, time.November, 20, 0, 0, 0, 0, time.UTC)

func newSource(seed uint64) source {
	return source{rng: rand.New(rand.NewPCG(seed, 0x776179_62696c6c)), at: start}
}

// tick moves the clock by less than the given milliseconds.
func (s *source) tick(ms int) { s.at = s.at.Add(time.Duration(s.rng.IntN(ms)) * time.Millisecond) }

func (s *source) appendTime(b []byte) []byte { return s.at.AppendFormat(b, "2006-01-02T15:04:05.000Z") }

func (s *source) appendUUID(b []byte) []byte {
	const hex = "0123456789abcdef"
	hi, lo := s.rng.Uint64()&^0xf000|0x4000, s.rng.Uint64()&^(3<<62)|2<<62 // version 4, variant of RFC 9562
	for i := range 32 {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			b = append(b, '-')
		}
		b = append(b, hex[hi>>60])
		hi, lo = hi<<4|lo>>60, lo<<4
	}
	return b
}

// skewed picks early entries more often than late ones, as tenants and models are used.
func (s *source) skewed(from []string) string {
	return from[min(s.rng.IntN(len(from)), s.rng.IntN(len(from)))]
}

// appendProse writes n passages as one JSON string.
func (s *source) appendProse(b []byte, from []string, n int) []byte {
	b = append(b, '"')
	for i := range n {
		if i > 0 {
			b = append(b, ' ')
		}
		b = appendEscaped(b, from[s.rng.IntN(len(from))])
	}
	return append(b, '"')
}

func appendText(b []byte, s string) []byte { return append(appendEscaped(append(b, '"'), s), '"') }

func appendEscaped(b []byte, s string) []byte {
	for i := range len(s) {
		switch ch := s[i]; ch {
		case '"', '\\':
			b = append(b, '\\', ch)
		case '\n':
			b = append(b, `\n`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, ch)
		}
	}
	return b
}
