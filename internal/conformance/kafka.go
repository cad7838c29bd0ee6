package conformance

import (
	"slices"
	"testing"
)

// Ticket is what a member puts into its requests: it says what the member believes, which may be out
// of date by the time a request arrives.
type Ticket struct {
	MemberID   string
	Generation int32
}

// Entry is one partition of an offset commit, and what an offset fetch answers. Offset -1 is none.
type Entry struct {
	Partition   int32
	Offset      int64
	LeaderEpoch int32
	Metadata    string
}

// Kafka is what the suite needs of a broker: one topic of two partitions and one classic consumer
// group, both its own. Processes are called by name; each joins as a member of its own. Failures that
// a case is not about fail the test.
type Kafka interface {
	// Form makes processes members in a stable group; those that are members already join again.
	Form(names ...string)
	// Begin lets one more process ask to join. On return the coordinator waits for the other members.
	Begin(name string)
	// Rejoin lets members join the rebalance under way and waits for the new generation. The coordinator
	// then waits for the leader's assignment.
	Rejoin(names ...string)
	// Sync lets the members of the new generation fetch their assignments: the group is stable.
	Sync()
	Leave(name string)
	// Silence lets a process say nothing until its session has ended, while the others heartbeat.
	Silence(name string, others ...string)
	// Spend lets time pass, in session timeouts, and calls goOn several times in each, until that says no.
	Spend(sessions float64, goOn func() bool)

	// Ticket is what a process believes now.
	Ticket(name string) Ticket
	Heartbeat(Ticket) int16
	// Commit delivers a commit as built with a ticket and answers the error code of each partition.
	Commit(t Ticket, entries ...Entry) map[int32]int16
	// AdminCommit is a commit without a member.
	AdminCommit(e Entry) int16
	Committed(partition int32) Entry
	DeleteGroup() int16
	// State of the group as DescribeGroups names it.
	State() string

	Produce(partition int32, n int)
	// Transaction appends n records and its marker.
	Transaction(partition int32, n int, commit bool)
	// Trim deletes records before an offset, as retention does.
	Trim(partition int32, offset int64)
	// Offsets are those that a read_committed consumer is given from the log's start to its end, and
	// those of transaction markers.
	Offsets(partition int32) (data, control []int64)
	// LogEnds are the log start offset and the end offset.
	LogEnds(partition int32) (start, end int64)
	FetchCode(partition int32, offset int64) int16
	TopicID() string
	RecreateTopic()
	AddPartition()
}

// Kafka error codes that cases expect.
const (
	codeOffsetOutOfRange    = 1
	codeUnknownPartition    = 3
	codeMetadataTooLarge    = 12
	codeIllegalGeneration   = 22
	codeUnknownMember       = 25
	codeRebalanceInProgress = 27
	codeNonEmptyGroup       = 68
)

// at builds an entry for a partition with metadata.
func at(partition int32, offset int64, metadata string) Entry {
	return Entry{Partition: partition, Offset: offset, LeaderEpoch: -1, Metadata: metadata}
}

func wantCodes(t *testing.T, got map[int32]int16, want map[int32]int16) {
	t.Helper()
	for p, code := range want {
		if got[p] != code {
			t.Fatalf("partition %d answered %d, want %d (all: %v)", p, got[p], code, got)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("answers %v, want %v", got, want)
	}
}

// commits expects every partition to be accepted.
func commits(t *testing.T, k Kafka, as Ticket, entries ...Entry) {
	t.Helper()
	everywhere(t, k, as, 0, entries...)
}

// everywhere expects one code for all partitions, and if that is an error, that nothing was applied.
func everywhere(t *testing.T, k Kafka, as Ticket, code int16, entries ...Entry) {
	t.Helper()
	want := map[int32]int16{}
	before := map[int32]Entry{}
	for _, e := range entries {
		want[e.Partition] = code
		before[e.Partition] = k.Committed(e.Partition)
	}
	wantCodes(t, k.Commit(as, entries...), want)
	for _, e := range entries {
		expected := e
		if code != 0 {
			expected = before[e.Partition]
		}
		wantCommitted(t, k, expected)
	}
}

func wantCommitted(t *testing.T, k Kafka, want Entry) {
	t.Helper()
	if got := k.Committed(want.Partition); got != want {
		t.Fatalf("committed %+v, want %+v", got, want)
	}
}

func wantState(t *testing.T, k Kafka, want string) {
	t.Helper()
	if got := k.State(); got != want {
		t.Fatalf("group is %s, want %s", got, want)
	}
}

func wantOffsets(t *testing.T, what string, got []int64, want ...int64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}
