package conformance_test

import (
	"slices"
	"strconv"
	"testing"

	"github.com/waybill-data/waybill/internal/conformance"
	"github.com/waybill-data/waybill/internal/sim/groupmodel"
)

// modelSession is the model's session timeout, ms; its rebalance timeout is two of them.
const modelSession = 1000

// groups drives groupmodel through the suite's port.
type groups struct {
	t   *testing.T
	b   *groupmodel.Broker
	now *int64
	ids map[string]conformance.Ticket // the last ticket of each process
}

var _ conformance.KafkaFaults = groups{}

func newGroups(t *testing.T, _ bool) conformance.Kafka {
	b := groupmodel.New(groupmodel.Config{Topic: "t", Partitions: 2, SessionTimeout: modelSession, RebalanceTimeout: 2 * modelSession})
	b.Trace = func(line string) { t.Log(line) }
	return groups{t, b, new(int64), map[string]conformance.Ticket{}}
}

func (g groups) Form(names ...string) {
	for _, name := range names {
		g.b.Join(name, *g.now)
	}
	g.b.Rebalance(*g.now)
	for range 10 {
		for _, name := range names {
			g.b.Poll(name, *g.now)
			g.b.AckRevoked(name, *g.now)
			g.remember(name)
		}
	}
	if state, _ := g.b.GroupState(); state != groupmodel.Stable {
		g.t.Fatalf("group is %s, want it stable", state)
	}
}

// remember keeps what a process believes: it is asked for after the process was put out.
func (g groups) remember(name string) {
	if id, generation, ok := g.b.Membership(name); ok {
		g.ids[name] = conformance.Ticket{MemberID: id, Generation: generation}
	}
}

func (g groups) Begin(name string) { g.b.Join(name, *g.now); g.remember(name) }

func (g groups) Rejoin(names ...string) {
	for _, name := range names {
		g.b.AckRevoked(name, *g.now)
		g.b.Poll(name, *g.now)
	}
	if state, _ := g.b.GroupState(); state != groupmodel.Completing {
		g.t.Fatalf("group is %s, want it completing", state)
	}
}

func (g groups) Sync() {
	for range 2 { // the leader may not be first
		for _, name := range g.b.Members() {
			g.b.Poll(name, *g.now)
			g.remember(name)
		}
	}
}

func (g groups) Leave(name string) { g.b.Leave(name, *g.now) }

func (g groups) Silence(name string, others ...string) {
	for range 100 {
		*g.now += modelSession / 10
		for _, o := range others {
			g.Heartbeat(g.Ticket(o))
		}
		g.b.Tick(*g.now)
		if !slices.Contains(g.b.Members(), name) {
			return
		}
	}
	g.t.Fatalf("%s is still a member", name)
}

func (g groups) Spend(sessions float64, goOn func() bool) {
	for end := *g.now + int64(sessions*modelSession); *g.now < end; {
		*g.now += modelSession / 5
		g.b.Tick(*g.now)
		if !goOn() {
			return
		}
	}
}

func (g groups) Ticket(name string) conformance.Ticket { return g.ids[name] }

func (g groups) Heartbeat(t conformance.Ticket) int16 {
	return int16(g.b.Heartbeat(t.MemberID, t.Generation, *g.now))
}

func (g groups) Commit(t conformance.Ticket, entries ...conformance.Entry) map[int32]int16 {
	req := groupmodel.CommitRequest{MemberID: t.MemberID, Generation: t.Generation}
	for _, e := range entries {
		req.Entries = append(req.Entries, groupmodel.CommitEntry(e))
	}
	out := map[int32]int16{}
	for _, p := range g.b.Commit(req, *g.now).Partitions {
		out[p.Partition] = int16(p.Code)
	}
	return out
}

func (g groups) AdminCommit(e conformance.Entry) int16 {
	return int16(g.b.AdminSetOffset(e.Partition, e.Offset, e.Metadata))
}

func (g groups) Committed(p int32) conformance.Entry {
	return conformance.Entry(g.b.FetchOffsets(p)[0])
}

func (g groups) DeleteGroup() int16 { return int16(g.b.DeleteGroup()) }

func (g groups) State() string {
	state, _ := g.b.GroupState()
	return state.String()
}

func (g groups) Produce(p int32, n int) { g.b.Produce(p, make([]uint64, n)...) }

func (g groups) Transaction(p int32, n int, commit bool) {
	if commit {
		g.b.ProduceCommitted(p, make([]uint64, n)...)
		return
	}
	g.b.ProduceAborted(p, n)
}

func (g groups) Trim(p int32, offset int64) { g.b.TrimTo(p, offset) }

func (g groups) Offsets(p int32) (data, control []int64) {
	for _, r := range g.b.Fetch(p, g.b.LogStart(p), 0).Records {
		if r.Control {
			control = append(control, r.Offset)
			continue
		}
		data = append(data, r.Offset)
	}
	return data, control
}

func (g groups) LogEnds(p int32) (start, end int64)    { return g.b.LogStart(p), g.b.LogEnd(p) }
func (g groups) FetchCode(p int32, offset int64) int16 { return int16(g.b.Fetch(p, offset, 1).Code) }
func (g groups) TopicID() string                       { return strconv.FormatUint(g.b.TopicID(), 10) }
func (g groups) RecreateTopic()                        { g.b.RecreateTopic(2, *g.now); g.settle() }
func (g groups) AddPartition()                         { g.b.AddPartitions(1, *g.now) }
func (g groups) ExpireOffsets() bool                   { return g.b.ExpireOffsets() == groupmodel.OK }
func (g groups) Truncate(p int32, offset int64)        { g.b.TruncateTo(p, offset) }
func (g groups) LeaderEpoch(p int32) int32             { return g.b.LeaderEpoch(p) }
func (g groups) Compact(p int32, offset int64)         { g.b.Compact(p, offset) }
func (g groups) Owned(name string) []int32             { return g.b.Owned(name) }
func (g groups) Poll(name string) (revoked []int32)    { return g.b.Poll(name, *g.now).Revoked }
func (g groups) Release(name string)                   { g.b.AckRevoked(name, *g.now) }

// settle lets the members take up what the recreated topic gives them.
func (g groups) settle() {
	if names := g.b.Members(); len(names) > 0 {
		g.Form(names...)
	}
}

func TestKafka_Model(t *testing.T) {
	conformance.KafkaSuite.Run(t, "groupmodel", true, newGroups)
}
