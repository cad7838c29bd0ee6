package groupmodel

import (
	"fmt"
	"slices"
)

// client is a consumer process: what it believes, true or not.
type client struct {
	name       string
	id         string // member id, "" before joining and after having been told that it is out
	generation int32
	owned      []int32 // what it takes for its own; includes revoking
	revoking   []int32 // what it was told to give up and has not given up yet
}

// Events are what a poll tells the process, to be handled in the order revoked or lost, assigned.
type Events struct {
	// Assigned partitions are the client's from now on.
	Assigned []int32
	// Revoked partitions are to be given up: the client owns them until AckRevoked.
	Revoked []int32
	// Lost partitions belong to somebody else already: the client was kicked. It has to Join again.
	Lost []int32
	// Kicked says that the client is no member any more, also if it had owned nothing.
	Kicked bool
}

// Join makes a process a member under a new member id. A process that already is one is left alone.
func (b *Broker) Join(name string, now int64) {
	c := b.clients[name]
	if c != nil && c.id != "" {
		return
	}
	g := &b.group
	b.joins++
	c = &client{name: name, id: fmt.Sprintf("%s#%d", name, b.joins)}
	b.clients[name] = c
	b.Rebalance(now)
	if g.state == Empty {
		b.prepare(now)
	}
	g.members[c.id] = &member{id: c.id, name: name, seq: b.joins, lastSeen: now, joined: true}
	b.trace("join %s", c.id)
	b.maybeComplete(now)
}

// Poll is one round of a process's conversation with the coordinator: it keeps the session alive,
// joins a rebalance under way (claiming what it owns) and fetches an assignment that is ready. A
// process that is still giving partitions up does not rejoin before AckRevoked.
func (b *Broker) Poll(name string, now int64) Events {
	c := b.clients[name]
	if c == nil || c.id == "" {
		return Events{}
	}
	m := b.group.members[c.id]
	if m == nil {
		return c.kicked(b)
	}
	m.lastSeen = now
	switch g := &b.group; {
	case len(c.revoking) > 0:
	case g.state == Preparing && !m.joined:
		b.rejoin(c, m, now)
	case g.state == Completing && g.leader == m.id && !m.synced:
		g.state = Stable
		b.trace("group %s generation %d", g.state, g.generation)
		return b.sync(c, m)
	case g.state == Stable && !m.synced:
		return b.sync(c, m)
	}
	return Events{}
}

func (c *client) kicked(b *Broker) Events {
	b.trace("client %s learns that it is out", c.id)
	e := Events{Lost: c.owned, Kicked: true}
	*c = client{name: c.name}
	return e
}

func (b *Broker) rejoin(c *client, m *member, now int64) {
	m.joined = true
	m.claims, m.claimGen = slices.Clone(c.owned), c.generation
	b.trace("rejoin %s claims %v", c.id, c.owned)
	b.maybeComplete(now)
}

// sync takes over the assignment of the new generation.
func (b *Broker) sync(c *client, m *member) Events {
	m.synced = true
	c.generation = b.group.generation
	var e Events
	for _, p := range m.assigned {
		if !slices.Contains(c.owned, p) {
			e.Assigned = append(e.Assigned, p)
		}
	}
	for _, p := range c.owned {
		if !slices.Contains(m.assigned, p) {
			e.Revoked = append(e.Revoked, p)
		}
	}
	c.owned = append(c.owned, e.Assigned...)
	slices.Sort(c.owned)
	c.revoking = slices.Clone(e.Revoked)
	b.trace("sync %s generation %d assigned %v revoked %v", c.id, c.generation, e.Assigned, e.Revoked)
	return e
}

// AckRevoked says that a process has given up what it was told to: it owns it no more, and rejoins,
// so that the next generation can hand it out.
func (b *Broker) AckRevoked(name string, now int64) {
	c := b.clients[name]
	if c == nil || len(c.revoking) == 0 {
		return
	}
	c.owned = slices.DeleteFunc(c.owned, func(p int32) bool { return slices.Contains(c.revoking, p) })
	c.revoking = nil
	m := b.group.members[c.id]
	if m == nil {
		return // kicked meanwhile; the next poll says so
	}
	m.lastSeen = now
	b.Rebalance(now)
	b.rejoin(c, m, now)
}

// Leave is a process's orderly goodbye: it owns nothing any more and the others rebalance at once.
func (b *Broker) Leave(name string, now int64) {
	c := b.clients[name]
	if c == nil {
		return
	}
	delete(b.clients, name)
	if m := b.group.members[c.id]; m != nil {
		b.remove(m, now, "left")
	}
}

// Crash is a process's death: the coordinator does not know before the session ends.
func (b *Broker) Crash(name string) {
	if c := b.clients[name]; c != nil {
		b.trace("crash %s", c.id)
		delete(b.clients, name)
	}
}

// Owned is what a process takes for its own, partitions that it is giving up included.
func (b *Broker) Owned(name string) []int32 {
	if c := b.clients[name]; c != nil {
		return slices.Clone(c.owned)
	}
	return nil
}

// Membership is what a process would put into a request: member id and generation. ok is false if it
// is not in a group as far as it knows.
func (b *Broker) Membership(name string) (memberID string, generation int32, ok bool) {
	c := b.clients[name]
	if c == nil || c.id == "" {
		return "", -1, false
	}
	return c.id, c.generation, true
}

// Heartbeat is delivered to the coordinator, late or in time, as it was built (see Membership).
func (b *Broker) Heartbeat(memberID string, generation int32, now int64) Code {
	g := &b.group
	m := g.members[memberID]
	if m == nil {
		return UnknownMemberID
	}
	if generation != g.generation {
		return IllegalGeneration
	}
	m.lastSeen = now
	if g.state == Preparing {
		return RebalanceInProgress
	}
	return OK
}
