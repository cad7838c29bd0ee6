package sim

import (
	"fmt"
	"strings"

	"github.com/waybill-data/waybill/internal/delivery"
)

// Idle stands in the matrix for a fault that struck when no work was concerned.
const Idle = "idle"

// Matrix counts how often each kind of fault struck a work in each stage.
type Matrix map[FaultKind]map[string]int

func (m Matrix) add(k FaultKind, stage string) {
	if m[k] == nil {
		m[k] = map[string]int{}
	}
	m[k][stage]++
}

// Merge adds the counts of another matrix.
func (m Matrix) Merge(o Matrix) {
	for k, row := range o {
		for s, n := range row {
			if m[k] == nil {
				m[k] = map[string]int{}
			}
			m[k][s] += n
		}
	}
}

// columns of the matrix: idle, then every stage but gone, in which there is no work any more.
func columns() []string {
	out := []string{Idle}
	for _, s := range delivery.Stages() {
		if s != delivery.StageGone {
			out = append(out, s.String())
		}
	}
	return out
}

// Unreachable says why a cell of the matrix stays empty; "" for a cell that must not.
func Unreachable(k FaultKind, stage string) string {
	for _, u := range unreachable {
		if u.kind == k && (u.stages == "*" || strings.Contains(" "+u.stages+" ", " "+stage+" ")) {
			return u.why
		}
	}
	return ""
}

type unreachableCells struct {
	kind   FaultKind
	stages string
	why    string
}

const noInsert = "gathered intending rebuilding queued finished"

var unreachable = []unreachableCells{
	{DropInsertRequest, noInsert, "no insert is sent in this stage; one that outlives its stage counts for the stage that sent it"},
	{DropInsertReply, noInsert, "no insert is sent in this stage"},
	{DelayInsert, noInsert, "no insert is sent in this stage"},
	{SlowInsert, noInsert, "no insert is sent in this stage"},
	{SlowInsert, "claiming ledger", "one table partition, so one slice: there is nothing between slices"},
	{RefuseInsert, noInsert, "no insert is sent in this stage"},
	{Swallow, noInsert, "no insert is sent in this stage"},
	{Swallow, "claiming", "decisions are a grow-only set without tokens"},
	{KillServer, noInsert, "the server holds no request of this stage"},
	{DropReadReply, "gathered intending claiming queued finished", "nothing is read in this stage"},
	{Evict, "gathered", "no token of the batch has left any worker"},
}

// Empty lists the reachable cells that were never hit.
func (m Matrix) Empty() []string {
	var out []string
	for _, k := range FaultKinds() {
		for _, s := range columns() {
			if m[k][s] == 0 && Unreachable(k, s) == "" {
				out = append(out, string(k)+" x "+s)
			}
		}
	}
	return out
}

// String is the matrix as a table: counts, "-" for unreachable cells.
func (m Matrix) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-20s", "")
	for _, s := range columns() {
		fmt.Fprintf(&b, " %12s", s)
	}
	b.WriteByte('\n')
	for _, k := range FaultKinds() {
		fmt.Fprintf(&b, "%-20s", k)
		for _, s := range columns() {
			cell := fmt.Sprint(m[k][s])
			if m[k][s] == 0 && Unreachable(k, s) != "" {
				cell = "-"
			}
			fmt.Fprintf(&b, " %12s", cell)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// UnreachableCells lists the cells that must stay empty, each with its reason.
func UnreachableCells() []string {
	var out []string
	for _, k := range FaultKinds() {
		for _, s := range columns() {
			if why := Unreachable(k, s); why != "" {
				out = append(out, fmt.Sprintf("%s x %s: %s", k, s, why))
			}
		}
	}
	return out
}
