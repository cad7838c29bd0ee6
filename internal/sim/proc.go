package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/sim/groupmodel"
)

// proc is one life of a worker process: a machine and its performer.
type proc struct {
	w           *world
	index       int
	name        string
	life        int
	dead        bool
	stopped     error // the machine has stopped and the process waits for the operator
	pausedUntil int64
	m           *delivery.Machine
	epoch       waybill.Epoch
	broker      *groupmodel.Broker // of its group
	targets     []string           // by the names that it sends to
	member      bool
	handing     int // batches that are closed but not handed in
	handover
	// lease is when the last answered heartbeat was sent.
	lease        int64
	parts        map[int32]*assignment
	lastInstance delivery.Instance
	data         map[delivery.WorkID]map[rowKey]uint64 // records at hand
}

type rowKey struct {
	partition int32
	offset    int64
}

// assignment is what the gatherer knows of one held partition.
type assignment struct {
	instance  delivery.Instance
	topicID   uint64
	gathering bool
	cursor    int64
}

func partitionOf(p int32) waybill.TopicPartition {
	return waybill.TopicPartition{Topic: topic, Partition: p}
}

func topicID(id uint64) (out [8]byte) {
	binary.LittleEndian.PutUint64(out[:], id)
	return out
}

// launch starts a new life of a worker.
func (w *world) launch(i int) {
	if i >= w.opt.workers {
		w.launchShadow(i)
		return
	}
	epoch, h := w.standing()
	w.begin(i, w.broker, w.targets, epoch, h)
}

// begin starts a life under an epoch in a group.
func (w *world) begin(i int, broker *groupmodel.Broker, targets []string, epoch waybill.Epoch, h handover) {
	w.lives++
	name := fmt.Sprintf("w%d", i+1)
	mutant := w.mutant
	if slices.Contains(performerMutants, mutant) {
		mutant = delivery.MutantNone
	}
	p := &proc{w: w, index: i, name: name, life: w.lives, epoch: epoch, broker: broker, targets: targets, handover: h, parts: map[int32]*assignment{},
		data: map[delivery.WorkID]map[rowKey]uint64{}, lastInstance: delivery.Instance(w.lives) << 20}
	p.m = delivery.New(delivery.Config{
		Pipeline: pipelineName, ClusterID: clusterName, Epoch: p.epoch, Superseded: h.superseded, Table: targetTableID, Tables: tableOf,
		Mode: w.opt.mode, Views: w.opt.views, MaxMetadata: w.opt.maxMetadata, MaxInFlight: w.opt.inFlight,
		Mutant: mutant, Worker: fmt.Sprintf("%s.%d", name, w.lives),
	})
	w.procs[i] = p
	w.tracef("%s starts, life %d, epoch %d", name, p.life, p.epoch)
	p.after(w.latency(), p.join)
	p.after(w.between(100, 500), p.pollLoop)
	p.after(w.between(100, 500), p.gatherLoop)
	if w.operator.on {
		p.after(w.between(100, 2_000), p.heedLoop)
		p.after(w.between(500, 5_000), p.watchLoop)
	}
}

// after schedules a step of this process: it does not happen if the process is dead by then, and
// waits while it is paused.
func (p *proc) after(delay int64, do func()) {
	p.w.after(delay, func() { p.run(do) })
}

func (p *proc) run(do func()) {
	switch {
	case p.dead || p.stopped != nil:
	case p.pausedUntil > p.w.now:
		p.w.after(p.pausedUntil-p.w.now+p.w.between(0, 20), func() { p.run(do) })
	default:
		do()
	}
}

// step hands an event to the machine and begins to perform what it asks for.
func (p *proc) step(ev delivery.Event) {
	if p.w.verbose {
		p.w.line(fmt.Sprintf("%s event %T%s", p.name, ev, brief(ev)))
	}
	for _, e := range p.m.Step(ev) {
		if p.w.verbose {
			p.w.line(fmt.Sprintf("%s effect %T%s", p.name, e, brief(e)))
		}
		p.perform(e)
	}
}

func (p *proc) crash() {
	p.w.tracef("%s crashes", p.name)
	p.dead = true
	p.broker.Crash(p.name)
}

func (p *proc) join() {
	if p.held() {
		p.standBy()
		return
	}
	if p.shadow == nil {
		p.w.operator.joins++
	}
	p.broker.Join(p.name, p.w.now)
	p.member = true
	p.lease = p.w.now
}

func (p *proc) pollLoop() {
	p.poll()
	p.after(p.w.between(100, 600), p.pollLoop)
}

// poll is one round of heartbeat and rebalance.
func (p *proc) poll() {
	if !p.member {
		return
	}
	ev := p.broker.Poll(p.name, p.w.now)
	if ev.Kicked {
		p.revoke(ev.Lost)
		p.member = false
		p.after(p.w.latency(), p.join)
		p.point("revoked")
		return
	}
	p.lease = p.w.now
	if len(ev.Revoked) > 0 {
		p.revoke(ev.Revoked)
		p.after(p.w.latency(), func() { p.broker.AckRevoked(p.name, p.w.now) })
		p.point("revoked")
	}
	if len(ev.Assigned) > 0 && !p.dead && p.stopped == nil {
		p.assign(ev.Assigned)
		p.point("assigned")
	}
}

func (p *proc) revoke(partitions []int32) {
	if p.w.opt.mode == delivery.AtLeastOnce && len(p.m.Works()) > 0 {
		p.w.faulty = true // what is in flight will be gathered again by the next owner
	}
	var gone []delivery.Held
	for _, n := range partitions {
		if a := p.parts[n]; a != nil {
			gone = append(gone, delivery.Held{TopicPartition: partitionOf(n), Instance: a.instance})
			delete(p.parts, n)
		}
	}
	p.step(delivery.Revoked{Parts: gone})
}

func (p *proc) assign(partitions []int32) {
	var held []delivery.Held
	for _, n := range partitions {
		p.lastInstance++
		p.parts[n] = &assignment{instance: p.lastInstance, topicID: p.broker.TopicID()}
		held = append(held, delivery.Held{TopicPartition: partitionOf(n), Instance: p.lastInstance})
	}
	p.step(delivery.Assigned{Parts: held})
}

// holds reports whether this very assignment is still the process's.
func (p *proc) holds(h delivery.Held) *assignment {
	if a := p.parts[h.Partition]; a != nil && a.instance == h.Instance {
		return a
	}
	return nil
}

var errTopicRecreated = errors.New("topic was deleted and created again")

// sameTopic stops the machine if the topic is not the one that was assigned: fetches name the topic's id.
func (p *proc) sameTopic(a *assignment) bool {
	if a.topicID == p.broker.TopicID() {
		return true
	}
	p.w.found(p.name, waybill.Finding{Kind: "topic_recreated", Severity: waybill.SeverityError})
	p.step(delivery.Failed{Err: &waybill.Error{Op: "kafka.fetch", Class: waybill.ClassConfig, Err: errTopicRecreated}})
	p.halt(errTopicRecreated)
	return false
}

// halt ends a process whose machine has stopped: it leaves the group and waits for the operator.
func (p *proc) halt(err error) {
	if p.stopped != nil {
		return
	}
	p.stopped = err
	p.w.tracef("%s stops: %v", p.name, err)
	p.broker.Leave(p.name, p.w.now)
	if waybill.ClassOf(err) == waybill.ClassBug {
		p.w.fail("%s: %v", p.name, err)
	}
}

func (p *proc) gatherLoop() {
	p.gather()
	p.after(p.w.between(80, 500), p.gatherLoop)
}

// gather closes a batch of random size over some of the partitions.
func (p *proc) gather() {
	if !p.m.Ready() || p.holding {
		return
	}
	w := p.w
	b := &waybill.Batch{Epoch: p.epoch, Plan: planOf(p.epoch), Decoder: 1, Table: targetTableID, Time: w.now}
	binary.LittleEndian.PutUint64(b.ID[:8], w.rng.Uint64())
	binary.LittleEndian.PutUint64(b.ID[8:], w.rng.Uint64())
	ev := delivery.Gathered{Batch: b}
	data := map[rowKey]uint64{}
	for n := range p.broker.Partitions() {
		a := p.parts[n]
		if a == nil || !a.gathering || w.chance(30) {
			continue
		}
		if !p.sameTopic(a) {
			return
		}
		s, t, ok := p.read(n, a.cursor, int(w.between(1, 8)), data)
		if !ok {
			continue
		}
		a.cursor = s.Next
		b.Spans = append(b.Spans, s)
		ev.Tallies = append(ev.Tallies, t)
		ev.Instances = append(ev.Instances, a.instance)
	}
	if len(b.Spans) == 0 {
		return
	}
	p.handing++
	p.after(w.latency(), func() {
		p.handing--
		ev.Work = p.m.NewWork()
		p.data[ev.Work] = data
		w.batches[b.ID.String()] = b
		p.step(ev)
		p.point("gathered")
	})
}

// read takes up to limit records of one partition from an offset on. Offsets that retention has taken
// make a span of their own: then their number can be told again by whoever rebuilds it.
func (p *proc) read(n int32, from int64, limit int, data map[rowKey]uint64) (waybill.BatchSpan, delivery.Tally, bool) {
	s := waybill.BatchSpan{TopicPartition: partitionOf(n), Span: waybill.Span{First: from, Next: from}}
	var t delivery.Tally
	if start := p.broker.LogStart(n); from < start {
		s.Next = start
		t.Lost = start - from
		p.w.found(p.name, waybill.Finding{Kind: "records_lost", Severity: waybill.SeverityError, TopicPartition: s.TopicPartition, Span: s.Span})
		return s, t, true
	}
	res := p.broker.Fetch(n, from, limit)
	if res.Code != groupmodel.OK || res.Next == from {
		return s, t, false
	}
	s.Next = res.Next
	if p.shadow != nil {
		if s.Next = min(s.Next, p.shadow.until[n]); s.Next <= from {
			return s, t, false
		}
		if floor := p.shadow.floor[n]; from < floor { // out of scope: covered, and not delivered
			s.Next = min(floor, p.shadow.until[n])
			return s, t, true
		}
	}
	for _, r := range res.Records {
		if r.Offset >= s.Next {
			break
		}
		s.Checksum += take(&t, n, r, data)
	}
	s.Count = t.Read
	return s, t, true
}

// take decodes one record and answers its checksum.
func take(t *delivery.Tally, n int32, r groupmodel.Record, data map[rowKey]uint64) uint64 {
	if r.Control {
		return 0
	}
	t.Read++
	data[rowKey{n, r.Offset}] = r.Value
	switch kindOf(r.Value) {
	case kindRow, kindPoison:
		t.Rows.Add(r.Offset)
	case kindDead:
		t.Dead.Add(r.Offset)
	case kindFiltered:
		t.Filtered++
	case kindTombstone:
		t.Tombstones++
	}
	return checksum(topic, n, r.Offset, r.Value)
}
