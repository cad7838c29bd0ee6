// Package events generates realistic LLM call events, deterministically by seed: JSON of about 800 bytes, with a small share
// of broken ones of several kinds. The demo, benchmarks and end-to-end tests use it.
//
// Every event carries its own sequence number, and the generator says of each what it is and what it counts, so that sums
// over a table can be proved without trusting whoever filled it.
package events

import (
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
)

// Kind is what is right or wrong with an event.
type Kind uint8

// The kinds of event.
const (
	Good           Kind = iota
	NewField            // good, with a field that no contract knows
	Tombstone           // a nil value: nothing to write, nothing wrong
	Truncated           // the text ends in the middle of the JSON value
	MissingField        // no trace_id
	NegativeTokens      // usage.output_tokens below zero
	NoZone              // a timestamp without a time zone
	InvalidUTF8         // a Latin-1 byte in a string
	kinds
)

// Kinds lists every kind.
func Kinds() []Kind {
	out := make([]Kind, kinds)
	for i := range out {
		out[i] = Kind(i)
	}
	return out
}

var kindNames = [kinds]string{"good", "new-field", "tombstone", "truncated", "missing-field", "negative-tokens", "no-zone", "invalid-utf8"}

func (k Kind) String() string { return kindNames[k] }

// Row reports whether the event belongs into the table.
func (k Kind) Row() bool { return k == Good || k == NewField }

// DeadLetter reports whether the event can be no row of a strict contract.
func (k Kind) DeadLetter() bool { return k > Tombstone }

// perTenThousand is the share of each kind that is not Good.
var perTenThousand = [kinds]int{NewField: 25, Tombstone: 10, Truncated: 10, MissingField: 10, NegativeTokens: 10, NoZone: 10, InvalidUTF8: 10}

// Share is the expected share of a kind among all events, between 0 and 1.
func Share(k Kind) float64 {
	if k != Good {
		return float64(perTenThousand[k]) / 10_000
	}
	rest := 10_000
	for _, n := range perTenThousand {
		rest -= n
	}
	return float64(rest) / 10_000
}

// Facts are what one event counts. What it says in broken events is what it would have said had it been whole.
type Facts struct {
	Seq          uint64 // 1, 2, 3, ... for all kinds
	Kind         Kind
	InputTokens  uint32
	OutputTokens uint32
}

// Generator makes events. It belongs to one goroutine at a time.
type Generator struct {
	rng  *rand.Rand
	seq  uint64
	at   time.Time
	last Facts
	text []byte // grows to the largest event and is copied from
}

// start is the moment of the first event: a constant, so that the same seed is the same bytes on any day.
var start = time.Date(2026, time.November, 20, 0, 0, 0, 0, time.UTC)

// New makes a generator. The same seed makes the same events.
func New(seed uint64) *Generator {
	return &Generator{rng: rand.New(rand.NewPCG(seed, 0x776179_62696c6c)), at: start}
}

// Next makes the next event: its Kafka key (the trace's id), its value (nil for a tombstone) and its kind. Key and value
// belong to the caller.
func (g *Generator) Next() (key, value []byte, kind Kind) {
	g.seq++
	g.at = g.at.Add(time.Duration(g.rng.IntN(500)) * time.Millisecond)
	kind = g.kind()
	c := g.call(kind)
	g.last = Facts{Seq: g.seq, Kind: kind, InputTokens: c.inputTokens, OutputTokens: c.outputTokens}
	key = []byte(c.trace.String())
	if kind == Tombstone {
		return key, nil, kind
	}
	g.text = c.append(g.text[:0])
	end := len(g.text)
	if kind == Truncated {
		end = 1 + g.rng.IntN(end-1)
	}
	return key, append([]byte(nil), g.text[:end]...), kind
}

// Last is what the event that Next made last counts.
func (g *Generator) Last() Facts { return g.last }

func (g *Generator) kind() Kind {
	n := g.rng.IntN(10_000)
	for k := NewField; k < kinds; k++ {
		if n < perTenThousand[k] {
			return k
		}
		n -= perTenThousand[k]
	}
	return Good
}

// when is the event's own time: mostly in order, now and then as late as a mobile client that was offline. Late ones fall
// into other table partitions than their neighbours.
func (g *Generator) when() time.Time {
	if g.rng.IntN(200) == 0 {
		return g.at.Add(-time.Duration(g.rng.IntN(36*3600)) * time.Second)
	}
	return g.at
}

func (g *Generator) uuid() uuid.UUID {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(g.rng.UintN(256))
	}
	id[6] = id[6]&0x0f | 0x40 // version 4
	id[8] = id[8]&0x3f | 0x80 // variant of RFC 9562
	return id
}

func pick[T any](g *Generator, from []T) T { return from[g.rng.IntN(len(from))] }

// skewed picks early entries more often than late ones, as tenants and models are used.
func skewed[T any](g *Generator, from []T) T {
	return from[min(g.rng.IntN(len(from)), g.rng.IntN(len(from)))]
}
