// Package redact removes values from records, or makes them unreadable, before anything of a record is stored.
//
// An event is gone through once, as text. What a rule covers is replaced where it stands; all else is copied byte for
// byte, blanks and escapes too. So a rule about one field costs no rewriting of the prompt beside it.
//
// Which rule decides: a rule without detectors is about whole values. Of those that cover a value, the first in the policy
// decides, and it wins over detectors. drop and mask take an object or array with all that is in it, whatever other rules
// say of its parts; hash takes the leaves of it. Of rules with the same detector, the first that covers a string decides.
//
// Redacting twice is redacting once: marks that stand for removed values are known and left alone. Dead letters hold
// redacted text, so replaying them gives the same hashes as the first time.
package redact

import (
	"errors"
	"fmt"
	"strings"

	"github.com/waybill-data/waybill/internal/contract"
)

// Redactor is a compiled policy. It belongs to one goroutine at a time.
type Redactor struct {
	rules  []rule
	root   *node
	key    []int // rules about the record's key
	header []int // rules about headers
	hasher *hasher

	nodes  []*node // of the scopes that are open, a stack
	find   finder
	counts []int64
	buf    []byte // Event's answer
	walk   rewriter
	other  []byte    // likewise, a name of another member
	before []int64   // counts
	names  []byte    // those of open members that have escapes, without them: a stack
	plain  []byte    // a string without its escapes
	strs   [2][]byte // a string being redacted, before and after
}

type rule struct {
	contract.RedactRule
	detect set
	header string // its name, of a rule about a header
	name   string
}

// New compiles a policy. secret is the key of hashes; it may be empty if no rule hashes.
func New(r *contract.Redact, secret []byte) (*Redactor, error) {
	out := &Redactor{root: &node{}, counts: make([]int64, len(r.Rules))}
	if len(secret) > 0 {
		out.hasher = newHasher(secret)
	}
	for i := range r.Rules {
		if err := out.add(i, r.Rules[i]); err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
	}
	return out, nil
}

// add compiles one rule.
func (r *Redactor) add(i int, from contract.RedactRule) (err error) {
	to := rule{RedactRule: from, name: nameOf(from)}
	if to.detect, err = setOf(from.Detect); err != nil {
		return err
	}
	switch from.Do {
	case contract.RedactDrop, contract.RedactMask:
	case contract.RedactHash:
		if r.hasher == nil {
			return errors.New("hash needs a secret")
		}
	default:
		return fmt.Errorf("there is no action %q", from.Do)
	}
	r.rules = append(r.rules, to)
	header, isHeader := strings.CutPrefix(from.Kafka, "header.")
	switch {
	case from.Kafka != "" && from.Path != "":
		return errors.New("path and kafka are two places")
	case from.Kafka == "key":
		r.key = append(r.key, i)
	case isHeader && header != "":
		r.rules[i].header = header
		r.header = append(r.header, i)
	case from.Kafka != "":
		return fmt.Errorf("%q is neither key nor header.NAME", from.Kafka)
	default:
		return r.root.add(from.Path, i)
	}
	return nil
}

// nameOf is what metrics call a rule: where it looks, for what, and what it does.
func nameOf(r contract.RedactRule) string {
	place := r.Path
	switch {
	case r.Kafka != "":
		place = "kafka " + r.Kafka
	case place == "":
		place = "event"
	}
	if len(r.Detect) > 0 {
		place += " " + strings.Join(r.Detect, ",")
	}
	return place + ": " + string(r.Do)
}

// Count is how many values a rule changed.
type Count struct {
	Rule   string `json:"rule"` // "user.email: hash", "messages email,card: mask", "kafka key: drop"
	Values int64  `json:"values"`
}

// Counts are the values that each rule changed since the last call, in the policy's order: 0 for a rule that changed none, which may
// be one whose path is spelt wrong. An object that is dropped or masked as a whole is one value; so is a string, however many
// matches are in it.
func (r *Redactor) Counts() []Count {
	out := make([]Count, len(r.counts))
	for i, n := range r.counts {
		out[i] = Count{r.rules[i].name, n}
	}
	clear(r.counts)
	return out
}
