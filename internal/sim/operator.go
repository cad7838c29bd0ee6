package sim

import (
	"fmt"
	"maps"
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/sim/chmodel"
	"github.com/waybill-data/waybill/internal/sim/groupmodel"
)

// Mutants of the operator: each takes back a rule of docs/adr/0015.
const (
	// MutantNoFence makes tables that take rows of any epoch.
	MutantNoFence delivery.Mutant = "no-fence"
	// MutantOneName sends EXCHANGE again under the name that an earlier one, which may still come, is about.
	MutantOneName delivery.Mutant = "exchange-repeated-under-one-name"
	// MutantEarlyV reads the group's offsets before its members have left.
	MutantEarlyV delivery.Mutant = "v-before-the-group-is-empty"
	// MutantLateV exchanges the tables first, reads the group's offsets then, and has the backfill go on up to them.
	MutantLateV delivery.Mutant = "v-after-the-exchange"
	// MutantForeignV takes the group's offsets for V though an older epoch has put them there.
	MutantForeignV delivery.Mutant = "v-of-an-older-epoch"
	// MutantKeepBehindV keeps what others have left in the standby.
	MutantKeepBehindV delivery.Mutant = "rows-behind-v-kept"
	// MutantLateGeneration puts a table's epoch on record when the table is live already.
	MutantLateGeneration delivery.Mutant = "generation-after-the-exchange"
	// MutantEpochReused writes a standby on under the epoch that it had.
	MutantEpochReused delivery.Mutant = "epoch-of-a-table-reused"
)

// operator puts tables in the place of tables: a backfill into a fresh one, promoted; back to the old one; and again. It is a process that
// dies between any two of its steps. What it knows of then is the journal; whoever goes on with it repeats the step. Sometimes nobody does.
type operator struct {
	w  *world
	on bool

	// Durable.
	generations map[int][]waybill.Epoch // by table
	hold        struct {
		job   int
		until int64
	}
	jobs    []*backfill
	standby *standby

	// For the oracle.
	accounts map[int]account // by table
	counted  map[int]bool    // jobs that are in them

	outlived map[int]outlived // by worker
	joins    int              // of the live group
	lapses   int              // of holds that were to be renewed

	acts    int // how many jobs there are to be
	deaths  int // that are left
	crews   int // at work, or to be
	holdFor int64
}

// backfill is a job's journal.
type backfill struct {
	number      int
	epoch       waybill.Epoch
	table, live int    // UUIDs
	as          string // the table's name while it is not live
	attempt     int    // to exchange the tables
	renamed     bool   // for an attempt that has not been made
	group       *groupmodel.Broker
	floor       map[int32]int64 // where a standby was left; nil: it is a fresh table
	own         waybill.Epoch   // the highest that the standby's rows are of
	until       map[int32]int64
	v           map[int32]int64 // nil before it was read
	fencedAt    int64

	tabled, known, manned, followed, drained, cleaned, closed, swapped, done bool

	joins, lapses int // when V was read
}

// standby is the table that was live before.
type standby struct {
	uuid  int
	floor map[int32]int64
}

const nameStandby = "standby"

func (o *operator) start() {
	if !o.on {
		return
	}
	w := o.w
	o.counted = map[int]bool{}
	o.generations, o.outlived, o.accounts = map[int][]waybill.Epoch{}, map[int]outlived{}, map[int]account{w.ch.UUID(tableTarget): {}}
	for n := range w.broker.Partitions() {
		o.accounts[w.ch.UUID(tableTarget)][n] = segments{{w.epoch, 0}}
	}
	o.acts, o.deaths, o.holdFor = 1+w.rng.IntN(3), w.rng.IntN(4), w.between(1_500, 6_000)
	o.send(w.between(1_500, 6_000))
	if w.chance(15) { // two at once
		o.send(w.between(1_500, 9_000))
	}
}

func (o *operator) tick() {
	if !o.on {
		return
	}
	for _, j := range o.jobs {
		j.group.Tick(o.w.now)
	}
}

// over: nothing more comes of the operator.
func (o *operator) over() bool { return o.crews == 0 }

// held: somebody holds the pipeline.
func (o *operator) held() bool { return o.w.now < o.hold.until }

func (o *operator) highest(table int) waybill.Epoch {
	return slices.Max(append([]waybill.Epoch{0}, o.generations[table]...))
}

// begun: the epoch is on record as a table's.
func (o *operator) begun(e waybill.Epoch) bool {
	for _, epochs := range o.generations {
		if slices.Contains(epochs, e) {
			return true
		}
	}
	return false
}

// job is the one under way, nil if there is none.
func (o *operator) job() *backfill {
	if len(o.jobs) == 0 || o.jobs[len(o.jobs)-1].done {
		return nil
	}
	return o.jobs[len(o.jobs)-1]
}

func (o *operator) account(table int) account { return o.accounts[table] }

// send sends somebody to go on with what the journal says.
func (o *operator) send(delay int64) {
	o.crews++
	o.w.after(delay, o.run)
}

// run is one step of somebody at work.
func (o *operator) run() {
	w := o.w
	if o.deaths > 0 && w.chance(5) {
		o.deaths--
		o.crews--
		if w.chance(30) {
			w.tracef("operator dies, and nobody comes")
			return
		}
		w.tracef("operator dies")
		o.send(w.between(200, 9_000))
		return
	}
	next := 200 + w.latency()
	if w.chance(3) {
		next = w.between(2_000, 12_000) // he sleeps
	}
	if w.now >= w.serverUp && !o.act() {
		o.crews--
		return
	}
	w.after(next, o.run)
}

// act takes the next step, if it can be taken. It is false if there is none.
func (o *operator) act() bool {
	j := o.job()
	if j == nil {
		if len(o.jobs) >= o.acts {
			return false
		}
		o.begin()
		return true
	}
	for _, step := range o.steps() {
		if !*step.done(j) {
			o.w.tracef("operator: job %d: %s", j.number, step.name)
			*step.done(j) = step.do(j)
			return true
		}
	}
	return true
}

type step struct {
	name string
	done func(*backfill) *bool
	do   func(*backfill) bool // false: again
}

func (o *operator) steps() []step {
	table := step{"table", func(j *backfill) *bool { return &j.tabled }, o.makeTable}
	generation := step{"generation", func(j *backfill) *bool { return &j.known }, o.putGeneration}
	man := step{"workers", func(j *backfill) *bool { return &j.manned }, o.man}
	follow := step{"follow", func(j *backfill) *bool { return &j.followed }, o.follow}
	drain := step{"hold and drain", func(j *backfill) *bool { return &j.drained }, o.drain}
	clean := step{"clean", func(j *backfill) *bool { return &j.cleaned }, o.clean}
	dismiss := step{"dismiss", func(j *backfill) *bool { return &j.closed }, o.dismiss}
	swap := step{"exchange", func(j *backfill) *bool { return &j.swapped }, o.swap}
	release := step{"release", func(j *backfill) *bool { return &j.done }, o.release}
	switch o.w.mutant {
	case MutantLateGeneration:
		return []step{table, man, follow, drain, clean, dismiss, swap, generation, release}
	case MutantLateV:
		return []step{table, generation, man, follow, clean, swap, drain, dismiss, release}
	}
	return []step{table, generation, man, follow, drain, clean, dismiss, swap, release}
}

// begin draws an epoch that nobody has used.
func (o *operator) begin() {
	w := o.w
	j := &backfill{number: len(o.jobs) + 1, live: w.ch.UUID(tableTarget), group: w.broker.Beside(), until: map[int32]int64{}, epoch: w.epoch}
	j.as = fmt.Sprintf("shadow%d", j.number)
	for _, epochs := range o.generations {
		j.epoch = max(j.epoch, slices.Max(epochs))
	}
	for _, other := range o.jobs {
		j.epoch = max(j.epoch, other.epoch)
	}
	j.epoch++
	if s := o.standby; s != nil {
		j.table, j.floor, j.own = s.uuid, s.floor, max(w.epoch, o.highest(s.uuid))
		maps.Copy(j.until, s.floor)
		if w.mutant == MutantEpochReused {
			j.epoch = j.own
		}
	}
	o.jobs = append(o.jobs, j)
	w.tracef("operator: job %d: epoch %d, standby %v", j.number, j.epoch, j.floor != nil)
}

func (o *operator) makeTable(j *backfill) bool {
	ch := o.w.ch
	if j.floor == nil && !ch.Exists(j.as) {
		ch.AddTable(j.as, chmodel.TableOptions{Kind: o.w.opt.kind, Window: 100_000, PoisonRefused: true})
		j.table = ch.UUID(j.as)
	}
	if j.floor != nil && !ch.Exists(j.as) {
		if !ch.Exists(nameStandby) { // a table is nowhere: some mutants do that
			o.w.fail("job %d: the table that was taken back is gone", j.number)
			return false
		}
		ch.Rename(nameStandby, j.as)
	}
	options := ch.Options(j.as)
	if options.Fence = uint32(j.epoch); o.w.mutant == MutantNoFence {
		options.Fence = 0
	}
	ch.SetOptions(j.as, options)
	j.fencedAt = o.w.now
	return true
}

// putGeneration: before the table can come under the live name.
func (o *operator) putGeneration(j *backfill) bool {
	if !slices.Contains(o.generations[j.table], j.epoch) {
		o.generations[j.table] = append(o.generations[j.table], j.epoch)
	}
	return true
}

func (o *operator) man(j *backfill) bool {
	for i := range 1 + j.number%2 {
		o.w.launchShadow(o.w.opt.workers + i)
	}
	return true
}

// follow has the backfill go as far as the live group has come.
func (o *operator) follow(j *backfill) bool {
	near := true
	for n := range o.w.broker.Partitions() {
		j.until[n] = max(j.until[n], o.position(j, n))
		near = near && j.group.FetchOffsets(n)[0].Offset >= j.until[n]-8
	}
	return near || o.w.chance(10)
}

// position is how far the live table's account has come: where the group stands, if that is of the table's epoch. A string of an older epoch
// says nothing of this table; its account ends then where it was promoted.
func (o *operator) position(j *backfill, n int32) int64 {
	w := o.w
	epoch := max(w.epoch, o.highest(j.live))
	c := w.broker.FetchOffsets(n)[0]
	if meta, err := delivery.ParseMetadata(c.Metadata); c.Offset >= 0 && (err != nil || meta.Epoch != epoch) && w.mutant != MutantForeignV {
		return w.tip(n, epoch)
	}
	return c.Offset
}

// drain holds the pipeline, reads V when the group is empty, and has the backfill go up to it.
func (o *operator) drain(j *backfill) bool {
	w := o.w
	if !o.held() && o.hold.job == j.number {
		o.lapses++
	}
	o.hold.job, o.hold.until = j.number, w.now+o.holdFor
	if j.v == nil {
		if state, _ := w.broker.GroupState(); state != groupmodel.Empty && w.mutant != MutantEarlyV {
			return false
		}
		v := map[int32]int64{}
		for n := range w.broker.Partitions() {
			v[n] = o.position(j, n)
		}
		if slices.Contains(slices.Collect(maps.Values(v)), -1) { // the pipeline has not begun yet
			o.hold.until = 0
			return false
		}
		j.v, j.joins, j.lapses = v, o.joins, o.lapses
		j.until = v
		w.tracef("operator: job %d: V is %v", j.number, v)
	}
	for n, offset := range j.v {
		c := j.group.FetchOffsets(n)[0]
		meta, err := delivery.ParseMetadata(c.Metadata)
		if err != nil || c.Offset != offset || len(meta.Intents) > 0 || offset > w.broker.LogStart(n) && w.tip(n, j.epoch) != offset {
			return false
		}
	}
	return true
}

// clean removes from a standby what is no part of its account: what came at or behind the offsets at which it was left. Whoever began to insert
// before there was a fence is done by then.
func (o *operator) clean(j *backfill) bool {
	if j.floor == nil || o.w.mutant == MutantKeepBehindV {
		return true
	}
	if o.w.now <= j.fencedAt+executionLimit {
		return false
	}
	o.w.ch.Delete(j.as, func(r chmodel.Row) bool {
		return waybill.Epoch(r.Epoch) < j.epoch && r.Offset >= j.floor[r.Partition]
	})
	return true
}

// dismiss sends the backfill's workers home. Now and then one does not hear of it.
func (o *operator) dismiss(j *backfill) bool {
	for _, p := range o.w.procs {
		if p.shadow == j && !p.dead && !o.w.chance(20) {
			p.retire()
		}
	}
	return true
}

// swap exchanges the tables and sees that it is so. The request may come late, when it has been given up: so each is about a name that the table
// gets for it, and once it has another one nothing comes of it. The look that an attempt is based on comes after that.
func (o *operator) swap(j *backfill) bool {
	w := o.w
	if o.hold.job == j.number && o.held() {
		o.hold.until = w.now + o.holdFor
	}
	switch live := w.ch.UUID(tableTarget) == j.table; {
	case live && w.ch.Exists(j.as) && w.mutant != MutantLateV:
		w.ch.Rename(j.as, nameStandby)
		return false
	case live:
		return true
	case !w.ch.Exists(j.as): // a late one, see MutantOneName
		w.ch.Rename(nameStandby, j.as)
		return false
	case !j.renamed:
		j.renamed = true
		if j.attempt++; w.mutant != MutantOneName && w.mutant != MutantLateV {
			as := fmt.Sprintf("shadow%d.%d", j.number, j.attempt)
			w.ch.Rename(j.as, as)
			j.as = as
		}
		return false
	}
	j.renamed = false
	delay := w.latency()
	if w.chance(25) {
		delay += w.between(300, 3_000)
	}
	as := j.as
	w.after(delay, func() { o.exchange(j, as) })
	return false
}

func (o *operator) exchange(j *backfill, as string) {
	w := o.w
	if w.now < w.serverUp || !w.ch.Exists(as) {
		return
	}
	if !o.counted[j.number] && w.mutant != MutantLateV {
		o.inspect(j)
	}
	w.ch.Exchange(tableTarget, as)
	if o.counted[j.number] {
		return
	}
	of := account{}
	for n := range w.broker.Partitions() {
		of[n] = append(slices.Clone(o.accounts[j.table][n]), segment{j.epoch, j.floor[n]})
	}
	o.accounts[j.table], o.counted[j.number] = of, true
}

// inspect judges what is about to become live: it holds what comes before V, once. And if the hold was kept, nothing that is settled is taken back.
func (o *operator) inspect(j *backfill) {
	w := o.w
	rows := map[rowKey]int{}
	for _, r := range w.ch.Rows(j.as) {
		rows[rowKey{r.Partition, r.Offset}]++
		if r.Offset >= j.v[r.Partition] {
			w.fail("job %d: partition %d offset %d is in the table that is to be live, and V is %d", j.number, r.Partition, r.Offset, j.v[r.Partition])
		}
	}
	for n, v := range j.v {
		for offset, f := range w.truth.log(n)[:v] {
			if got := rows[rowKey{n, int64(offset)}]; got > 1 || (got == 1) != (f.kind == kindRow) {
				w.fail("job %d: partition %d offset %d (%s) is %d times in the table that is to be live", j.number, n, offset, f.kind, got)
			}
		}
		if at := o.position(j, n); at > v && !j.swapped && o.held() && o.lapses == j.lapses && o.joins == j.joins {
			w.fail("job %d: the swap takes back partition %d from %d, though it is settled up to %d and the hold was kept", j.number, n, v, at)
		}
	}
}

func (o *operator) release(j *backfill) bool {
	if o.hold.job == j.number {
		o.hold.until = 0
	}
	o.standby = &standby{uuid: j.live, floor: j.v}
	return true
}
