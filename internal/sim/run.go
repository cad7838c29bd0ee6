package sim

import (
	"math/rand/v2"
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/sim/chmodel"
)

// Options of a run beside its seed.
type Options struct {
	// Faults is the script. Nil means: one drawn from the seed; empty means none.
	Faults []Fault
	// Mix says which faults are drawn; the zero value is all.
	Mix Mix
	// Mutant takes a rule back.
	Mutant delivery.Mutant
	// AtLeastOnce runs that mode; without it the seed decides, with Mutant it is exactly-once.
	AtLeastOnce bool
	// Routed gives the pipeline two or three tables.
	Routed bool
	// Handover has an operator promote backfills, and take them back, while all else happens. Its mix is HandoverMix.
	Handover bool
	// Transcript keeps a line for everything that happens.
	Transcript bool
}

// Result of a run.
type Result struct {
	Seed       uint64
	Faults     []Fault
	Problems   []string // empty if every law held
	Matrix     Matrix
	NotHit     int // faults of the script that had nothing to strike
	Findings   []waybill.Finding
	Transcript []string // if asked for
	Hash       uint64   // of the transcript, 0 without one
	Virtual    int64    // ms
	Promoted   int      // tables that have taken the place of another
}

// Failed reports whether some law was broken.
func (r Result) Failed() bool { return len(r.Problems) > 0 }

// Run simulates one seed. The same seed and options give the same result.
func Run(seed uint64, o Options) Result {
	rng := rand.New(rand.NewPCG(seed, 1))
	l := drawLayout(rng)
	if o.Handover {
		o.Mix = HandoverMix()
	}
	switch {
	case o.AtLeastOnce:
		l.mode = delivery.AtLeastOnce
	case o.Mutant != "" || o.Mix.Kinds != nil || o.Mix.script != nil:
		l.mode = delivery.ExactlyOnce
	}
	if o.Routed {
		l.tables = 2 + int(seed%2)
	}
	if o.Mix.shape != nil {
		o.Mix.shape(&l)
	}
	faults := o.Faults
	if faults == nil {
		faults = draw(rng, l, o.Mix)
	}
	w := newWorld(seed, l, o.Mutant, o.Transcript)
	w.tracef("seed %d %+v", seed, l)
	for _, f := range faults {
		w.script = append(w.script, &armed{Fault: f})
	}
	w.start()
	w.live(faults)
	res := Result{Seed: seed, Faults: faults, Problems: w.problems, Matrix: w.matrix, Transcript: w.lines, Virtual: w.now, Promoted: len(w.operator.counted)}
	for _, f := range w.findings {
		res.Findings = append(res.Findings, f.Finding)
	}
	for _, f := range w.script {
		if !f.struck {
			res.NotHit++
		}
	}
	if o.Transcript {
		res.Hash = w.hash.Sum64()
	}
	return res
}

// live runs to the end: production, faults, and then until all is quiet.
func (w *world) live(faults []Fault) {
	end := w.opt.producing
	for _, f := range faults {
		end = max(end, f.At+f.For)
	}
	failed := func() bool { return len(w.problems) > 0 }
	w.runUntil(end+1, failed)
	for _, f := range w.script { // what has not found its moment by now does not get another
		f.ready = false
	}
	checked := w.now
	settled := false
	w.runUntil(end+quietLimit, func() bool {
		if w.now-checked < 200 {
			return failed()
		}
		checked = w.now
		settled = w.quiet()
		return settled || failed()
	})
	if failed() {
		return
	}
	if !settled {
		w.fail("stuck: not quiet %d s after the last fault\n%s", quietLimit/1000, w.state())
		return
	}
	w.tracef("quiet")
	w.judge()
}

func drawLayout(rng *rand.Rand) layout {
	l := layout{
		workers: 2 + rng.IntN(2), partitions: 2 + rng.IntN(3), tablePartitions: 1 + rng.IntN(3),
		views: rng.IntN(3) == 0, inFlight: 1 + rng.IntN(4), maxMetadata: 4096, producing: int64(6_000 + rng.IntN(14_000)),
		kind: chmodel.Kind(rng.IntN(2)),
	}
	if rng.IntN(2) == 0 {
		l.poison = 3 + rng.IntN(8)
	}
	if rng.IntN(4) == 0 {
		l.maxMetadata = 260 // room for two or three batches in a string
	}
	if rng.IntN(12) == 0 {
		l.mode = delivery.AtLeastOnce
	}
	return l
}

// Mix says what random fault scripts are made of.
type Mix struct {
	Kinds  []FaultKind // nil is all
	Points []string    // where faults wait for a point; nil is anywhere
	Most   int         // faults a script at most; 0 is 6
	// shape changes what the seed decides about the pipeline.
	shape func(*layout)
	// script replaces the drawing altogether.
	script func(*rand.Rand, layout) []Fault
}

// draw writes a script of random faults.
func draw(rng *rand.Rand, l layout, m Mix) []Fault {
	if m.Kinds == nil {
		m.Kinds = FaultKinds()
	}
	if m.Points == nil {
		m.Points = points
	}
	if m.Most == 0 {
		m.Most = 6
	}
	var out []Fault
	if m.script != nil {
		out = m.script(rng, l)
	} else {
		for range rng.IntN(m.Most + 1) {
			out = append(out, drawFault(rng, l, m)...)
		}
	}
	slices.SortStableFunc(out, func(a, b Fault) int { return int(a.At - b.At) })
	return out
}

var stores = []waybill.Store{waybill.StoreTarget, waybill.StoreTarget, waybill.StoreTarget, waybill.StoreDeadLetters, waybill.StoreLedger}

var points = []string{"gathered", "commit-built", "commit-sent", "commit-answered", "decided target", "sent target", "slice target",
	"answered target", "decided dead_letters", "sent dead_letters", "slice dead_letters", "answered dead_letters", "decided ledger",
	"sent ledger", "slice ledger", "answered ledger", "read-back", "rebuilding", "rebuilding", "rebuilt", "claim-sent", "claim-sent", "claimed", "assigned", "revoked", "fetched", "checked"}

// drawFault draws one fault; eviction needs an outage that is long enough for tokens to age.
func drawFault(rng *rand.Rand, l layout, m Mix) []Fault {
	f := Fault{At: int64(200 + rng.IntN(int(l.producing))), Kind: m.Kinds[rng.IntN(len(m.Kinds))], Partition: -1}
	worker := func() int { return 1 + rng.IntN(l.workers+l.shadows()) }
	partition := func() int32 { return int32(rng.IntN(l.partitions)) }
	store := func() waybill.Store { return stores[rng.IntN(len(stores))] }
	after := func() {
		if rng.IntN(3) > 0 {
			f.After = m.Points[rng.IntN(len(m.Points))]
		}
	}
	switch f.Kind {
	case Crash:
		f.Worker, f.For = worker(), int64(300+rng.IntN(12_000))
		after()
	case Pause:
		f.Worker, f.For = worker(), int64(500+rng.IntN(16_000))
		after()
	case Move:
		f.Worker, f.Partition = worker(), partition()
		after()
	case DropInsertRequest, DropInsertReply, DelayInsert, RefuseInsert:
		f.Store = store()
		switch rng.IntN(8) {
		case 0, 1:
			f.Store = ""
		case 2:
			f.Store = storeDecisions
		}
	case DropReadReply:
		f.Store = []waybill.Store{"", waybill.StoreTarget, waybill.StoreDeadLetters, waybill.StoreLedger, storeLog, storeLog}[rng.IntN(6)]
	case SlowInsert:
		f.Store, f.For = store(), int64(1_000+rng.IntN(6_000))
	case Swallow:
		f.Store, f.Partition = store(), int32(rng.IntN(min(l.tablePartitions, 2)))
	case Evict:
		return drawEviction(rng, l, f, m)
	case KillServer:
		f.For = int64(50 + rng.IntN(3_000))
		if rng.IntN(2) == 0 {
			f.After = []string{"sent target", "slice target", "slice dead_letters", "slice ledger", "decided target"}[rng.IntN(5)]
		}
	case FailView:
		f.For = int64(500 + rng.IntN(8_000))
		after()
	case AdminSet:
		f.Partition, f.By = partition(), int64(rng.IntN(31)-15)
		after()
	case WipeMetadata, LoseOffsets:
		f.Partition = partition()
		after()
	case Trim:
		f.Partition, f.By = partition(), int64(1+rng.IntN(40))
		after()
	case Compact:
		f.Partition, f.By = partition(), int64(rng.IntN(12))
		after()
	case RecreateTopic, AddPartition, ExpireOffsets:
		after()
	}
	if m.Kinds == nil || len(m.Kinds) == len(FaultKinds()) {
		return append(orphan(rng, l, &f), f)
	}
	return []Fault{f}
}

// orphan now and then adds a fault that ends the work whose request f is about to strike.
func orphan(rng *rand.Rand, l layout, f *Fault) []Fault {
	if rng.IntN(5) > 0 || f.Store == storeDecisions {
		return nil
	}
	store := f.Store
	if store == "" {
		store = waybill.StoreTarget
	}
	worker := 1 + rng.IntN(l.workers)
	switch f.Kind {
	case DropInsertRequest, DelayInsert:
		pause := Fault{At: f.At, Kind: Pause, Worker: worker, Partition: -1, For: sessionTimeout + int64(rng.IntN(4_000)), After: "decided " + string(store)}
		f.Worker, f.At = worker, f.At+2_000
		return []Fault{pause}
	case Swallow:
		return []Fault{{At: f.At, Kind: Crash, Worker: worker, Partition: -1, For: 3_000, After: "sent " + string(store)}}
	case DropInsertReply:
		var out []Fault
		for n := range l.partitions {
			out = append(out, Fault{At: f.At, Kind: Move, Worker: 1 + (worker % l.workers), Partition: int32(n), After: "sent " + string(store)})
		}
		return append(out, Fault{At: f.At, Kind: SlowInsert, Partition: -1, Store: store, For: 6_000})
	}
	return nil
}

// drawEviction: a worker, all of them, or the server are gone for so long that tokens leave the window
// while their batches are pending.
func drawEviction(rng *rand.Rand, l layout, f Fault, m Mix) []Fault {
	f.Store = append(slices.Clone(stores), storeView, storeView)[rng.IntN(len(stores)+2)]
	start, long := f.At, int64(tokenAge+24_000)
	f.At += long - 3_000
	out := []Fault{f}
	switch rng.IntN(4) {
	case 0:
		after := []string{"slice target", "claim-sent"}[rng.IntN(2)]
		return append(out, Fault{At: start, Kind: KillServer, Partition: -1, For: long, After: after})
	case 1:
		return append(out, Fault{At: start, Kind: Pause, Worker: 1 + rng.IntN(l.workers), Partition: -1, For: long, After: m.Points[rng.IntN(len(m.Points))]})
	case 2: // the tokens go when those who come back have begun to recover
		out[0].After = []string{"rebuilding", "read-back", "decided target"}[rng.IntN(3)]
	}
	for i := range l.workers {
		out = append(out, Fault{At: start + int64(rng.IntN(800)), Kind: Crash, Worker: i + 1, Partition: -1, For: long - 4_000})
	}
	return out
}
