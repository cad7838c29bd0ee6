package conformance

import "testing"

// KafkaFaults is what a model can be told to do besides.
type KafkaFaults interface {
	Kafka
	// ExpireOffsets reports whether the group's offsets could expire.
	ExpireOffsets() bool
	// Truncate is an unclean leader election that loses records from an offset on.
	Truncate(partition int32, offset int64)
	LeaderEpoch(partition int32) int32
	Compact(partition int32, offset int64)
	// Owned is what a process takes for its own; Poll one round of its conversation, which answers what
	// it was told to give up; Release gives that up.
	Owned(name string) []int32
	Poll(name string) (revoked []int32)
	Release(name string)
}

// groupCases are about members, generations and sessions.
var groupCases = []Case[Kafka]{
	{Name: "generation/grows_with_each_rejoin", Fact: "each completed rebalance has a higher generation, also of the same members", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		first := k.Ticket("A")
		k.Form("A", "B")
		second := k.Ticket("A")
		k.Form("A", "B")
		third := k.Ticket("A")
		if second.Generation <= first.Generation || third.Generation <= second.Generation {
			t.Fatalf("generations %d, %d, %d", first.Generation, second.Generation, third.Generation)
		}
		if first.MemberID != third.MemberID {
			t.Fatalf("a member that stays got another id: %s, %s", first.MemberID, third.MemberID)
		}
	}},
	{Name: "generation/outlives_the_members", Fact: "an empty group keeps counting: a newcomer's generation is above all earlier ones", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		old := k.Ticket("A")
		k.Leave("A")
		k.Form("B")
		if got := k.Ticket("B"); got.Generation <= old.Generation {
			t.Fatalf("generation %d after %d", got.Generation, old.Generation)
		}
	}},
	{Name: "heartbeat/answers", Fact: "0 while stable, 27 while members are asked to join again, 22 for another generation, 25 for a stranger", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		a := k.Ticket("A")
		wantHeartbeat(t, k, a, 0)
		wantHeartbeat(t, k, Ticket{a.MemberID, a.Generation + 1}, codeIllegalGeneration)
		wantHeartbeat(t, k, Ticket{"nobody", a.Generation}, codeUnknownMember)
		k.Begin("B")
		wantHeartbeat(t, k, a, codeRebalanceInProgress)
		k.Rejoin("A")
		wantHeartbeat(t, k, a, codeIllegalGeneration)
		k.Sync()
		wantHeartbeat(t, k, k.Ticket("A"), 0)
	}},
	{Name: "session/ends_without_heartbeats", Fact: "a member that says nothing is put out after its session timeout; alone, it leaves the group empty", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		k.Silence("A")
		wantState(t, k, "Empty")
		wantHeartbeat(t, k, k.Ticket("A"), codeUnknownMember)
	}},
	{Name: "session/heartbeats_keep_it", Fact: "a member that heartbeats stays, as long as it likes", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		k.Spend(2.5, func() bool {
			wantHeartbeat(t, k, k.Ticket("A"), 0)
			return true
		})
		wantState(t, k, "Stable")
	}},
	{Name: "session/zombie_leaves_its_partitions_to_others", Fact: "when a zombie is put out the others get a new generation without it", Run: func(t *testing.T, k Kafka) {
		k.Form("A", "B")
		before := k.Ticket("B")
		k.Silence("A", "B")
		wantHeartbeat(t, k, before, codeRebalanceInProgress)
		k.Rejoin("B")
		k.Sync()
		if after := k.Ticket("B"); after.Generation <= before.Generation {
			t.Fatalf("generation %d after %d", after.Generation, before.Generation)
		}
		wantHeartbeat(t, k, k.Ticket("A"), codeUnknownMember)
	}},
	{Name: "rebalance/latecomer_is_put_out", Fact: "a member that heartbeats but does not join again within the rebalance timeout is put out", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		a := k.Ticket("A")
		k.Begin("B")
		out := false
		k.Spend(5, func() bool {
			out = k.Heartbeat(a) == codeUnknownMember
			return !out
		})
		if !out {
			t.Fatal("the latecomer is still a member")
		}
		k.Rejoin()
		k.Sync()
		wantHeartbeat(t, k, k.Ticket("B"), 0)
		everywhere(t, k, a, codeUnknownMember, at(0, 1, ""))
	}},
	{Name: "cooperative/partition_waits_for_its_owner", Where: ModelOnly, Reason: "the client's and its assignor's doing, not the coordinator's: tested with franz-go in internal/kafka", Fact: "a partition that moves is nobody's in the generation in which its owner is told; the next generation, after the owner let go, gives it away", Run: func(t *testing.T, k Kafka) {
		m := k.(KafkaFaults)
		k.Form("A")
		k.Begin("B")
		k.Rejoin("A")
		revoked := m.Poll("A")
		if len(revoked) != 1 || len(m.Owned("A")) != 2 {
			t.Fatalf("A is to give up %v and owns %v", revoked, m.Owned("A"))
		}
		if m.Poll("B"); len(m.Owned("B")) != 0 {
			t.Fatalf("B owns %v before A let go", m.Owned("B"))
		}
		m.Release("A")
		k.Rejoin("B")
		k.Sync()
		if got := m.Owned("B"); len(got) != 1 || got[0] != revoked[0] || len(m.Owned("A")) != 1 {
			t.Fatalf("B owns %v, A owns %v, %v moved", got, m.Owned("A"), revoked)
		}
	}},
	{Name: "client/commit_retries", Where: NotProvedHere, Reason: "a property of the client: internal/kafka", Fact: "whether franz-go repeats an OffsetCommit by itself"},
	{Name: "group/next_generation_protocol", Where: NotProvedHere, Reason: "Waybill uses classic groups", Fact: "KIP-848 groups fence by member epoch"},
}

// logCases are about a topic's log.
var logCases = []Case[Kafka]{
	{Name: "log/transaction_markers_take_offsets", Fact: "a committed transaction's marker takes an offset and carries nothing", Run: func(t *testing.T, k Kafka) {
		k.Produce(0, 2)
		k.Transaction(0, 2, true)
		k.Produce(0, 1)
		data, control := k.Offsets(0)
		wantOffsets(t, "data", data, 0, 1, 2, 3, 5)
		wantOffsets(t, "markers", control, 4)
	}},
	{Name: "log/aborted_records_are_holes", Fact: "records of an aborted transaction keep their offsets and are not delivered", Run: func(t *testing.T, k Kafka) {
		k.Produce(0, 1)
		k.Transaction(0, 3, false)
		k.Produce(0, 1)
		data, control := k.Offsets(0)
		wantOffsets(t, "data", data, 0, 5)
		wantOffsets(t, "markers", control, 4)
	}},
	{Name: "log/ends", Fact: "fetching at the end is fine, beyond it and before the log start offset is 1", Run: func(t *testing.T, k Kafka) {
		k.Produce(0, 5)
		k.Trim(0, 3)
		if start, end := k.LogEnds(0); start != 3 || end != 5 {
			t.Fatalf("log is [%d,%d), want [3,5)", start, end)
		}
		for offset, want := range map[int64]int16{2: codeOffsetOutOfRange, 3: 0, 5: 0, 6: codeOffsetOutOfRange} {
			if got := k.FetchCode(0, offset); got != want {
				t.Errorf("fetch at %d: %d, want %d", offset, got, want)
			}
		}
		data, _ := k.Offsets(0)
		wantOffsets(t, "data", data, 3, 4)
	}},
	{Name: "topic/recreated", Fact: "a recreated topic has another id, starts at 0, and the group's offsets of it are gone", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		k.Produce(0, 3)
		commits(t, k, k.Ticket("A"), at(0, 3, "b1"))
		k.Leave("A")
		id := k.TopicID()
		k.RecreateTopic()
		if k.TopicID() == id {
			t.Error("the topic id is the same")
		}
		if start, end := k.LogEnds(0); start != 0 || end != 0 {
			t.Errorf("log is [%d,%d)", start, end)
		}
		wantCommitted(t, k, noneCommitted(0))
	}},
	{Name: "topic/recreated_under_live_members", Fact: "also while there are members, and their commits go on being accepted: only the topic id tells", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		k.Produce(0, 3)
		commits(t, k, k.Ticket("A"), at(0, 3, "b1"))
		k.RecreateTopic()
		wantCommitted(t, k, noneCommitted(0))
		commits(t, k, k.Ticket("A"), at(0, 3, "b1"))
	}},
	{Name: "topic/new_partition_has_no_offset", Fact: "a partition that is added has no committed offset, and can be committed", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		wantCodes(t, k.Commit(k.Ticket("A"), at(2, 0, "")), map[int32]int16{2: codeUnknownPartition})
		k.AddPartition()
		wantCommitted(t, k, noneCommitted(2))
		k.Form("A")
		commits(t, k, k.Ticket("A"), at(2, 0, "start"))
	}},
	{Name: "log/truncation_reuses_offsets", Where: ModelOnly, Reason: "an unclean election needs several brokers", Fact: "after an unclean election offsets are given out again, under a higher leader epoch", Run: func(t *testing.T, k Kafka) {
		m := k.(KafkaFaults)
		k.Produce(0, 5)
		before := m.LeaderEpoch(0)
		m.Truncate(0, 2)
		if _, end := k.LogEnds(0); end != 2 || m.LeaderEpoch(0) <= before {
			t.Fatalf("end %d, leader epoch %d", end, m.LeaderEpoch(0))
		}
		k.Produce(0, 2)
		data, _ := k.Offsets(0)
		wantOffsets(t, "data", data, 0, 1, 2, 3)
	}},
	{Name: "log/compaction_leaves_holes", Where: ModelOnly, Reason: "the cleaner runs when it likes", Fact: "a compacted record is a hole, also at the end of what was read", Run: func(t *testing.T, k Kafka) {
		k.Produce(0, 3)
		k.(KafkaFaults).Compact(0, 1)
		data, _ := k.Offsets(0)
		wantOffsets(t, "data", data, 0, 2)
	}},
}

func wantHeartbeat(t *testing.T, k Kafka, as Ticket, want int16) {
	t.Helper()
	if got := k.Heartbeat(as); got != want {
		t.Fatalf("heartbeat of %s in generation %d: %d, want %d", as.MemberID, as.Generation, got, want)
	}
}
