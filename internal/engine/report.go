package engine

import (
	"os"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/deadletter"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/status"
)

// keepFindings is how many findings Status shows beside those that are open.
const keepFindings = 20

// totals since the process started.
type totals struct {
	status.Totals
	inserts         status.Inserts
	gathered, bytes int64 // what came from Kafka: records that are gathered again count again
}

// meter turns totals into rates over the last few seconds.
type meter struct {
	at    time.Time
	last  totals
	rates status.Rates
}

const meterWindow = 2 * time.Second

func (m *meter) read(now time.Time, t totals) status.Rates {
	if m.at.IsZero() {
		m.at, m.last = now, t
	}
	if d := now.Sub(m.at).Seconds(); d >= meterWindow.Seconds() {
		m.rates = status.Rates{ReadPerSecond: float64(t.gathered-m.last.gathered) / d, WrittenPerSecond: float64(t.Written-m.last.Written) / d, BytesPerSecond: float64(t.bytes-m.last.bytes) / d}
		m.at, m.last = now, t
	}
	return m.rates
}

func (p *Pipeline) setState(s status.PipelineState, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.reason = s, reason
}

// stateNow is what was set last.
func (p *Pipeline) stateNow() (status.PipelineState, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state, p.reason
}

// recordWait bounds how long a pipeline that ends waits for its findings to be recorded.
const recordWait = 5 * time.Second

// closeTarget lets findings that are being recorded land, then closes the connections.
func (p *Pipeline) closeTarget() {
	p.record(p.target)
	p.target.close()
}

// endTarget is closeTarget for the last time: what has been found is told too. A pipeline that goes on does not wait for that.
func (p *Pipeline) endTarget() {
	p.record(p.target)
	p.flushAlerts()
	p.target.close()
}

// record writes what has been seen and is not written yet, and ends the writing.
func (p *Pipeline) record(t *target) {
	giveUp := time.AfterFunc(recordWait, t.stopRecording)
	defer giveUp.Stop()
	if err := p.flushDrift(t.recordCtx, t); err != nil {
		p.log.Warn("what the last batches carried beside the contract is not in the table waybill.drift", "error", err)
	}
	t.overRecording()
	t.recording.Wait()
}

func worker() string {
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return host
}

// count adds those of the ledger rows that are there; this process has written them.
func (p *Pipeline) count(rows []delivery.LedgerRow, there delivery.RowSet) {
	now := p.serverTime()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range rows {
		if !there[r.TopicPartition].Contains(r.First) {
			continue
		}
		p.metrics.LedgerRows(1)
		p.dead.settle(now, r.Read, r.Dead)
		p.totals.Read += r.Read
		p.totals.Written += r.Written
		p.totals.Filtered += r.Filtered
		p.totals.DeadLettered += r.Dead
		p.totals.Tombstones += r.Tombstones
		p.totals.Lost += r.Lost
		m := p.metrics.ForPartition(r.TopicPartition)
		m.Read(r.Read)
		m.Written(r.Written)
		m.Filtered(r.Filtered)
		m.DeadLettered(r.Dead)
		m.Tombstones(r.Tombstones)
		m.Lost(r.Lost)
	}
}

func (p *Pipeline) countDead(envelopes []deadletter.Envelope, there delivery.RowSet) {
	for i := range envelopes {
		if e := &envelopes[i]; there[waybill.TopicPartition{Topic: e.Topic, Partition: e.Partition}].Contains(e.Offset) {
			p.metrics.DeadLetters(e.Code, 1)
		}
	}
}

func (p *Pipeline) noteRead(records, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.totals.gathered += records
	p.totals.bytes += bytes
}

// noteInsert takes in how long an INSERT into the target has taken.
func (p *Pipeline) noteInsert(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.totals.inserts.Count++
	p.totals.inserts.Seconds += took.Seconds()
	p.totals.inserts.LastSeconds = took.Seconds()
}

// noteDecoded counts what decoding a settled batch did beside making rows.
func (p *Pipeline) noteDecoded(d *data) {
	for i := range d.tables {
		p.noteTable(&d.tables[i].notes)
	}
	for _, by := range d.redacted {
		p.metrics.Redacted(by.Rule, by.Values)
	}
	p.metrics.Upcast(d.upcast)
	p.metrics.Assumed(d.assumed)
	p.metrics.Late(d.late)
}

func (p *Pipeline) noteTable(n *Notes) {
	var discarded, defaulted, rounded int64
	for i := range n.Drift {
		f := &n.Drift[i]
		if f.Mode != contract.ModeDiscard {
			continue
		}
		p.metrics.Discarded(string(f.Kind), f.Count)
		if f.Kind == contract.DriftNewField {
			p.metrics.DiscardedField(f.Path, f.Count)
			discarded += f.Count
		}
	}
	for reason, count := range n.Rescued {
		p.metrics.Rescued(reason, count)
	}
	for column, d := range n.Defaulted {
		count := d.Missing + d.Null + d.Invalid
		p.metrics.Defaulted(column, count)
		defaulted += count
	}
	for column, moved := range n.Moved {
		p.metrics.Moved(column, moved.Values, moved.Bytes)
	}
	for column, count := range n.Rounded {
		p.metrics.Rounded(column, count)
		rounded += count
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.totals.DiscardedFields += discarded
	p.totals.Defaulted += defaulted
	p.totals.Rounded += rounded
}

// Status is what the pipeline is doing now.
func (p *Pipeline) Status() status.Pipeline {
	now := time.Now()
	p.mu.Lock()
	s := status.Pipeline{Name: p.cfg.Name, State: p.state, Reason: p.reason, Assigned: p.assigned.Load(), Delivery: string(p.cfg.Delivery), Epoch: uint32(p.cfg.Epoch),
		Table: tableNames(p.cfg, config.ClickHouse.Place), Totals: p.totals.Totals, Rates: p.meter.read(now, p.totals), Inserts: p.totals.inserts,
		LastError: p.failure, Findings: p.findings.shown(), Partitions: []status.Partition{}, InFlight: []status.Batch{}}
	if p.target != nil {
		s.Epoch = uint32(p.target.epoch)
		s.Plan = p.target.now().plan.ID().String()
	}
	if tr := p.troubles.stalling(); tr != nil && p.state != status.Stopped {
		since := p.troubles.stalled
		s.State, s.StalledSince, s.Reason = status.Stalled, &since, tr.err.Error()
	}
	if ms := p.complete.Load(); ms > 0 {
		through := time.UnixMilli(ms).UTC()
		s.CompleteThrough = &through
	}
	l := p.life
	p.mu.Unlock()
	if l != nil {
		l.status(&s, now)
	}
	if at := p.lags.Load(); at != nil && l == nil {
		s.Partitions = *at
	}
	if p.backfill != nil {
		s.Backfill = p.backfill.progress(p.cfg.Job, s.Partitions)
	}
	return s
}

func (l *life) status(s *status.Pipeline, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.machine.Partitions() {
		out := status.Partition{Topic: p.Topic, Partition: p.Partition, State: partitionState(p.State), Position: p.Next, Settled: p.Committed, End: -1, Lag: -1}
		if l.frozen[p.TopicPartition] {
			out.State = status.Frozen
		}
		if end, ok := l.ends[p.TopicPartition]; ok {
			out.End = end
			if p.Committed >= 0 {
				out.Lag = max(0, end-p.Committed)
			}
		}
		s.Partitions = append(s.Partitions, out)
	}
	for _, w := range l.machine.Works() {
		b := status.Batch{ID: w.Batch.ID.String(), State: w.Stage.String(), AgeSeconds: now.Sub(time.UnixMilli(w.Batch.Time)).Seconds()}
		if d := l.data[w.ID]; d != nil {
			b.Rows, b.Bytes = d.count, d.bytes
		}
		s.InFlight = append(s.InFlight, b)
	}
}

func partitionState(s string) status.PartitionState {
	switch s {
	case "running":
		return status.Consuming
	case "fetching", "resolving", "starting":
		return status.Waiting
	}
	return status.Recovering
}
