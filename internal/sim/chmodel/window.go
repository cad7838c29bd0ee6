package chmodel

import (
	"fmt"
	"hash/fnv"
	"slices"
)

// id is one entry of a table's deduplication log. Key is what identifies a block (token or content,
// and the block's number in its insert); the same key in another table partition is another id.
type id struct {
	tablePartition int
	key            string
	token          string // the token it came from, empty for content ids
	at             int64  // ms: when the slice was committed
	part           int    // the part's number, 0 if there never was one
}

func (t *table) knows(tablePartition int, key string) bool {
	return slices.ContainsFunc(t.ids, func(e id) bool { return e.tablePartition == tablePartition && e.key == key })
}

// record keeps an id and, on MergeTree, at once drops the oldest ones past the window: an insert into
// more table partitions than the window holds evicts its own ids.
func (t *table) record(e id) {
	t.ids = append(t.ids, e)
	if t.options.Kind == MergeTree {
		t.evict()
	}
}

// evict enforces the window. A hit does not renew an id: the order is that of the first landing.
func (t *table) evict() {
	if over := len(t.ids) - t.options.Window; over > 0 {
		t.evicted = append(t.evicted, t.ids[:over]...)
		t.ids = slices.Clone(t.ids[over:])
	}
	if t.options.Kind == MergeTree || t.options.WindowSeconds == 0 || len(t.ids) == 0 {
		return
	}
	newest := t.ids[0].at
	for _, e := range t.ids {
		newest = max(newest, e.at)
	}
	limit := newest - int64(t.options.WindowSeconds)*1000
	t.ids = slices.DeleteFunc(t.ids, func(e id) bool { return e.at < limit })
}

// forget drops the ids of removed parts. MergeTree goes by parts: an id whose part never came, or was
// lost, outlives the dropping of its table partition. Replicated goes by table partition.
func (t *table) forget(removed []*part) {
	gone := func(e id) bool {
		return slices.ContainsFunc(removed, func(p *part) bool { return p.number == e.part })
	}
	t.ids, t.evicted = slices.DeleteFunc(t.ids, gone), slices.DeleteFunc(t.evicted, gone)
}

func (t *table) forgetPartition(tablePartition int) {
	t.ids = slices.DeleteFunc(t.ids, func(e id) bool { return e.tablePartition == tablePartition })
}

// Cleanup is one run of the cleanup thread of a Replicated table: only here do ids past the window
// go. On MergeTree it does nothing, the window there is exact.
func (s *Server) Cleanup(name string) {
	t := s.must(name)
	before := len(t.ids)
	if t.options.Kind == Replicated {
		t.evict()
	}
	s.trace("cleanup %s: %d ids of %d kept", name, len(t.ids), before)
}

// EvictAll forgets every id of a table, as if other writers had used up the window.
func (s *Server) EvictAll(name string) {
	t := s.must(name)
	t.ids, t.evicted = nil, nil
	s.trace("evict %s: all", name)
}

// EvictToken forgets the ids of one token in all table partitions, those of views' blocks derived
// from it included (they carry the token of their source), and answers how many there were.
func (s *Server) EvictToken(name, token string) int {
	t := s.must(name)
	before := len(t.ids)
	t.ids = slices.DeleteFunc(t.ids, func(e id) bool { return e.token == token })
	s.trace("evict %s token %s: %d ids", name, token, before-len(t.ids))
	return before - len(t.ids)
}

// LoseNewestID forgets the newest id and keeps its part, as a power loss does with a log that is not
// fsynced. The log still has what was evicted, so that the window reaches one id further back. It
// reports whether there was an id.
func (s *Server) LoseNewestID(name string) bool {
	t := s.must(name)
	if len(t.ids) == 0 {
		return false
	}
	t.ids = slices.Clone(t.ids[:len(t.ids)-1])
	if last := len(t.evicted) - 1; last >= 0 {
		t.ids = append([]id{t.evicted[last]}, t.ids...)
		t.evicted = t.evicted[:last]
	}
	s.trace("lose newest id of %s", name)
	return true
}

// Knows reports whether a table remembers a token in a table partition, for block 0.
func (s *Server) Knows(name, token string, tablePartition int) bool {
	return s.must(name).knows(tablePartition, tokenKey(token, 0))
}

// IDs is the number of ids that a table keeps.
func (s *Server) IDs(name string) int { return len(s.must(name).ids) }

// tokenKey and contentKey have separate name spaces: an insert with a token does not know the same
// rows inserted without one.
func tokenKey(token string, block int) string { return fmt.Sprintf("token:%s#%d", token, block) }

// contentKey is the hash of the whole inserted block, not of the slice: {p1, p2} followed by {p1}
// alone is not a repetition.
func contentKey(rows []Row) string {
	h := fnv.New64a()
	for _, r := range rows {
		h.Write(fmt.Appendf(nil, "%+v;", r))
	}
	return fmt.Sprintf("content:%016x", h.Sum64())
}

// viewKey derives the id of a view's block from its source's and the view's name.
func viewKey(v *view, sourceKey string) string {
	return fmt.Sprintf("view:%s altered=%v|%s", v.name, v.altered, sourceKey)
}
