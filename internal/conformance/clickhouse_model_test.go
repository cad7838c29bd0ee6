package conformance_test

import (
	"slices"
	"testing"

	"github.com/waybill-data/waybill/internal/conformance"
	"github.com/waybill-data/waybill/internal/sim/chmodel"
)

// modelNow is the model's present, ms.
const modelNow = 1_000_000

// model drives chmodel through the suite's port.
type model struct {
	s *chmodel.Server
}

var _ conformance.ClickHouseFaults = model{}

func newModelQuiet() conformance.ClickHouse { return model{chmodel.NewServer()} }

func newModel(t *testing.T, _ bool) conformance.ClickHouse {
	s := chmodel.NewServer()
	s.Trace = func(line string) { t.Log(line) }
	return model{s}
}

func (m model) CreateTable(name string, o conformance.TableOptions) {
	kind := chmodel.MergeTree
	if o.Replicated {
		kind = chmodel.Replicated
	}
	m.s.AddTable(name, chmodel.TableOptions{Kind: kind, Window: o.Window, WindowSeconds: o.WindowSeconds, PoisonRefused: o.Constraint})
}

func (m model) SetWindow(table string, window int) {
	o := m.s.Options(table)
	o.Window = window
	m.s.SetOptions(table, o)
}

func (m model) CreateView(source, target string) {
	m.s.AddView(source, target, chmodel.ViewOptions{})
}

func (m model) FailView(source, target string, fails bool) {
	m.s.FailView(chmodel.ViewName(source, target), fails)
	m.s.AlterView(chmodel.ViewName(source, target)) // the real driver's way of breaking it
}

// begin starts an insert; quick says that views are quick enough to overtake the source's last slice.
func (m model) begin(in conformance.Insert, quick bool) *chmodel.Insert {
	o := chmodel.InsertOptions{
		LastSliceLate: quick,
		NoDedup:       in.NoDedup, NoViewDedup: in.NoViewDedup, IgnoreViewErrors: in.IgnoreViewErrors,
		MaxPartitions: in.MaxPartitions, StrictBlocks: in.StrictRows > 0, MaxBlockRows: max(in.StrictRows, in.LooseRows),
	}
	switch in.Deadline {
	case conformance.DeadlineAhead:
		o.Deadline = modelNow + 60_000
	case conformance.DeadlinePassed, conformance.DeadlinePassesMeanwhile:
		o.Deadline = modelNow - 1
	}
	blocks := make([][]chmodel.Row, len(in.Blocks))
	for i, b := range in.Blocks {
		blocks[i] = toModel(b)
	}
	if !in.Separate {
		blocks = [][]chmodel.Row{slices.Concat(blocks...)}
	}
	return m.s.BeginBlocks(in.Table, in.Token, blocks, o)
}

func (m model) Insert(in conformance.Insert) conformance.Answer { return m.InsertAt(in, modelNow) }

func (m model) InsertAt(in conformance.Insert, now int64) conformance.Answer {
	a := m.begin(in, true).Run(now)
	for _, table := range m.s.Tables() {
		m.s.Disarm(table) // the real driver's obstacles last for one insert too
	}
	return fromModel(a)
}

// InsertAtOnce takes one step of each insert in turn.
func (m model) InsertAtOnce(ins ...conformance.Insert) []conformance.Raced {
	var running []*chmodel.Insert
	for _, in := range ins {
		running = append(running, m.begin(in, true))
	}
	out := make([]conformance.Raced, len(ins))
	for busy := true; busy; {
		busy = false
		for i, r := range running {
			if r.Done() {
				continue
			}
			if busy = true; r.Step(modelNow) {
				out[i] = conformance.Raced{Answer: fromModel(r.Result()), Rows: m.Rows(ins[i].Table)}
			}
		}
	}
	return out
}

func (m model) InterruptInView(in conformance.Insert, view string, how conformance.Interrupt) {
	r := m.begin(in, false)
	for len(m.s.Rows(in.Table)) < len(in.Blocks[0]) {
		r.Step(modelNow)
	}
	switch how {
	case conformance.ServerKilled:
		r.Abort()
	case conformance.QueryKilled:
		r.Fail(394, "query was cancelled")
	case conformance.ClientKilled:
		r.Run(modelNow) // the server does not know
	}
}

func (m model) LoseLastID(table string) { m.s.LoseNewestID(table) }

// InsertAndDie commits what a server commits on arrival: blocks kept apart, up to the last one but one
// that was sent.
func (m model) InsertAndDie(in conformance.Insert, blocks int) {
	r := m.begin(in, true)
	if in.Separate {
		for range blocks - 1 {
			r.Step(modelNow)
		}
	}
	r.Abort()
}

func (m model) KillDuring(in conformance.Insert, slices int) {
	r := m.begin(in, true)
	for range slices {
		r.Step(modelNow)
	}
	r.Abort()
}

func (m model) Rows(table string) []conformance.Row {
	var out []conformance.Row
	for _, r := range m.s.Rows(table) {
		out = append(out, conformance.Row{Offset: r.Offset, TablePartition: r.TablePartition, Content: r.Content, Poison: r.Poison})
	}
	return out
}

func (m model) Parts(table string) int {
	n := 0
	for p := range 10 {
		n += m.s.Parts(table, p)
	}
	return n
}

func (m model) DeleteOffsets(table string, _ bool, offsets ...int64) {
	m.s.Delete(table, func(r chmodel.Row) bool { return slices.Contains(offsets, r.Offset) })
}

// The model merges nothing, keeps everything over a restart and has no columns.
func (m model) Merge(string)     {}
func (m model) Reattach(string)  {}
func (m model) AddColumn(string) {}

func (m model) DropPartition(table string, p int)   { m.s.DropTablePartition(table, p) }
func (m model) DetachPartition(table string, p int) { m.s.DropTablePartition(table, p) }
func (m model) Truncate(table string)               { m.s.Truncate(table) }
func (m model) Fence(table string, least uint64) {
	o := m.s.Options(table)
	o.Fence = uint32(least)
	m.s.SetOptions(table, o)
}
func (m model) Exchange(a, b string)                       { m.s.Exchange(a, b) }
func (m model) AttachPartitionFrom(dst, src string, p int) { m.s.AttachPartitionFrom(dst, src, p, -1) }
func (m model) ReplacePartition(dst, src string, p int)    { m.s.ReplacePartition(dst, src, p, -1) }
func (m model) MovePartition(src, dst string, p int)       { m.s.MovePartition(src, dst, p) }
func (m model) AttachAndDie(dst, src string, p, parts int) {
	m.s.AttachPartitionFrom(dst, src, p, parts)
}
func (m model) ReplaceAndDie(dst, src string, p, parts int) { m.s.ReplacePartition(dst, src, p, parts) }
func (m model) BreakRename(table string, p int)             { m.s.SwallowNext(table, p, false) }
func (m model) LosePart(table string, p int)                { m.s.LosePart(table, p) }
func (m model) Cleanup(table string)                        { m.s.Cleanup(table) }

func toModel(rows []conformance.Row) []chmodel.Row {
	out := make([]chmodel.Row, len(rows))
	for i, r := range rows {
		out[i] = chmodel.Row{Topic: "t", Offset: r.Offset, TablePartition: r.TablePartition, Content: r.Content, Epoch: uint32(r.Content), Poison: r.Poison}
	}
	return out
}

func fromModel(a chmodel.Answer) conformance.Answer {
	return conformance.Answer{OK: a.OK, Duplicated: a.Duplicated, Code: a.ErrCode}
}

func TestClickHouse_Model(t *testing.T) {
	conformance.ClickHouseSuite.Run(t, "chmodel", true, newModel)
}
