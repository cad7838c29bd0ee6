package groupmodel

import "slices"

// Record is one entry of a partition's log as a consumer sees it.
type Record struct {
	Offset      int64
	Value       uint64
	LeaderEpoch int32
	// Control marks a transaction marker: it covers an offset and carries nothing.
	Control bool
}

// log is one partition's log. Its offsets are start <= offset < end; those without a record are holes
// (compacted, or aborted and so never delivered).
type log struct {
	records     []Record // ascending by offset
	start, end  int64
	leaderEpoch int32
}

// FetchResult is the answer to a fetch.
type FetchResult struct {
	Records []Record
	// Next is the position after everything that was looked at: past the last record, and past holes
	// behind it if the answer was not cut off by max.
	Next int64
	// Start and End are the log start offset and the end offset (there are no open transactions here,
	// so the last stable offset is the end).
	Start, End  int64
	LeaderEpoch int32
	Code        Code
}

func (b *Broker) grow(n int) {
	for range n {
		b.logs = append(b.logs, &log{})
	}
}

// AddPartitions adds empty partitions; a group that is stable rebalances to take them up.
func (b *Broker) AddPartitions(n int, now int64) {
	b.grow(n)
	b.trace("partitions: %d", len(b.logs))
	b.Rebalance(now)
}

// Produce appends records and answers the offset of the first.
func (b *Broker) Produce(partition int32, values ...uint64) int64 {
	l := b.logs[partition]
	first := l.end
	for _, v := range values {
		l.append(Record{Value: v})
	}
	return first
}

// ProduceCommitted appends records of a committed transaction: a marker follows them.
func (b *Broker) ProduceCommitted(partition int32, values ...uint64) int64 {
	first := b.Produce(partition, values...)
	b.logs[partition].append(Record{Control: true})
	return first
}

// ProduceAborted appends n records of an aborted transaction, which consumers never see, and its marker.
func (b *Broker) ProduceAborted(partition int32, n int) int64 {
	l := b.logs[partition]
	first := l.end
	l.end += int64(n)
	l.append(Record{Control: true})
	return first
}

func (l *log) append(r Record) {
	r.Offset, r.LeaderEpoch = l.end, l.leaderEpoch
	l.records = append(l.records, r)
	l.end++
}

// Compact makes a hole where a record was.
func (b *Broker) Compact(partition int32, offset int64) {
	l := b.logs[partition]
	l.records = slices.DeleteFunc(l.records, func(r Record) bool { return r.Offset == offset })
	b.trace("compact %d@%d", partition, offset)
}

// TrimTo is retention: everything before offset is gone.
func (b *Broker) TrimTo(partition int32, offset int64) {
	l := b.logs[partition]
	l.start = max(l.start, min(offset, l.end))
	l.records = slices.DeleteFunc(l.records, func(r Record) bool { return r.Offset < l.start })
	b.trace("trim %d to %d", partition, l.start)
}

// TruncateTo is an unclean leader election: records from offset on are gone, their offsets will be
// given out again, under a new leader epoch.
func (b *Broker) TruncateTo(partition int32, offset int64) {
	l := b.logs[partition]
	l.end = max(l.start, min(offset, l.end))
	l.leaderEpoch++
	l.records = slices.DeleteFunc(l.records, func(r Record) bool { return r.Offset >= l.end })
	b.trace("truncate %d to %d, leader epoch %d", partition, l.end, l.leaderEpoch)
}

// RecreateTopic deletes the topic and creates it anew: new topic id, empty logs from offset 0, and
// the group's committed offsets of it are gone.
func (b *Broker) RecreateTopic(partitions int, now int64) {
	b.topicID++
	b.logs = nil
	b.grow(partitions)
	clear(b.group.offsets)
	b.trace("topic recreated: id %d", b.topicID)
	b.Rebalance(now)
}

// LogStart is a partition's log start offset.
func (b *Broker) LogStart(partition int32) int64 { return b.logs[partition].start }

// LogEnd is a partition's end offset.
func (b *Broker) LogEnd(partition int32) int64 { return b.logs[partition].end }

// LeaderEpoch is a partition's current leader epoch.
func (b *Broker) LeaderEpoch(partition int32) int32 { return b.logs[partition].leaderEpoch }

// Fetch reads up to maxRecords records from offset on (all if maxRecords <= 0).
func (b *Broker) Fetch(partition int32, offset int64, maxRecords int) FetchResult {
	if partition < 0 || int(partition) >= len(b.logs) {
		return FetchResult{Code: UnknownTopicPartition}
	}
	l := b.logs[partition]
	res := FetchResult{Start: l.start, End: l.end, LeaderEpoch: l.leaderEpoch, Next: offset}
	if offset < l.start || offset > l.end {
		res.Code = OffsetOutOfRange
		return res
	}
	for _, r := range l.records {
		if r.Offset < offset {
			continue
		}
		if maxRecords > 0 && len(res.Records) == maxRecords {
			return res
		}
		res.Records = append(res.Records, r)
		res.Next = r.Offset + 1
	}
	res.Next = l.end
	return res
}
