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
	count int64  // of an unmapped one: rows that had it, since the last drain
	seen  uint64 // the visit of an object that has had it
}

// member is a spelling of a slot's name: its own, or one with escapes in it.
type member struct {
	slot *slot
	// The spelling and the closing quote: the first 8 bytes as a number, under a mask if there are fewer, and
	// the rest.
	head, mask uint64
	rest       string
	size       int // in bytes, closing quote included
	// next are the members that have followed it, the last one first: producers write the same keys in the
	// same order, give or take an optional one.
	next [2]*member
}

// members are the spellings known at a node, for finding them fast. The zero value is ready after learn.
type members struct {
	first member // of no name: what comes first in an object follows it
	slots map[string]*slot
	known []*member
	table []*member // open addressing, linear probing, at most half full
}

// maxMember bounds the names that are learnt: a longer one is not looked up by its first bytes.
const maxMember = 256

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
	quoted := spelling + `"`
	n := &member{slot: s, size: len(quoted)}
	var head [8]byte
	copied := copy(head[:], quoted)
	n.head = binary.LittleEndian.Uint64(head[:])
	n.mask = ^uint64(0) >> (64 - 8*copied)
	n.rest = quoted[copied:]
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

func (m *members) put(n *member) {
	i := m.home(n.head, n.size)
	for m.table[i] != nil {
		i = (i + 1) & (len(m.table) - 1)
	}
	m.table[i] = n
}

func (m *members) home(head uint64, size int) int {
	h := (head ^ uint64(size)*0x9e3779b97f4a7c15) * 0xff51afd7ed558ccd
	return int(h>>32) & (len(m.table) - 1)
}

// at reports whether text has n's spelling, closing quote included, at i.
func (n *member) at(text []byte, i int) bool {
	if i+8 > len(text) || binary.LittleEndian.Uint64(text[i:])&n.mask != n.head {
		return false
	}
	return n.rest == "" || i+n.size <= len(text) && string(text[i+8:i+n.size]) == n.rest
}

// find is the member spelt text[i:end], the closing quote being at end; nil if it is not known.
func (m *members) find(text []byte, i, end int) *member {
	size := end + 1 - i
	if len(m.table) == 0 || size > maxMember || i+8 > len(text) {
		return m.scan(text, i, size)
	}
	head := binary.LittleEndian.Uint64(text[i:])
	if size < 8 {
		head &= 1<<(8*size) - 1
	}
	for at := m.home(head, size); m.table[at] != nil; at = (at + 1) & (len(m.table) - 1) {
		n := m.table[at]
		if n.head == head && n.size == size && (n.rest == "" || string(text[i+8:i+size]) == n.rest) {
			return n
		}
	}
	return nil
}

// scan is find near the end of the text.
func (m *members) scan(text []byte, i, size int) *member {
	var head [8]byte
	copied := copy(head[:min(8, size)], text[i:])
	word := binary.LittleEndian.Uint64(head[:])
	for _, n := range m.known {
		if n.size == size && n.head == word && string(text[i+copied:i+size]) == n.rest {
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
	used  int
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
