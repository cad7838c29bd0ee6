// Package failpoint kills the process at named places, so that end-to-end tests can crash a worker
// between any two steps of the protocol. Outside such tests a failpoint costs one comparison.
//
// WAYBILL_FAILPOINT=NAME:N kills the process with SIGKILL the N-th time that it passes NAME. NAME:stop stops it with SIGSTOP each time, so that a test can do
// something to the servers just there.
package failpoint

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Name of a failpoint.
type Name string

// Env is the variable that arms a failpoint.
const Env = "WAYBILL_FAILPOINT"

// The failpoints, in the order in which a batch passes them.
const (
	Assigned          Name = "assigned"            // partitions were assigned, nothing has been read
	OffsetsFetched    Name = "offsets-fetched"     // positions and ledger tips are known
	StartResolved     Name = "start-resolved"      // a start offset is known, but not committed
	BeforeAlter       Name = "before-alter"        // events need another shape of the table, which is as it was
	AfterAlter        Name = "after-alter"         // the table is changed, nothing is gathered under the new plan
	BatchClosed       Name = "batch-closed"        // a batch is gathered, its intent is not sent
	CommitBuilt       Name = "commit-built"        // an offset commit is built, but not sent
	CommitAnswered    Name = "commit-answered"     // the broker has answered a commit, nobody has acted on it
	BeforeContent     Name = "before-content"      // the intent is durable, nothing is sent; long values are about to be
	AfterContent      Name = "after-content"       // long values are stored, no row that refers to them is sent
	BeforeTarget      Name = "before-target"       // the intent is durable, no row is sent
	DuringTarget      Name = "during-target"       // an insert of the target is on its way
	AfterTarget       Name = "after-target"        // the target's insert is answered
	BeforeDeadLetters Name = "before-dead-letters" // rows have landed, dead letters have not
	AfterDeadLetters  Name = "after-dead-letters"  // dead letters have landed
	BeforeLedger      Name = "before-ledger"       // all has landed but the ledger row
	AfterLedger       Name = "after-ledger"        // the ledger row has landed, the offset has not moved
	BeforeReadBack    Name = "before-read-back"    // in doubt
	AfterReadBack     Name = "after-read-back"     // doubt is settled, nothing has been sent on it
	BeforeRebuild     Name = "before-rebuild"      // a pending batch was found at assignment
	AfterRebuild      Name = "after-rebuild"       // its records have been read and decoded again
	BeforeClaim       Name = "before-claim"        // the server refuses rows, not on record yet
	AfterClaim        Name = "after-claim"         // refusals are on record, dead letters are not written
	TailChecked       Name = "tail-checked"        // a partition is recovered, nothing has been gathered
	Revoked           Name = "revoked"             // partitions were taken away
	Drained           Name = "drained"             // a graceful stop has settled everything and not left yet
)

// AfterObject is passed after each object of an archive: AfterTarget is after all of a batch.
const AfterObject Name = "after-object"

// PromoteStep is passed before and after each thing that `waybill schema promote` does. It lies on no batch's way.
const PromoteStep Name = "promote-step"

// BackfillStep is passed before and after each thing that a backfill's job does, beside what the engine does for it.
const BackfillStep Name = "backfill-step"

// Failpoints of `waybill dlq replay` and `discard`, in the order in which a batch passes them. On the way between the second and the third it
// passes those around inserts of the target and read-backs.
const (
	ReplaySelected Name = "replay-selected" // dead letters are chosen, nothing is on record
	ReplayBegun    Name = "replay-begun"    // the batch is in the journal, no row is sent
	ReplayLanded   Name = "replay-landed"   // the rows are there, the outcomes are not on record
	ReplayOutcomes Name = "replay-outcomes" // the outcomes are on record, the batch is not finished
	ReplayFinished Name = "replay-finished" // the batch is finished
)

// Failpoints of `waybill repair run`, beside those of a replay.
const (
	RepairDeleted Name = "repair-deleted" // of a rewrite: the old rows are gone, which is not on record
	RepairCleared Name = "repair-cleared" // it is on record, and no row is made again
	RepairBuried  Name = "repair-buried"  // rows and dead letters are there, the amendments are not on record
)

// Failpoints of `waybill erase`, beside those of a replay.
const (
	EraseRecorded Name = "erase-recorded" // the erasure is on record, nothing is deleted
	EraseRemoved  Name = "erase-removed"  // everything is deleted, the ledger's amendments are not on record
)

// backfillSteps are those of a backfill's job, by what is carried out: plan, any session, run, verify, a swap with its steps, and cleanup. operator's tests hold that
// these are all.
var backfillSteps = []string{
	"planned", "claimed",
	"epoch-chosen", "shadow-made", "shadow-fenced", "epoch-on-record", "running",
	"verifying",
	"swap-begun", "renamed", "before-prepare", "after-prepare", "before-follow", "after-follow",
	"round-begun", "third-table-filled", "before-attach", "attached", "trimmed", "round-settled", "before-keep", "after-keep",
	"held", "before-hold", "after-hold", "before-position", "after-position", "before-reach", "after-reach", "before-rest", "after-rest", "before-check", "after-check",
	"before-exchange", "exchanged", "after-exchange", "before-feed", "after-feed", "replaced-table-named", "released", "before-tell", "after-tell",
	"view-table-made", "view-rows-attached", "view-rows-made", "view-filled", "closed", "opened", "replaced-view-table-named",
	"renamed-to-be-dropped", "dropped", "anew", "refill",
}

// Backfills lists the failpoints that a backfill's job passes, beside those of the engine that fills its table.
func Backfills() []Name {
	out := make([]Name, len(backfillSteps))
	for i, step := range backfillSteps {
		out[i] = BackfillStep + "/" + Name(step)
	}
	return out
}

// Erasures lists the failpoints that an erasure passes.
func Erasures() []Name {
	return []Name{ReplaySelected, ReplayBegun, EraseRecorded, EraseRemoved, ReplayOutcomes, ReplayFinished}
}

// Repairs lists the failpoints that a rewrite passes.
func Repairs() []Name {
	return []Name{ReplaySelected, ReplayBegun, RepairDeleted, RepairCleared, BeforeReadBack, AfterReadBack, BeforeTarget, DuringTarget, AfterTarget, ReplayLanded, RepairBuried, ReplayOutcomes,
		ReplayFinished}
}

// Replays lists the failpoints that a replay passes.
func Replays() []Name {
	return []Name{ReplaySelected, ReplayBegun, BeforeReadBack, AfterReadBack, BeforeTarget, DuringTarget, AfterTarget, ReplayLanded, ReplayOutcomes, ReplayFinished}
}

// Objects lists the failpoints that the worker of an archive of objects passes.
func Objects() []Name {
	return []Name{Assigned, OffsetsFetched, StartResolved, BatchClosed, CommitBuilt, CommitAnswered, BeforeTarget, DuringTarget, AfterObject, AfterTarget, BeforeLedger, AfterLedger,
		BeforeReadBack, AfterReadBack, BeforeRebuild, AfterRebuild, TailChecked, Revoked, Drained}
}

// Contents lists the failpoints that a worker passes beside All if rows refer to long values.
func Contents() []Name { return []Name{BeforeContent, AfterContent} }

// All lists the failpoints that workers pass.
func All() []Name {
	return []Name{Assigned, OffsetsFetched, StartResolved, BeforeAlter, AfterAlter, BatchClosed, CommitBuilt, CommitAnswered, BeforeTarget, DuringTarget, AfterTarget,
		BeforeDeadLetters, AfterDeadLetters, BeforeLedger, AfterLedger, BeforeReadBack, AfterReadBack, BeforeRebuild, AfterRebuild,
		BeforeClaim, AfterClaim, TailChecked, Revoked, Drained}
}

var (
	armed Name
	left  atomic.Int64
	stops bool // the process, each time; else it is killed, once
)

// Arm reads the environment. An unknown name is an error, so that a test can't wait for a crash that
// never comes.
func Arm(getenv func(string) string) error {
	spec := getenv(Env)
	if spec == "" {
		return nil
	}
	name, count, found := strings.Cut(spec, ":")
	n := int64(1)
	stop := found && count == "stop"
	if found && !stop {
		var err error
		if n, err = strconv.ParseInt(count, 10, 64); err != nil || n < 1 {
			return fmt.Errorf("%s=%s: want NAME, NAME:stop or NAME:N with N >= 1", Env, spec)
		}
	}
	known := slices.Concat(All(), Contents(), Replays(), Repairs(), Erasures(), Backfills(), []Name{AfterObject, PromoteStep, BackfillStep})
	if !slices.Contains(known, Name(name)) {
		return fmt.Errorf("%s=%s: no such failpoint", Env, spec)
	}
	armed, stops = Name(name), stop
	left.Store(n)
	return nil
}

// Hit is passed by at a failpoint; it kills or stops the process if that one is armed and due.
func Hit(n Name) {
	if armed == n {
		hit(n)
	}
}

// hit is Hit of the one that is armed; n is what it is called.
func hit(n Name) {
	if stops {
		stop(n)
		return
	}
	if left.Add(-1) != 0 {
		return
	}
	fmt.Fprintf(os.Stderr, "failpoint %s: killing the process\n", n)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until the signal arrives
}

// stop comes back once somebody has sent SIGCONT. On a busy machine SIGSTOP takes a moment to reach all threads, and the caller would go on meanwhile.
func stop(n Name) {
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	defer signal.Stop(resumed)
	fmt.Fprintf(os.Stderr, "failpoint %s: stopping the process\n", n)
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	<-resumed
}

// HitStep is Hit of a failpoint that is passed again and again: it may be armed for one step, as NAME/STEP with blanks as dashes, or for all.
func HitStep(n Name, step string) {
	if armed == "" {
		return
	}
	full := n + "/" + Name(strings.ReplaceAll(step, " ", "-"))
	if armed == n || armed == full {
		hit(full)
	}
}

// During is a failpoint in the middle of what comes next: it kills the process a moment later, from
// another goroutine, while the caller goes on.
func During(n Name) {
	if armed != n || stops || left.Add(-1) != 0 {
		return
	}
	go func() {
		time.Sleep(duringDelay)
		fmt.Fprintf(os.Stderr, "failpoint %s: killing the process\n", n)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}()
}

// duringDelay is short against an insert, long against a function call.
const duringDelay = 3 * time.Millisecond
