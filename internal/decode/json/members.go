package json

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// slot is one member that objects at a node can have: mapped, or unmapped and met before.
type slot struct {
	name  string
	child *node  // nil: no path goes there
	only  *field // of child
	stray *stray // if no path goes there; nil if a column takes the whole object
	seen  uint64 // the visit of an object that has had it
}

// member is a spelling of a slot's name: its own, or one with escapes in it.
type member struct {
	slot *slot
	// The spelling as it stands in a text, quotes and a colon included: two words, under masks if they are
	// not full, and the rest.
	first, firstMask, second, secondMask uint64
	rest                                 string
	size                                 int // in bytes
	// next are the members that have followed it, the last one first: producers write the same keys in the
	// same order, give or take an optional one.
	next [2]*member
}

// members are the spellings known at a node, for finding them fast. The zero value is ready after learn.
type members struct {
	before member // of no name: what comes first in an object follows it
	slots  map[string]*slot
	known  []*member
	table  []*member // open addressing, linear probing, at most half full
}

// maxMember bounds the spellings that are kept, in bytes.
const maxMember = 4096

// learn starts anew with the mapped members.
func (m *members) learn(children map[string]*node) {
	*m = members{slots: map[string]*slot{}}
	for name, child := range children {
		s := &slot{name: name, child: child, only: child.only}
		m.slots[name] = s
		if plain(name) {
			m.spell(name, s)
		}
	}
}

// plain names stand in a text as they are.
func plain(name string) bool {
	for i := range len(name) {
		if name[i] < ' ' || name[i] == '"' || name[i] == '\\' {
			return false
		}
	}
	return utf8.ValidString(name)
}

// spell makes a spelling known. It is valid UTF-8 between quotes, so text that equals it needs no further check.
func (m *members) spell(spelling string, s *slot) *member {
	quoted := `"` + spelling + `":`
	n := &member{slot: s, size: len(quoted)}
	n.first, n.firstMask, n.rest = cutWord(quoted)
	n.second, n.secondMask, n.rest = cutWord(n.rest)
	m.known = append(m.known, n)
	if 2*len(m.known) > len(m.table) {
		m.table = make([]*member, max(16, 2*len(m.table)))
		for _, k := range m.known {
			m.put(k)
		}
	} else {
		m.put(n)
	}
	return n
}

// cutWord is the first 8 bytes of s as a number, with a mask of what there is, and what comes after them.
func cutWord(s string) (word, mask uint64, rest string) {
	var b [8]byte
	n := copy(b[:], s)
	if n > 0 {
		mask = ^uint64(0) >> (64 - 8*n)
	}
	return binary.LittleEndian.Uint64(b[:]), mask, s[n:]
}

func (m *members) put(n *member) {
	i := m.home(n.first, n.size)
	for m.table[i] != nil {
		i = (i + 1) & (len(m.table) - 1)
	}
	m.table[i] = n
}

func (m *members) home(first uint64, size int) int {
	h := (first ^ uint64(size)*0x9e3779b97f4a7c15) * 0xff51afd7ed558ccd
	return int(h>>32) & (len(m.table) - 1)
}

// at reports whether t has the member's spelling at i, followed by a colon.
func (n *member) at(t input, i int) bool {
	if (t.word(i)^n.first)&n.firstMask|(t.word(i+8)^n.second)&n.secondMask != 0 {
		return false
	}
	return n.rest == "" || n.restAt(t, i)
}

func (n *member) restAt(t input, i int) bool {
	return i+n.size <= t.n && string(t.from(i+16, i+n.size)) == n.rest
}

// find is the member whose spelling, quotes included, is from i to before end in t; nil if it is not known.
func (m *members) find(t input, i, end int) *member {
	if len(m.table) == 0 {
		return nil
	}
	spelling := t.from(i, end)
	var b [16]byte
	copy(b[:], spelling)
	if len(spelling) < len(b) {
		b[len(spelling)] = ':'
	}
	first, second := binary.LittleEndian.Uint64(b[:8]), binary.LittleEndian.Uint64(b[8:])
	size := len(spelling) + 1
	for at := m.home(first, size); m.table[at] != nil; at = (at + 1) & (len(m.table) - 1) {
		n := m.table[at]
		if n.first == first && n.second == second && n.size == size && (n.rest == "" || string(t.from(i+min(16, len(spelling)), end)) == n.rest[:len(n.rest)-1]) {
			return n
		}
	}
	return nil
}

// follows notes that n came after m.
func (m *member) follows(n *member) {
	if m.next[0] != n {
		m.next[1], m.next[0] = m.next[0], n
	}
}

// hashSet is a set of 64-bit hashes that is emptied without being cleared.
type hashSet struct {
	slots []uint64
}

// begin empties the set and makes room for n hashes.
func (s *hashSet) begin(n int) {
	size := 1 << bits.Len(uint(2*n))
	if len(s.slots) < size {
		s.slots = make([]uint64, size)
	}
	clear(s.slots)
}

// add reports whether h is new. 0 is never new: its owner looks closer.
func (s *hashSet) add(h uint64) bool {
	mask := len(s.slots) - 1
	for i := int(h) & mask; ; i = (i + 1) & mask {
		switch s.slots[i] {
		case h:
			return false
		case 0:
			s.slots[i] = h
			return true
		}
	}
}
