package chmodel

import "fmt"

// DropTablePartition removes the parts of a table partition and forgets their ids; DETACH PARTITION does
// the same to both. On MergeTree the ids of rows that were swallowed stay.
func (s *Server) DropTablePartition(name string, tablePartition int) {
	t := s.must(name)
	removed := s.live(t, &tablePartition)
	s.remove(removed)
	t.forget(removed)
	if t.options.Kind == Replicated {
		t.forgetPartition(tablePartition)
	}
	s.trace("drop partition %s p=%d", name, tablePartition)
}

// Truncate removes all parts of a table and their ids. On MergeTree the ids of rows that were
// swallowed stay.
func (s *Server) Truncate(name string) {
	t := s.must(name)
	removed := s.live(t, nil)
	s.remove(removed)
	t.forget(removed)
	if t.options.Kind == Replicated {
		t.ids = nil
	}
	s.trace("truncate %s", name)
}

// Delete removes the rows that match, by a mutation or a lightweight delete: ids stay, so a retry of
// what was deleted is dropped. It answers how many rows went.
func (s *Server) Delete(name string, match func(Row) bool) int {
	t := s.must(name)
	s.commits++
	removed := 0
	var rewritten []*part
	for _, p := range t.parts {
		if p.gone != 0 {
			continue
		}
		var keep []Row
		for _, r := range p.rows {
			if !match(r) {
				keep = append(keep, r)
			}
		}
		if len(keep) == len(p.rows) {
			continue
		}
		removed += len(p.rows) - len(keep)
		p.gone = s.commits
		rewritten = append(rewritten, &part{number: p.number, tablePartition: p.tablePartition, rows: keep, born: s.commits})
	}
	t.parts = append(t.parts, rewritten...)
	s.trace("delete from %s: %d rows", name, removed)
	return removed
}

// Exchange swaps two names at one moment. Rows and ids stay with the physical table, so a retry by
// name after the swap is inserted again; inserts under way finish where they began (or fail, see
// InsertOptions.FailIfExchanged).
func (s *Server) Exchange(a, b string) {
	s.tables[a], s.tables[b] = s.must(b), s.must(a)
	s.commits++
	s.trace("exchange %s %s", a, b)
}

// Rename gives a table another name, which is free.
func (s *Server) Rename(from, to string) {
	if s.tables[to] != nil {
		panic("chmodel: table exists: " + to)
	}
	s.tables[to] = s.must(from)
	delete(s.tables, from)
	s.commits++
	s.trace("rename %s to %s", from, to)
}

// AttachPartitionFrom copies the parts of a table partition of src into dst. Ids do not come along.
// It is not atomic under a crash: killAfter is the number of parts after which the server dies, -1
// for none. Repeating it doubles the rows on MergeTree; Replicated drops parts that it attached before.
func (s *Server) AttachPartitionFrom(dst, src string, tablePartition, killAfter int) {
	d := s.must(dst)
	parts := s.live(s.must(src), &tablePartition)
	for i, p := range parts {
		if i == killAfter {
			break
		}
		if d.options.Kind == Replicated && d.options.Window > 0 {
			key := fmt.Sprintf("attach:%s", contentKey(p.rows))
			if d.knows(tablePartition, key) {
				continue
			}
			d.record(id{tablePartition: tablePartition, key: key, part: d.born + 1})
		}
		s.add(d, tablePartition, p.rows)
	}
	s.trace("attach partition %s p=%d from %s killAfter=%d", dst, tablePartition, src, killAfter)
}

// ReplacePartition makes a table partition of dst hold what src's holds, wiping what else was there.
// Readers see one or the other, except after a crash: killAfter is the number of part changes (first
// new parts come, then old ones go) after which the server dies, -1 for none; a rerun converges.
// Ids of the partition stay on MergeTree and go on Replicated.
func (s *Server) ReplacePartition(dst, src string, tablePartition, killAfter int) {
	d := s.must(dst)
	old := s.live(d, &tablePartition)
	fresh := s.live(s.must(src), &tablePartition)
	s.commits++
	steps := 0
	next := func() bool { steps++; return killAfter < 0 || steps <= killAfter }
	for _, p := range fresh {
		if next() {
			d.born++
			d.parts = append(d.parts, &part{number: d.born, tablePartition: tablePartition, rows: p.rows, born: s.commits})
		}
	}
	for _, p := range old {
		if next() {
			p.gone = s.commits
		}
	}
	if d.options.Kind == Replicated {
		d.forgetPartition(tablePartition)
	}
	s.trace("replace partition %s p=%d from %s killAfter=%d", dst, tablePartition, src, killAfter)
}

// MovePartition moves the parts of a table partition of src, which nobody is writing to, into dst. The
// source's ids survive on MergeTree and go on Replicated.
func (s *Server) MovePartition(src, dst string, tablePartition int) {
	from := s.must(src)
	for _, p := range s.live(from, &tablePartition) {
		s.add(s.must(dst), tablePartition, p.rows)
		p.gone = s.commits
	}
	if from.options.Kind == Replicated {
		from.forgetPartition(tablePartition)
	}
	s.trace("move partition %s p=%d to %s", src, tablePartition, dst)
}

func (s *Server) remove(parts []*part) {
	s.commits++
	for _, p := range parts {
		p.gone = s.commits
	}
}
