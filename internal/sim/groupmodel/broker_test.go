package groupmodel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func newTestBroker() *Broker {
	return New(Config{Topic: "t", Partitions: 3, SessionTimeout: 1000, RebalanceTimeout: 2000})
}

func settle(b *Broker, names ...string) {
	for range 10 {
		for _, name := range names {
			b.Poll(name, 0)
			b.AckRevoked(name, 0)
		}
	}
}

func TestCooperative_MovesLittle(t *testing.T) {
	b := newTestBroker()
	b.Join("A", 0)
	settle(b, "A")
	before := b.Owned("A")
	b.Join("B", 0)
	settle(b, "A", "B")
	for _, p := range b.Owned("A") {
		if !slices.Contains(before, p) {
			t.Fatalf("A got %d, which it did not have", p)
		}
	}
	if len(b.Owned("A")) != 2 || len(b.Owned("B")) != 1 {
		t.Fatalf("A %v, B %v", b.Owned("A"), b.Owned("B"))
	}
}

func TestPin_MovesOnePartitionAndBack(t *testing.T) {
	b := newTestBroker()
	b.Join("A", 0)
	b.Join("B", 0)
	settle(b, "A", "B")
	for _, owner := range []string{"A", "B", "A"} {
		b.Pin(0, owner)
		b.Rebalance(0)
		settle(b, "A", "B")
		if !slices.Contains(b.Owned(owner), 0) {
			t.Fatalf("%s does not own 0: A %v, B %v", owner, b.Owned("A"), b.Owned("B"))
		}
	}
}

func TestZombie_LearnsLateAndLosesAll(t *testing.T) {
	b := newTestBroker()
	b.Join("A", 0)
	settle(b, "A")
	req, _ := b.NewCommit("A", CommitEntry{Partition: 0, Offset: 1})
	b.Tick(999)
	if len(b.Members()) != 1 {
		t.Fatal("put out too early")
	}
	b.Tick(1000)
	if code := b.Commit(req, 1000).Code(0); code != UnknownMemberID {
		t.Fatalf("commit: %s", code)
	}
	if got := b.Owned("A"); len(got) != 3 {
		t.Fatalf("A believes to own %v", got)
	}
	if e := b.Poll("A", 1000); !e.Kicked || len(e.Lost) != 3 {
		t.Fatalf("%+v", e)
	}
}

func TestFailNextCommit_OnePartitionOnce(t *testing.T) {
	b := newTestBroker()
	b.Join("A", 0)
	settle(b, "A")
	b.FailNextCommit(1, OffsetMetadataTooLarge)
	for i, want := range []Code{OffsetMetadataTooLarge, OK} {
		req, _ := b.NewCommit("A", CommitEntry{Partition: 0, Offset: int64(i)}, CommitEntry{Partition: 1, Offset: int64(i)})
		res := b.Commit(req, 0)
		if res.Code(0) != OK || res.Code(1) != want || res.OK() != (want == OK) {
			t.Fatalf("%d: %+v", i, res)
		}
	}
}

func TestFetch_NextPassesHoles(t *testing.T) {
	b := newTestBroker()
	b.Produce(0, 10, 11)
	b.ProduceAborted(0, 2) // 2, 3, marker 4
	b.Compact(0, 1)
	if r := b.Fetch(0, 0, 1); len(r.Records) != 1 || r.Next != 1 {
		t.Fatalf("%+v", r)
	}
	if r := b.Fetch(0, 1, 10); len(r.Records) != 1 || !r.Records[0].Control || r.Next != 5 {
		t.Fatalf("%+v", r)
	}
}

// TestRandom_OwnersAreApart drives random histories of joining, leaving, dying, pausing and polling: at no
// time do two members that the coordinator accepts in its current generation own one partition, and
// when everybody answers again every partition has an owner.
func TestRandom_OwnersAreApart(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		b := newTestBroker()
		names := []string{"A", "B", "C"}
		now := int64(0)
		for range 150 {
			now += rnd.Int64N(400)
			b.Tick(now)
			switch name := names[rnd.IntN(3)]; rnd.IntN(9) {
			case 0:
				b.Join(name, now)
			case 1:
				b.Leave(name, now)
			case 2:
				b.Crash(name)
			case 3:
				b.Rebalance(now)
			case 4, 5:
				b.AckRevoked(name, now)
			default:
				b.Poll(name, now)
			}
			wantApart(t, b, names, seed)
		}
		for range 40 {
			now += 100
			b.Tick(now)
			for _, name := range names {
				b.Join(name, now)
				b.Poll(name, now)
				b.AckRevoked(name, now)
			}
		}
		wantAllOwned(t, b, names, seed)
	}
}

func wantApart(t *testing.T, b *Broker, names []string, seed uint64) {
	t.Helper()
	owner := map[int32]string{}
	for _, name := range names {
		id, generation, ok := b.Membership(name)
		if !ok || b.group.members[id] == nil || generation != b.group.generation {
			continue
		}
		for _, p := range b.Owned(name) {
			if other := owner[p]; other != "" {
				t.Fatalf("seed %d: %s and %s own %d\n%s", seed, name, other, p, b.Dump())
			}
			owner[p] = name
		}
	}
}

func wantAllOwned(t *testing.T, b *Broker, names []string, seed uint64) {
	t.Helper()
	var owned []int32
	for _, name := range names {
		owned = append(owned, b.Owned(name)...)
	}
	slices.Sort(owned)
	if got := fmt.Sprint(owned); got != "[0 1 2]" {
		t.Fatalf("seed %d: owned %s\n%s", seed, got, b.Dump())
	}
}

func TestClone_SharesNothing(t *testing.T) {
	b := newTestBroker()
	b.Join("A", 0)
	settle(b, "A")
	was := b.Fingerprint()
	c := b.Clone()
	if c.Fingerprint() != was {
		t.Fatal("a clone differs")
	}
	c.Produce(0, 1)
	c.Join("B", 0)
	settle(c, "A", "B")
	c.Pin(0, "B")
	c.FailNextCommit(0, OffsetMetadataTooLarge)
	if b.Fingerprint() != was {
		t.Fatal("what happened to the clone happened to the original")
	}
}
