package chmodel

import "slices"

// swallow is an armed fault: the next slice into a table partition leaves its id and loses its rows.
type swallow struct {
	tablePartition int
	token          string // "" is any
	answered       bool
}

// refusal is an armed fault: the next insert into the table is refused before anything is written.
type refusal struct {
	code int
	msg  string
}

// SwallowNext arms the hole of plain MergeTree for the next slice that would land in a table
// partition: its id is recorded and its rows are lost. If answered, the insert goes on and answers
// OK (as after a power loss that took the part); otherwise it ends with an error there (as after a
// failed rename), and later slices do not happen. On Replicated it stands for the loss of a
// part after its transaction (storage loss), and is only real with answered.
func (s *Server) SwallowNext(name string, tablePartition int, answered bool) {
	t := s.must(name)
	t.swallow = append(t.swallow, swallow{tablePartition: tablePartition, answered: answered})
}

// SwallowToken is SwallowNext for the slices of one token only.
func (s *Server) SwallowToken(name, token string, tablePartition int, answered bool) {
	t := s.must(name)
	t.swallow = append(t.swallow, swallow{tablePartition: tablePartition, token: token, answered: answered})
}

// Disarm takes back the swallows that have not struck yet.
func (s *Server) Disarm(name string) { s.must(name).swallow = nil }

// Swallows is the number of armed swallows that have not struck yet.
func (s *Server) Swallows(name string) int { return len(s.must(name).swallow) }

// RefuseNext makes the next insert into a table fail with an error of the server's, with nothing
// written and no token used (too many parts, memory limit, read-only table).
func (s *Server) RefuseNext(name string, code int, msg string) {
	t := s.must(name)
	t.refuse = append(t.refuse, refusal{code, msg})
}

func (t *table) takeSwallow(tablePartition int, token string) *swallow {
	i := slices.IndexFunc(t.swallow, func(w swallow) bool {
		return w.tablePartition == tablePartition && (w.token == "" || w.token == token)
	})
	if i < 0 {
		return nil
	}
	w := t.swallow[i]
	t.swallow = slices.Delete(slices.Clone(t.swallow), i, i+1)
	return &w
}

// LosePart loses the newest part of a table partition and keeps its id, as a power loss without
// fsync does. It reports whether there was one.
func (s *Server) LosePart(name string, tablePartition int) bool {
	parts := s.live(s.must(name), &tablePartition)
	if len(parts) == 0 {
		return false
	}
	s.commits++
	parts[len(parts)-1].gone = s.commits
	s.trace("lose newest part of %s p=%d", name, tablePartition)
	return true
}
