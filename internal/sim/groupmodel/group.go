package groupmodel

import (
	"fmt"
	"maps"
	"slices"
)

// State of the group, as the coordinator has it.
type State uint8

// States of a classic group.
const (
	// Empty has no members; only now are commits without a member accepted.
	Empty State = iota
	// Preparing waits for the members to join again. Commits of the old generation are accepted.
	Preparing
	// Completing has a new generation and waits for its leader's assignment. Commits are refused.
	Completing
	// Stable has an assignment.
	Stable
)

var stateNames = [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}

func (s State) String() string { return stateNames[s] }

// group is the coordinator's side.
type group struct {
	state      State
	generation int32
	leader     string // member id
	members    map[string]*member
	deadline   int64 // of the rebalance under way: who has not joined or synced by then is out
	offsets    map[int32]Committed
	failCommit map[int32][]Code
	pins       map[int32]string // partition -> client name
}

// member is what the coordinator knows about one member.
type member struct {
	id, name string
	seq      int   // order of first joining
	lastSeen int64 // ms; its session ends SessionTimeout later
	joined   bool  // has joined the rebalance under way
	synced   bool  // has fetched its assignment of this generation
	claims   []int32
	claimGen int32 // generation in which it owned its claims
	assigned []int32
}

func newGroup() group {
	return group{members: map[string]*member{}, offsets: map[int32]Committed{}, failCommit: map[int32][]Code{}, pins: map[int32]string{}}
}

func (g *group) clone() group {
	c := *g
	c.members = map[string]*member{}
	for id, m := range g.members {
		n := *m
		n.claims, n.assigned = slices.Clone(m.claims), slices.Clone(m.assigned)
		c.members[id] = &n
	}
	c.offsets, c.pins = maps.Clone(g.offsets), maps.Clone(g.pins)
	c.failCommit = map[int32][]Code{}
	for p, codes := range g.failCommit {
		c.failCommit[p] = slices.Clone(codes)
	}
	return c
}

// inOrder are the members in the order of their first joining.
func (g *group) inOrder() []*member {
	out := make([]*member, 0, len(g.members))
	for _, m := range g.members {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b *member) int { return a.seq - b.seq })
	return out
}

// GroupState is the group's state and generation.
func (b *Broker) GroupState() (State, int32) { return b.group.state, b.group.generation }

// Members are the names of the clients that the coordinator takes for members, in order of joining.
func (b *Broker) Members() []string {
	var out []string
	for _, m := range b.group.inOrder() {
		out = append(out, m.name)
	}
	return out
}

// Tick lets time pass at the coordinator: sessions end, and a rebalance past its deadline goes on
// without those who have not answered.
func (b *Broker) Tick(now int64) {
	g := &b.group
	for _, m := range g.inOrder() {
		waiting := g.state == Preparing && m.joined // the coordinator owes it an answer, not the reverse
		if !waiting && now-m.lastSeen >= b.cfg.SessionTimeout {
			b.remove(m, now, "session ended")
		}
	}
	if g.overdue() && now >= g.deadline {
		b.rebalanceTimedOut(now)
	}
}

// rebalanceTimedOut puts out those who kept the others waiting.
func (b *Broker) rebalanceTimedOut(now int64) {
	g := &b.group
	state, generation := g.state, g.generation
	for _, m := range g.inOrder() {
		late := state == Preparing && !m.joined || state != Preparing && !m.synced
		if late && g.generation == generation {
			b.remove(m, now, "rebalance timed out")
		}
	}
}

// overdue reports whether some member has an answer to give before the deadline: its joining, or its
// fetching of the assignment.
func (g *group) overdue() bool {
	if g.state == Empty {
		return false
	}
	for _, m := range g.members {
		if g.state == Preparing && !m.joined || g.state != Preparing && !m.synced {
			return true
		}
	}
	return false
}

// NextDeadline is the earliest time at which Tick may do something; ok is false if there is none.
func (b *Broker) NextDeadline() (at int64, ok bool) {
	g := &b.group
	consider := func(t int64) {
		if !ok || t < at {
			at, ok = t, true
		}
	}
	for _, m := range g.members {
		if g.state != Preparing || !m.joined {
			consider(m.lastSeen + b.cfg.SessionTimeout)
		}
	}
	if g.overdue() {
		consider(g.deadline)
	}
	return at, ok
}

// remove takes a member out of the group; the others rebalance.
func (b *Broker) remove(m *member, now int64, why string) {
	g := &b.group
	delete(g.members, m.id)
	b.trace("member %s out: %s", m.id, why)
	if g.leader == m.id {
		g.leader = ""
	}
	if len(g.members) == 0 {
		g.state = Empty
		g.generation++
		return
	}
	if g.state != Preparing {
		b.prepare(now)
	}
	b.maybeComplete(now)
}

// Rebalance makes a group with members rebalance, as its leader does when the topic's metadata change.
func (b *Broker) Rebalance(now int64) {
	if len(b.group.members) > 0 && b.group.state != Preparing {
		b.prepare(now)
	}
}

func (b *Broker) prepare(now int64) {
	g := &b.group
	g.state = Preparing
	g.deadline = now + b.cfg.RebalanceTimeout
	for _, m := range g.members {
		m.joined = false
	}
	b.trace("group %s", g.state)
}

// maybeComplete starts the new generation once every member has joined.
func (b *Broker) maybeComplete(now int64) {
	g := &b.group
	if g.state != Preparing {
		return
	}
	for _, m := range g.members {
		if !m.joined {
			return
		}
	}
	g.generation++
	g.state = Completing
	g.deadline = now + b.cfg.RebalanceTimeout
	members := g.inOrder()
	if g.leader == "" {
		g.leader = members[0].id
	}
	for _, m := range members {
		m.joined, m.synced, m.lastSeen = false, false, now
	}
	assign(members, b.Partitions(), g.pins)
	b.trace("group %s generation %d leader %s", g.state, g.generation, g.leader)
}

// Pin makes every later assignment give a partition to a client while that is a member; an empty name
// lifts it. Together with Rebalance it moves one partition at will.
func (b *Broker) Pin(partition int32, name string) {
	if name == "" {
		delete(b.group.pins, partition)
		return
	}
	b.group.pins[partition] = name
}

func (m *member) String() string {
	return fmt.Sprintf("%s seen=%d joined=%v synced=%v claims=%v@%d assigned=%v", m.id, m.lastSeen, m.joined, m.synced, m.claims, m.claimGen, m.assigned)
}
