package backfill

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
)

// ScopeKind says how records are chosen.
type ScopeKind string

// Kinds of scopes.
const (
	ScopeAll         ScopeKind = "all"          // whatever the topic retains, and all that comes
	ScopeTime        ScopeKind = "time"         // by the event's time
	ScopeKafkaTime   ScopeKind = "kafka-time"   // by the record's timestamp
	ScopeOffsets     ScopeKind = "offsets"      // by offset
	ScopePlan        ScopeKind = "plan"         // what a plan has written
	ScopeFinding     ScopeKind = "finding"      // what a finding is about
	ScopeDeadLetters ScopeKind = "dead-letters" // dead letters that are waiting or have failed again
	ScopeRescued     ScopeKind = "rescued"      // rows with something in the rescue column
)

// Scope is which records a backfill makes rows of anew, as a person says it.
type Scope struct {
	Kind     ScopeKind
	From, To time.Time                   // of a time
	Offsets  map[int32]waybill.OffsetSet // of offsets
	ID       string                      // of a plan or finding, or its beginning
	Text     string
}

// ScopeForms is how a scope is written.
const ScopeForms = "all, time:FROM..TO, kafka-time:FROM..TO, offsets:PARTITION:FIRST-LAST,..., plan:ID, finding:ID, dead-letters or rescued"

// ParseScope reads a scope.
func ParseScope(text string) (Scope, error) {
	kind, rest, more := strings.Cut(text, ":")
	s := Scope{Kind: ScopeKind(kind), Text: text}
	var err error
	switch s.Kind {
	case ScopeAll, ScopeDeadLetters, ScopeRescued:
		if more {
			err = errors.New("nothing follows " + kind)
		}
	case ScopeTime, ScopeKafkaTime:
		err = s.times(rest)
	case ScopeOffsets:
		err = s.offsets(rest)
	case ScopePlan, ScopeFinding:
		if s.ID = strings.ToLower(rest); s.ID == "" {
			err = errors.New("name the " + kind)
		}
	default:
		err = errors.New("write " + ScopeForms)
	}
	if err != nil {
		return Scope{}, fmt.Errorf("scope %q: %w", text, err)
	}
	return s, nil
}

// timeForms are how a time may be written; without a zone it is UTC.
var timeForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"}

func (s *Scope) times(text string) error {
	from, to, ok := strings.Cut(text, "..")
	if !ok {
		return errors.New("write FROM..TO, like 2026-11-01..2026-11-04; what is of the time TO itself is not in it")
	}
	for _, x := range []struct {
		text string
		into *time.Time
	}{{from, &s.From}, {to, &s.To}} {
		t, err := parseTime(x.text)
		if err != nil {
			return err
		}
		*x.into = t
	}
	if !s.From.Before(s.To) {
		return errors.New("FROM is not before TO")
	}
	return nil
}

func parseTime(text string) (time.Time, error) {
	for _, form := range timeForms {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2026-11-01, or 2026-11-01T09:30:00Z", text)
}

func (s *Scope) offsets(text string) error {
	s.Offsets = map[int32]waybill.OffsetSet{}
	for part := range strings.SplitSeq(text, ",") {
		bad := fmt.Errorf("%q: write PARTITION:FIRST-LAST, like 3:1000-1999", part)
		partition, offsets, ok := strings.Cut(part, ":")
		first, last, ranged := strings.Cut(offsets, "-")
		if !ranged {
			last = first
		}
		p, perr := strconv.ParseInt(partition, 10, 32)
		f, ferr := strconv.ParseInt(first, 10, 64)
		l, lerr := strconv.ParseInt(last, 10, 64)
		if !ok || perr != nil || ferr != nil || lerr != nil || p < 0 || f < 0 || l < f {
			return bad
		}
		set := s.Offsets[int32(p)]
		set.AddSpan(waybill.Span{First: f, Next: l + 1})
		s.Offsets[int32(p)] = set
	}
	return nil
}
