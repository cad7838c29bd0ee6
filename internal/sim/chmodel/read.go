package chmodel

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/waybill-data/waybill"
)

// OffsetCount says how many rows carry an offset.
type OffsetCount struct {
	Offset int64
	Count  int
}

// Offsets are the offsets found in a table, ascending, with their multiplicity.
type Offsets []OffsetCount

// Set is the set of offsets, multiplicity left out.
func (o Offsets) Set() waybill.OffsetSet {
	var s waybill.OffsetSet
	for _, e := range o {
		s.Add(e.Offset)
	}
	return s
}

// Doubled are the offsets that are there more than once.
func (o Offsets) Doubled() waybill.OffsetSet {
	var s waybill.OffsetSet
	for _, e := range o {
		if e.Count > 1 {
			s.Add(e.Offset)
		}
	}
	return s
}

// Present answers which offsets in [first, next) of a partition a table holds now: the linearizable
// read-back.
func (s *Server) Present(table, topic string, partition int32, epoch uint32, first, next int64) Offsets {
	return s.PresentLagged(table, topic, partition, epoch, first, next, s.commits)
}

// PresentLagged is Present as a replica answers that has not seen more than the first asOf commits.
// The table's name is resolved now.
func (s *Server) PresentLagged(table, topic string, partition int32, epoch uint32, first, next int64, asOf uint64) Offsets {
	counts := map[int64]int{}
	for _, p := range s.must(table).parts {
		if !p.visible(asOf) {
			continue
		}
		for _, r := range p.rows {
			if r.Topic == topic && r.Partition == partition && r.Epoch == epoch && first <= r.Offset && r.Offset < next {
				counts[r.Offset]++
			}
		}
	}
	out := make(Offsets, 0, len(counts))
	for o, n := range counts {
		out = append(out, OffsetCount{o, n})
	}
	slices.SortFunc(out, func(a, b OffsetCount) int { return cmp.Compare(a.Offset, b.Offset) })
	return out
}

// Rows are a table's rows in the order in which they landed.
func (s *Server) Rows(table string) []Row {
	var out []Row
	for _, p := range s.live(s.must(table), nil) {
		out = append(out, p.rows...)
	}
	return out
}

// Parts is the number of parts in a table partition; the model merges nothing.
func (s *Server) Parts(table string, tablePartition int) int {
	return len(s.live(s.must(table), &tablePartition))
}

// Clone is a server that shares nothing with s that either may change. Inserts under way stay with s.
func (s *Server) Clone() *Server {
	c := &Server{Trace: s.Trace, tables: map[string]*table{}, commits: s.commits, nextID: s.nextID}
	for name, t := range s.tables {
		c.tables[name] = t.clone()
	}
	for _, v := range s.views {
		w := *v
		c.views = append(c.views, &w)
	}
	return c
}

func (t *table) clone() *table {
	c := *t
	c.ids, c.evicted = slices.Clone(t.ids), slices.Clone(t.evicted)
	c.swallow = slices.Clone(t.swallow)
	c.refuse = slices.Clone(t.refuse)
	c.parts = make([]*part, len(t.parts))
	for i, p := range t.parts {
		q := *p // rows of a part never change in place
		c.parts[i] = &q
	}
	return &c
}

// Fingerprint is a hash of all that can influence future answers: equal fingerprints, equal servers.
func (s *Server) Fingerprint() uint64 {
	h := fnv.New64a()
	h.Write([]byte(s.Dump()))
	return h.Sum64()
}

// Dump is the server's state as text, the same for the same state, for transcripts.
func (s *Server) Dump() string {
	var b strings.Builder
	for _, name := range s.Tables() {
		t := s.tables[name]
		fmt.Fprintf(&b, "table %s uuid=%d %s window=%d/%ds poison=%v\n", name, t.uuid, t.options.Kind, t.options.Window, t.options.WindowSeconds, t.options.PoisonRefused)
		for _, p := range s.live(t, nil) {
			fmt.Fprintf(&b, "  part p=%d", p.tablePartition)
			for _, r := range p.rows {
				fmt.Fprintf(&b, " %s/%d@%d:e%d:%x", r.Topic, r.Partition, r.Offset, r.Epoch, r.Content)
			}
			b.WriteByte('\n')
		}
		for _, e := range t.ids {
			fmt.Fprintf(&b, "  id p=%d %s at=%d\n", e.tablePartition, e.key, e.at)
		}
		for _, w := range t.swallow {
			fmt.Fprintf(&b, "  armed %+v\n", w)
		}
		for _, r := range t.refuse {
			fmt.Fprintf(&b, "  armed %+v\n", r)
		}
	}
	for _, v := range s.views {
		fmt.Fprintf(&b, "view %s fails=%v altered=%v %+v\n", v.name, v.fails, v.altered, v.options)
	}
	return b.String()
}
