package conformance

import (
	"strings"
	"testing"
)

// noneCommitted is the answer for a partition without a committed offset.
func noneCommitted(partition int32) Entry { return at(partition, -1, "") }

// commitCases are what Waybill relies on when it commits offsets: whom the coordinator fences, and what
// an answer means.
var commitCases = []Case[Kafka]{
	{Name: "offsets/none_is_minus_one", Fact: "a partition without a committed offset answers -1 and no metadata", Run: func(t *testing.T, k Kafka) {
		wantCommitted(t, k, noneCommitted(0))
		k.Form("A")
		commits(t, k, k.Ticket("A"), at(0, 5, "x"))
		wantCommitted(t, k, noneCommitted(1))
	}},
	{Name: "commit/offset_metadata_and_epoch_come_back", Fact: "offset, leader epoch and metadata are read back as they were committed, by anybody", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		commits(t, k, k.Ticket("A"), Entry{Partition: 0, Offset: 7, LeaderEpoch: 0, Metadata: "an intent"}, at(1, 3, ""))
	}},
	{Name: "commit/lower_offset_is_accepted", Fact: "a commit may go back: nothing is monotonic", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		commits(t, k, k.Ticket("A"), at(0, 7, "b2"))
		commits(t, k, k.Ticket("A"), at(0, 2, "b1"))
	}},
	{Name: "commit/for_partition_of_another_member", Fact: "Kafka fences members, not partitions: a live member may commit for what it does not own", Run: func(t *testing.T, k Kafka) {
		k.Form("A", "B")
		for _, name := range []string{"A", "B"} {
			commits(t, k, k.Ticket(name), at(0, 1, name), at(1, 2, name))
		}
	}},
	{Name: "commit/older_generation_is_refused", Fact: "a commit of an older generation is refused for every partition, with nothing applied", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		old := k.Ticket("A")
		k.Form("A", "B")
		everywhere(t, k, old, codeIllegalGeneration, at(0, 1, ""), at(1, 1, ""))
	}},
	{Name: "commit/unknown_member_is_refused", Fact: "a member id that the coordinator does not know is refused, whatever its generation", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		everywhere(t, k, Ticket{"nobody", k.Ticket("A").Generation}, codeUnknownMember, at(0, 1, ""))
		everywhere(t, k, Ticket{"nobody", 99}, codeUnknownMember, at(0, 1, ""))
	}},
	{Name: "commit/late_within_a_generation_rewinds", Fact: "a delayed commit that arrives within its generation is applied: it rewinds offset and metadata", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		late := k.Ticket("A")
		commits(t, k, k.Ticket("A"), at(0, 9, "b2"))
		commits(t, k, late, at(0, 4, "b1"))
	}},
	{Name: "commit/late_after_rejoin_is_fenced", Fact: "leaving and joining again fences what was sent before", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		late := k.Ticket("A")
		k.Leave("A")
		k.Form("A")
		if now := k.Ticket("A"); now.MemberID == late.MemberID {
			t.Fatalf("the same member id again: %v", now)
		}
		everywhere(t, k, late, codeUnknownMember, at(0, 4, "b1"))
	}},
	{Name: "commit/while_preparing_is_accepted", Fact: "while members are asked to join again commits of the current generation are accepted", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		k.Begin("B")
		wantState(t, k, "PreparingRebalance")
		commits(t, k, k.Ticket("A"), at(0, 1, "intent"))
	}},
	{Name: "commit/while_completing_is_refused", Fact: "between the new generation and its assignment commits are refused: of the new generation with 27, of the old with 22", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		old := k.Ticket("A")
		k.Begin("B")
		k.Rejoin("A")
		wantState(t, k, "CompletingRebalance")
		current := Ticket{old.MemberID, old.Generation + 1}
		everywhere(t, k, current, codeRebalanceInProgress, at(0, 1, ""))
		everywhere(t, k, old, codeIllegalGeneration, at(0, 1, ""))
		k.Sync()
		commits(t, k, k.Ticket("A"), at(0, 1, ""))
	}},
	{Name: "commit/after_leaving_is_refused", Fact: "who has left cannot commit while others are members", Run: func(t *testing.T, k Kafka) {
		k.Form("A", "B")
		gone := k.Ticket("A")
		k.Leave("A")
		everywhere(t, k, gone, codeUnknownMember, at(0, 1, ""))
	}},
	{Name: "commit/into_an_emptied_group_is_refused", Fact: "nor can it once the group is empty", Except: map[string]string{"kfake": "answers 22, not 25"}, Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		gone := k.Ticket("A")
		k.Leave("A")
		wantState(t, k, "Empty")
		everywhere(t, k, gone, codeUnknownMember, at(0, 1, ""))
	}},
	{Name: "commit/after_session_end_is_refused", Fact: "a zombie's commit is refused once its session has ended, although it never heard of it", Run: func(t *testing.T, k Kafka) {
		k.Form("A", "B")
		zombie := k.Ticket("A")
		k.Silence("A", "B")
		everywhere(t, k, zombie, codeUnknownMember, at(0, 1, ""))
		commits(t, k, k.Ticket("B"), at(0, 2, "B's"))
	}},
	{Name: "commit/keeps_the_session_alive", Fact: "a commit counts as a heartbeat", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		k.Spend(2.5, func() bool {
			commits(t, k, k.Ticket("A"), at(0, 1, ""))
			return true
		})
		if code := k.Heartbeat(k.Ticket("A")); code != 0 {
			t.Fatalf("heartbeat: %d", code)
		}
	}},
	{Name: "commit/metadata_too_large_for_one_partition", Fact: "metadata of 4,096 bytes pass; of 4,097 that partition alone is refused with 12 and the others are applied", Except: map[string]string{"kfake": "does not enforce offset.metadata.max.bytes"}, Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		fits := strings.Repeat("m", 4096)
		commits(t, k, k.Ticket("A"), at(0, 1, fits))
		wantCodes(t, k.Commit(k.Ticket("A"), at(0, 2, fits+"m"), at(1, 2, "ok")), map[int32]int16{0: codeMetadataTooLarge, 1: 0})
		wantCommitted(t, k, at(0, 1, fits))
		wantCommitted(t, k, at(1, 2, "ok"))
	}},
	{Name: "commit/unknown_partition_alone_is_refused", Fact: "a partition that the topic does not have is refused with 3 and the others are applied", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		wantCodes(t, k.Commit(k.Ticket("A"), at(7, 1, ""), at(1, 2, "ok")), map[int32]int16{7: codeUnknownPartition, 1: 0})
		wantCommitted(t, k, at(1, 2, "ok"))
	}},
	{Name: "offsets/survive_the_members", Fact: "offsets and metadata stay when all members have left, and are there for the next", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		commits(t, k, k.Ticket("A"), at(0, 4, "b1"))
		k.Leave("A")
		wantState(t, k, "Empty")
		wantCommitted(t, k, at(0, 4, "b1"))
		k.Form("B")
		wantCommitted(t, k, at(0, 4, "b1"))
	}},
	{Name: "offsets/lost_with_the_group", Fact: "deleting the group deletes its offsets; it is refused while there are members", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		commits(t, k, k.Ticket("A"), at(0, 4, "b1"))
		if code := k.DeleteGroup(); code != codeNonEmptyGroup {
			t.Fatalf("deleting a group with members: %d, want %d", code, codeNonEmptyGroup)
		}
		wantCommitted(t, k, at(0, 4, "b1"))
		k.Leave("A")
		if code := k.DeleteGroup(); code != 0 {
			t.Fatalf("deleting an empty group: %d", code)
		}
		wantCommitted(t, k, noneCommitted(0))
	}},
	{Name: "admin/commit_needs_an_empty_group", Fact: "a commit without a member is refused with 25 while there are members, and accepted when there are none: metadata are then whatever it said", Run: func(t *testing.T, k Kafka) {
		k.Form("A")
		commits(t, k, k.Ticket("A"), at(0, 4, "b1"))
		if code := k.AdminCommit(at(0, 1, "")); code != codeUnknownMember {
			t.Fatalf("admin commit with members: %d, want %d", code, codeUnknownMember)
		}
		k.Leave("A")
		if code := k.AdminCommit(at(0, 1, "")); code != 0 {
			t.Fatalf("admin commit: %d", code)
		}
		wantCommitted(t, k, at(0, 1, ""))
	}},
	{Name: "offsets/expire", Where: ModelOnly, Reason: "offsets.retention.minutes cannot be less than a minute, and checks come at intervals", Fact: "offsets of an empty group expire, with their metadata; those of a group with members do not", Run: func(t *testing.T, k Kafka) {
		m := k.(KafkaFaults)
		k.Form("A")
		commits(t, k, k.Ticket("A"), at(0, 4, "b1"))
		if m.ExpireOffsets() {
			t.Fatal("offsets of a live group expired")
		}
		k.Leave("A")
		if !m.ExpireOffsets() {
			t.Fatal("offsets of an empty group did not expire")
		}
		wantCommitted(t, k, noneCommitted(0))
	}},
}
