// Package content keeps long values that rows only refer to: once each, by their hash, in a table or as objects on storage that speaks S3. It
// decides nothing about delivery; see docs/adr/0026.
//
// A value is stored before any row is sent that refers to it, so no reader meets a reference that leads nowhere. To store a value again changes
// nothing, so nothing here needs a token, a window or a look at what is there.
package content

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"
)

// Hash is a value's SHA-256.
type Hash = [sha256.Size]byte

// Value is one to be stored.
type Value struct {
	Hash  Hash
	Bytes []byte
}

// Name of a value, as rows say it: 64 hexadecimal digits.
func Name(h Hash) string { return hex.EncodeToString(h[:]) }

// Place is where values are.
type Place interface {
	// Prepare makes the place if it is to be made, and looks at it.
	Prepare(ctx context.Context) error
	// Look says what is wrong with the place. One that is still to be made is well.
	Look(ctx context.Context) error
	// Put stores values. If it fails some may be there.
	Put(ctx context.Context, values []Value) error
	// Get is one value. The error wraps ErrNone if it is not there.
	Get(ctx context.Context, name string) ([]byte, error)
	// Missing says which of the names that the tables refer to are not there.
	Missing(ctx context.Context, refs []Reference) (Missing, error)
	// Sweep says what no row refers to. With remove it removes what has been so since before: see Grace.
	Sweep(ctx context.Context, refs []Reference, before time.Duration, remove bool) (Swept, error)
	// String is the place for people.
	String() string
}

// Missing are references that lead nowhere.
type Missing struct {
	References int64    `json:"references"` // that there are, each value once
	Missing    int64    `json:"missing"`
	Names      []string `json:"names"` // of the missing, at most maxMissing
}

// maxMissing is how many missing values are named.
const maxMissing = 10_000

// Swept is what a sweep has found.
type Swept struct {
	Values  int64 `json:"values"`  // that no row refers to, and that were stored long enough ago to say so for good
	Bytes   int64 `json:"bytes"`   // of them
	Young   int64 `json:"young"`   // that no row refers to, which may be about to
	Removed bool  `json:"removed"` // those that are not young are gone
}

// Store stores values in a place, and remembers for a while which ones, as prompts repeat. It is safe for concurrent use.
type Store struct {
	Place

	mu sync.Mutex
	// now and before are the values that were stored since turned, and in the time before it.
	now, before map[Hash]struct{}
	turned      time.Time
}

// remembered is how long at most a value counts as stored without being stored again: Grace must be far longer, as a sweep goes by when a value was
// stored last.
const remembered = 10 * time.Minute

// maxRemembered is how many values are remembered at most, in each of two halves.
const maxRemembered = 1 << 16

// Grace is how long ago a value must have been stored for a sweep to take it that no row is about to refer to it: a row is sent within remembered,
// an insert's deadline and its timeout of the storing, or the value is stored again before.
const Grace = 2 * time.Hour

// New makes a store.
func New(p Place) *Store {
	return &Store{Place: p, now: map[Hash]struct{}{}, before: map[Hash]struct{}{}, turned: time.Now()}
}

// Stored is what Store did.
type Stored struct{ Values, Bytes, Known int64 }

// Store sees that values are there. Those that come several times are stored once.
func (s *Store) Store(ctx context.Context, values []Value) (done Stored, err error) {
	var missing []Value
	s.mu.Lock()
	s.turn()
	turned := s.turned
	asked := make(map[Hash]struct{}, len(values))
	for _, v := range values {
		_, twice := asked[v.Hash]
		_, now := s.now[v.Hash]
		_, before := s.before[v.Hash]
		if asked[v.Hash] = struct{}{}; twice || now || before {
			done.Known++
			continue
		}
		missing = append(missing, v)
		done.Bytes += int64(len(v.Bytes))
	}
	s.mu.Unlock()
	if done.Values = int64(len(missing)); done.Values == 0 {
		return done, nil
	}
	if err := s.Put(ctx, missing); err != nil {
		return Stored{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if turned != s.turned {
		return done, nil // it was stored in a time that has passed: it is not worth to know how long ago
	}
	for _, v := range missing {
		s.now[v.Hash] = struct{}{}
	}
	return done, nil
}

// turn forgets what was stored long ago. s.mu is held.
func (s *Store) turn() {
	if time.Since(s.turned) < remembered/2 && len(s.now) < maxRemembered {
		return
	}
	s.before, s.now, s.turned = s.now, map[Hash]struct{}{}, time.Now()
}

// Forget has every value stored again: a server that was restarted may have lost what it had acknowledged.
func (s *Store) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.now, s.turned = map[Hash]struct{}{}, map[Hash]struct{}{}, time.Now()
}
