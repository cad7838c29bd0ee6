package groupmodel

// CommitEntry is one partition of an OffsetCommit request.
type CommitEntry struct {
	Partition   int32
	Offset      int64
	LeaderEpoch int32
	Metadata    string
}

// CommitRequest is an OffsetCommit as it was built; it may be delivered at any later time. A
// Generation below zero with no MemberID is an administrator's commit.
type CommitRequest struct {
	MemberID   string
	Generation int32
	Entries    []CommitEntry
}

// PartitionCode is the answer for one partition.
type PartitionCode struct {
	Partition int32
	Code      Code
}

// CommitResponse answers each entry by itself, in the order of the request.
type CommitResponse struct {
	Partitions []PartitionCode
}

// OK reports whether every partition was answered OK.
func (r CommitResponse) OK() bool {
	for _, p := range r.Partitions {
		if p.Code != OK {
			return false
		}
	}
	return true
}

// Code is a partition's answer; UnknownTopicPartition if it was not asked about.
func (r CommitResponse) Code(partition int32) Code {
	for _, p := range r.Partitions {
		if p.Partition == partition {
			return p.Code
		}
	}
	return UnknownTopicPartition
}

// Committed is a partition's committed offset. Offset -1 is none.
type Committed struct {
	Partition   int32
	Offset      int64
	LeaderEpoch int32
	Metadata    string
}

// NewCommit builds a commit of a process as it would send it now; ok is false if the process is in no
// group as far as it knows.
func (b *Broker) NewCommit(name string, entries ...CommitEntry) (req CommitRequest, ok bool) {
	id, generation, ok := b.Membership(name)
	return CommitRequest{MemberID: id, Generation: generation, Entries: entries}, ok
}

// Commit is the arrival of an OffsetCommit. Kafka fences members, not partitions: a live member may
// commit for what it does not own. What does not pass for one partition does not stop the others.
func (b *Broker) Commit(req CommitRequest, now int64) CommitResponse {
	refused := b.fence(req, now)
	var res CommitResponse
	for _, e := range req.Entries {
		code := refused
		if code == OK {
			code = b.commitEntry(e)
		}
		b.trace("commit %s@%d %d -> %d %q: %s", req.MemberID, req.Generation, e.Partition, e.Offset, e.Metadata, code)
		res.Partitions = append(res.Partitions, PartitionCode{e.Partition, code})
	}
	return res
}

func (b *Broker) fence(req CommitRequest, now int64) Code {
	g := &b.group
	if req.Generation < 0 && g.state == Empty {
		return OK
	}
	m := g.members[req.MemberID]
	switch {
	case m == nil:
		return UnknownMemberID
	case req.Generation != g.generation:
		return IllegalGeneration
	case g.state == Completing:
		return RebalanceInProgress
	}
	m.lastSeen = now
	return OK
}

func (b *Broker) commitEntry(e CommitEntry) Code {
	g := &b.group
	if e.Partition < 0 || e.Partition >= b.Partitions() {
		return UnknownTopicPartition
	}
	if codes := g.failCommit[e.Partition]; len(codes) > 0 {
		g.failCommit[e.Partition] = codes[1:]
		return codes[0]
	}
	if len(e.Metadata) > b.cfg.MaxMetadata {
		return OffsetMetadataTooLarge
	}
	g.offsets[e.Partition] = Committed(e)
	return OK
}

// FailNextCommit makes the next commit that reaches a partition fail for it alone, with nothing
// applied.
func (b *Broker) FailNextCommit(partition int32, code Code) {
	b.group.failCommit[partition] = append(b.group.failCommit[partition], code)
}

// FetchOffsets answers the committed offsets of the given partitions, or of all, in order. Nobody
// needs to be a member for that.
func (b *Broker) FetchOffsets(partitions ...int32) []Committed {
	if len(partitions) == 0 {
		for p := range b.Partitions() {
			partitions = append(partitions, p)
		}
	}
	out := make([]Committed, 0, len(partitions))
	for _, p := range partitions {
		c, ok := b.group.offsets[p]
		if !ok {
			c = Committed{Partition: p, Offset: -1, LeaderEpoch: -1}
		}
		out = append(out, c)
	}
	return out
}

// AdminSetOffset is a commit without a member (kafka-consumer-groups --reset-offsets): accepted only
// while the group is empty.
func (b *Broker) AdminSetOffset(partition int32, offset int64, metadata string) Code {
	req := CommitRequest{Generation: -1, Entries: []CommitEntry{{Partition: partition, Offset: offset, LeaderEpoch: -1, Metadata: metadata}}}
	return b.Commit(req, 0).Code(partition)
}

// ExpireOffsets is offsets.retention.minutes having passed: the offsets of an empty group are gone.
// Those of a group with members do not expire.
func (b *Broker) ExpireOffsets() Code {
	if b.group.state != Empty {
		return NonEmptyGroup
	}
	clear(b.group.offsets)
	b.trace("offsets expired")
	return OK
}

// LoseOffsets forgets the committed offsets of partitions whoever is in the group: what an unclean
// loss of the offsets topic does.
func (b *Broker) LoseOffsets(partitions ...int32) {
	for _, p := range partitions {
		delete(b.group.offsets, p)
	}
	b.trace("offsets lost: %v", partitions)
}

// DeleteGroup deletes an empty group with its offsets; its generations start anew.
func (b *Broker) DeleteGroup() Code {
	g := &b.group
	if g.state != Empty {
		return NonEmptyGroup
	}
	if g.generation == 0 && len(g.offsets) == 0 {
		return GroupIDNotFound
	}
	b.group = newGroup()
	b.group.pins = g.pins
	b.trace("group deleted")
	return OK
}
