package sim

import (
	"errors"
	"maps"
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/sim/groupmodel"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// person is who looks after stopped workers.
func (w *world) person() {
	w.reads = append(w.reads, w.ch.Commits())
	for _, p := range w.procs {
		if p.stopped == nil || p.dead || w.outage {
			continue
		}
		switch {
		case p.shadow != nil: // its table has gone: its job is over
			p.dead = true
		case w.recreated(p.stopped):
			w.bumpEpoch()
		default:
			w.fail("%s stopped: %v", p.name, p.stopped)
			p.dead = true
		}
	}
	w.after(1_000, w.person)
}

func (w *world) recreated(err error) bool {
	if len(w.truth.logs) < 2 || int(w.epoch) >= len(w.truth.logs) {
		return false
	}
	return errors.Is(err, errTopicRecreated) || waybill.ClassOf(err) == waybill.ClassConfig
}

// allDown ends every process and answers what they were at.
func (w *world) allDown() []delivery.WorkStatus {
	w.outage, w.down, w.faulty = true, true, true
	works := w.worksIn(-1)
	for _, p := range w.procs {
		if !p.dead {
			p.crash()
		}
	}
	return works
}

func (w *world) allUp() {
	w.outage = false
	for i := range w.procs {
		w.launch(i)
	}
}

// bumpEpoch: every worker is taken down, and only when nothing of theirs can arrive any more do they
// start again under the next epoch.
func (w *world) bumpEpoch() {
	w.tracef("operator raises the epoch to %d", w.epoch+1)
	w.allDown()
	w.after(2*stragglers, func() {
		w.epoch++
		w.allUp()
	})
}

// outageFor takes all workers down until the group is empty, lets the fault happen and starts them
// again.
func (w *world) outageFor(f *armed) {
	if w.outage {
		w.miss(f)
		return
	}
	works := w.allDown()
	w.after(2*stragglers, func() {
		if w.tamper(f) {
			w.hit(f, works)
		} else {
			w.miss(f)
		}
		w.allUp()
	})
}

// tamper changes the group's offsets while the group is empty.
func (w *world) tamper(f *armed) bool {
	if f.Kind == ExpireOffsets {
		if w.broker.ExpireOffsets() != groupmodel.OK {
			return false
		}
		for n := range w.broker.Partitions() {
			w.unexpect(n)
			if w.tip(n, w.epoch) >= 0 && !w.pendingRecreation() && w.opt.mode == delivery.ExactlyOnce {
				w.expect("group_missing", n)
			}
		}
		return true
	}
	n := f.Partition
	tip := w.tip(n, w.epoch)
	at := w.broker.FetchOffsets(n)[0].Offset
	if tip < 0 || at < 0 || w.pendingRecreation() || w.opt.mode == delivery.AtLeastOnce {
		return false
	}
	if f.Kind == AdminSet {
		at = min(max(0, at+f.By), w.broker.LogEnd(n))
	}
	if w.broker.AdminSetOffset(n, at, "") != groupmodel.OK {
		return false
	}
	w.unexpect(n)
	switch {
	case at > tip:
		w.expect("position_moved_forward", n)
	case at < tip:
		w.expect("position_moved_back", n)
	default:
		w.expect("metadata_wiped", n)
	}
	return true
}

func (w *world) pendingRecreation() bool { return int(w.epoch) < len(w.truth.logs) }

// expect notes that a finding has to come; n is -1 if it is about no partition in particular.
func (w *world) expect(kind string, n int32) {
	w.expected = append(w.expected, expectation{kind, n, w.now})
}

// unexpect drops what was expected of a partition's next start and has not come: the state that it was
// about is overwritten.
func (w *world) unexpect(n int32) {
	w.expected = slices.DeleteFunc(w.expected, func(e expectation) bool { return e.partition == n && !w.came(e) })
}

func (w *world) came(e expectation) bool {
	return slices.ContainsFunc(w.findings, func(f foundAt) bool {
		return f.Kind == e.kind && f.at >= e.since && (e.partition < 0 || f.Partition == e.partition)
	})
}
