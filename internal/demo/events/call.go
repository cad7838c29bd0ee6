package events

import (
	"strconv"
	"time"

	"github.com/google/uuid"
)

// call is one LLM call before it is written down.
type call struct {
	kind                      Kind
	seq                       uint64
	trace                     uuid.UUID
	at                        time.Time
	tenant, environment       string
	release                   string
	model                     model
	temperature               float64
	maxTokens                 int
	inputTokens, outputTokens uint32
	cachedTokens              uint32
	latencyMS, ttftMS         int // ttftMS < 0: not streamed
	status, failure           string
	system, user, assistant   string
	tags                      []string
	session, person, variant  int
}

// call draws everything about a call, in a fixed order, whatever its kind.
func (g *Generator) call(kind Kind) call {
	c := call{kind: kind, seq: g.seq, trace: g.uuid(), at: g.when(), tenant: skewed(g, tenants), environment: skewed(g, environments),
		release: skewed(g, releases), model: skewed(g, models), temperature: float64(g.rng.IntN(21)) / 20, maxTokens: 256 << g.rng.IntN(5),
		status: "ok", system: pick(g, systems), user: pick(g, questions), assistant: pick(g, answers) + " " + pick(g, answers),
		session: g.rng.IntN(1 << 20), person: g.rng.IntN(50_000), variant: g.rng.IntN(4), ttftMS: -1}
	c.inputTokens = 50 + g.rng.Uint32N(70)*g.rng.Uint32N(70) // many short prompts, few long ones
	c.outputTokens = 1 + g.rng.Uint32N(uint32(c.maxTokens))
	if g.rng.IntN(3) == 0 {
		c.cachedTokens = c.inputTokens * g.rng.Uint32N(10) / 10
	}
	c.latencyMS = 120 + int(c.outputTokens)*(6+g.rng.IntN(12))
	if g.rng.IntN(4) > 0 {
		c.ttftMS = 60 + g.rng.IntN(c.latencyMS-100)/4
	}
	for range g.rng.IntN(4) {
		c.tags = append(c.tags, pick(g, tags))
	}
	if g.rng.IntN(50) == 0 {
		c.status, c.failure, c.outputTokens, c.assistant = "error", pick(g, failures), 0, ""
	}
	return c
}

// cost in US dollars. Whole numbers up to the division: floating point that is rounded twice on one machine and once on
// another would make other bytes there.
func (c *call) cost() float64 {
	nanos := int64(c.inputTokens-c.cachedTokens)*c.model.inputPrice + int64(c.outputTokens)*c.model.outputPrice
	return float64(nanos) / 1e9
}

// append writes the event as JSON.
func (c *call) append(b []byte) []byte {
	b = append(b, `{"seq":`...)
	b = strconv.AppendUint(b, c.seq, 10)
	if c.kind != MissingField {
		b = appendText(append(b, `,"trace_id":`...), c.trace.String())
	}
	b = appendText(append(b, `,"timestamp":`...), c.at.Format(c.layout()))
	b = appendText(append(b, `,"tenant":`...), c.tenant)
	b = appendText(append(b, `,"environment":`...), c.environment)
	b = appendText(append(b, `,"release":`...), c.release)
	b = c.appendRequest(append(b, `,"request":`...))
	b = c.appendUsage(append(b, `,"usage":`...))
	b = strconv.AppendInt(append(b, `,"latency_ms":`...), int64(c.latencyMS), 10)
	b = append(b, `,"ttft_ms":`...)
	if c.ttftMS < 0 {
		b = append(b, "null"...)
	} else {
		b = strconv.AppendInt(b, int64(c.ttftMS), 10)
	}
	b = appendText(append(b, `,"status":`...), c.status)
	b = append(b, `,"error":`...)
	if c.failure == "" {
		b = append(b, "null"...)
	} else {
		b = appendText(b, c.failure)
	}
	b = strconv.AppendFloat(append(b, `,"cost":`...), c.cost(), 'f', -1, 64)
	b = c.appendMessages(append(b, `,"messages":`...))
	b = append(b, `,"tags":[`...)
	for i, t := range c.tags {
		b = appendText(comma(b, i), t)
	}
	b = c.appendMetadata(append(b, `],"metadata":`...))
	if c.kind == NewField {
		b = append(b, `,"guardrail":{"verdict":"allow","score":0.98}`...)
	}
	return append(b, '}')
}

func (c *call) layout() string {
	if c.kind == NoZone {
		return "2006-01-02T15:04:05.000"
	}
	return "2006-01-02T15:04:05.000Z07:00"
}

func (c *call) appendRequest(b []byte) []byte {
	b = appendText(append(b, `{"model":`...), c.model.name)
	b = appendText(append(b, `,"provider":`...), c.model.provider)
	b = strconv.AppendFloat(append(b, `,"temperature":`...), c.temperature, 'f', -1, 64)
	b = strconv.AppendInt(append(b, `,"max_tokens":`...), int64(c.maxTokens), 10)
	return append(b, '}')
}

func (c *call) appendUsage(b []byte) []byte {
	output := int64(c.outputTokens)
	if c.kind == NegativeTokens {
		output = -1 - output
	}
	b = strconv.AppendUint(append(b, `{"input_tokens":`...), uint64(c.inputTokens), 10)
	b = strconv.AppendInt(append(b, `,"output_tokens":`...), output, 10)
	b = strconv.AppendUint(append(b, `,"cached_tokens":`...), uint64(c.cachedTokens), 10)
	return append(b, '}')
}

func (c *call) appendMessages(b []byte) []byte {
	b = appendMessage(append(b, '['), "system", c.system)
	user := c.user
	if c.kind == InvalidUTF8 {
		user += " caf\xe9" // Latin-1, as an old client would send it
	}
	b = appendMessage(append(b, ','), "user", user)
	if c.assistant != "" {
		b = appendMessage(append(b, ','), "assistant", c.assistant)
	}
	return append(b, ']')
}

func appendMessage(b []byte, role, content string) []byte {
	b = appendText(append(b, `{"role":`...), role)
	b = appendText(append(b, `,"content":`...), content)
	return append(b, '}')
}

func (c *call) appendMetadata(b []byte) []byte {
	b = append(b, `{"user":"u_`...)
	b = strconv.AppendInt(b, int64(c.person), 10)
	b = append(b, `","session":"s_`...)
	b = strconv.AppendInt(b, int64(c.session), 36)
	b = append(b, `","experiment":"prompt-v`...)
	b = strconv.AppendInt(b, int64(c.variant), 10)
	return append(b, `"}`...)
}

func comma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

// appendText writes a JSON string. Bytes that are no UTF-8 pass as they are.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
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
	return append(b, '"')
}
