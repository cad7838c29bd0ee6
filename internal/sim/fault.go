package sim

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/waybill-data/waybill"
)

// FaultKind is a word of the fault language.
type FaultKind string

// The kinds of fault. Those about requests wait, from their moment on, for the next request that fits.
const (
	Crash             FaultKind = "crash"               // worker N dies; a new life starts MS later
	Pause             FaultKind = "pause"               // worker N stands still for MS: a zombie, if that outlives its session
	Move              FaultKind = "move"                // partition N goes to worker N, cooperatively
	DropCommitRequest FaultKind = "drop-commit-request" // an offset commit is lost before the broker
	DropCommitReply   FaultKind = "drop-commit-reply"   // it is applied, but its answer is lost
	DelayCommit       FaultKind = "delay-commit"        // it arrives late
	FailCommit        FaultKind = "fail-commit"         // the broker refuses it for one of its partitions
	DropInsertRequest FaultKind = "drop-insert-request" // an insert is lost before the server
	DropInsertReply   FaultKind = "drop-insert-reply"   // it is carried out, but its answer is lost
	DelayInsert       FaultKind = "delay-insert"        // it arrives late
	SlowInsert        FaultKind = "slow-insert"         // inserts take long between their slices, for MS
	RefuseInsert      FaultKind = "refuse-insert"       // the server refuses it for reasons of its own (too many parts)
	DropReadReply     FaultKind = "drop-read-reply"     // a read fails
	Swallow           FaultKind = "swallow"             // the next slice of a store in table partition N plants its token and loses its rows
	Evict             FaultKind = "evict"               // other writers push a store's old tokens out of the window
	KillServer        FaultKind = "kill-server"         // the server dies in the middle of inserts and is back MS later
	FailView          FaultKind = "fail-view"           // the view throws for MS
	ExpireOffsets     FaultKind = "expire-offsets"      // all workers are down so long that the group's offsets expire
	AdminSet          FaultKind = "admin-set"           // the group's offset of partition N is moved by N by hand, all workers down
	WipeMetadata      FaultKind = "wipe-metadata"       // a tool rewrites the offset of partition N without its string, all workers down
	LoseOffsets       FaultKind = "lose-offsets"        // the broker forgets the offset of partition N in a living group
	RecreateTopic     FaultKind = "recreate-topic"      // the topic is deleted and created again
	Trim              FaultKind = "trim"                // retention takes the first N records that are left of partition N
	Compact           FaultKind = "compact"             // one record, N before the end of partition N, is gone
	AddPartition      FaultKind = "add-partition"       // the topic gets one more partition
)

// FaultKinds lists every kind, in the order of the matrix.
func FaultKinds() []FaultKind {
	return []FaultKind{Crash, Pause, Move, DropCommitRequest, DropCommitReply, DelayCommit, FailCommit, DropInsertRequest, DropInsertReply,
		DelayInsert, SlowInsert, RefuseInsert, DropReadReply, Swallow, Evict, KillServer, FailView, ExpireOffsets, AdminSet, WipeMetadata,
		LoseOffsets, RecreateTopic, Trim, Compact, AddPartition}
}

// waits says which kinds strike at the next request that fits rather than at their moment.
func (k FaultKind) waits() bool {
	switch k {
	case DropCommitRequest, DropCommitReply, DelayCommit, FailCommit, DropInsertRequest, DropInsertReply, DelayInsert, RefuseInsert, DropReadReply:
		return true
	}
	return false
}

// Fault is one line of a fault script:
//
//	at MS KIND [worker N] [partition N] [store NAME] [by N] [for MS] [after POINT]
//
// Workers count from 1; POINT is a moment in a worker's life, such as "decided target" (the lease has
// been checked), "sent target", "slice target", "answered ledger", "commit-built", "commit-sent",
// "commit-answered", "gathered", "rebuilt", "read-back", "claim-sent", "assigned", "revoked".
type Fault struct {
	At        int64 // ms
	Kind      FaultKind
	Worker    int   // 0: any, or none
	Partition int32 // -1: none
	Store     waybill.Store
	By        int64
	For       int64 // ms
	After     string
}

func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "at %d %s", f.At, f.Kind)
	if f.Worker > 0 {
		fmt.Fprintf(&b, " worker %d", f.Worker)
	}
	if f.Partition >= 0 {
		fmt.Fprintf(&b, " partition %d", f.Partition)
	}
	if f.Store != "" {
		fmt.Fprintf(&b, " store %s", f.Store)
	}
	if f.By != 0 {
		fmt.Fprintf(&b, " by %d", f.By)
	}
	if f.For != 0 {
		fmt.Fprintf(&b, " for %d", f.For)
	}
	if f.After != "" {
		fmt.Fprintf(&b, " after %s", f.After)
	}
	return b.String()
}

// Script prints faults one a line; ParseScript reads them back.
func Script(faults []Fault) string {
	var b strings.Builder
	for _, f := range faults {
		b.WriteString(f.String() + "\n")
	}
	return b.String()
}

// ParseScript reads faults separated by newlines or semicolons. Empty lines and those that start with #
// are skipped.
func ParseScript(text string) ([]Fault, error) {
	var out []Fault
	for _, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ';' }) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f, err := parseFault(line)
		if err != nil {
			return nil, fmt.Errorf("fault %q: %w", line, err)
		}
		out = append(out, f)
	}
	return out, nil
}

func parseFault(line string) (Fault, error) {
	f := Fault{Partition: -1}
	words := strings.Fields(line)
	if len(words) < 3 || words[0] != "at" {
		return f, fmt.Errorf("does not start with: at MS KIND")
	}
	at, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil {
		return f, err
	}
	f.At, f.Kind = at, FaultKind(words[2])
	if !known(f.Kind) {
		return f, fmt.Errorf("unknown kind %q", f.Kind)
	}
	for words = words[3:]; len(words) > 0; words = words[2:] {
		if len(words) < 2 {
			return f, fmt.Errorf("%q lacks a value", words[0])
		}
		if words[0] == "after" {
			f.After = strings.Join(words[1:], " ")
			return f, nil
		}
		if err := f.set(words[0], words[1]); err != nil {
			return f, err
		}
	}
	return f, nil
}

func known(k FaultKind) bool {
	for _, o := range FaultKinds() {
		if k == o {
			return true
		}
	}
	return false
}

func (f *Fault) set(key, value string) error {
	if key == "store" {
		f.Store = waybill.Store(value)
		return nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return err
	}
	switch key {
	case "worker":
		f.Worker = int(n)
	case "partition":
		f.Partition = int32(n)
	case "by":
		f.By = n
	case "for":
		f.For = n
	default:
		return fmt.Errorf("unknown word %q", key)
	}
	return nil
}
