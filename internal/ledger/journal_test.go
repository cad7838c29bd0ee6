package ledger

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	waybill "github.com/waybill-data/waybill"
)

func containsLine(text, part string) bool { return strings.Contains(text, part) }

func TestDecisions_FirstWins(t *testing.T) {
	w := newWorld(t)
	d := Decision{
		Pipeline: "p", Epoch: 1, Batch: waybill.BatchID{0xab, 1}, Target: "ai.t", TopicPartition: waybill.TopicPartition{Topic: "t", Partition: 2},
		Offset: 5, Code: 469, Reason: "CHECK", At: now,
	}
	later := d
	later.Code, later.At = 6, now.Add(time.Second)
	other := d
	other.Batch = waybill.BatchID{0xab, 2}
	w.insert(TableDecisions, DecisionBlock([]Decision{later, other}))
	w.insert(TableDecisions, DecisionBlock([]Decision{d}))
	got, err := w.s.Decisions(t.Context(), "p", 1, d.Batch, "ai.t")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, []Decision{d}) {
		t.Errorf("got %+v\nwant %+v", got, d)
	}
}

func TestPipelines_RoundTrip(t *testing.T) {
	w := newWorld(t)
	p := Pipeline{Name: "p'q", ClusterID: "c", Topic: "t", TopicID: uuid.UUID{1, 2}, Epoch: 2, Target: "ai.t", FileHash: "h", FirstSeen: now}
	first := p
	first.Epoch = 1
	w.insert(TablePipelines, PipelineBlock(p))
	w.insert(TablePipelines, PipelineBlock(first))
	got, err := w.s.Pipelines(t.Context(), p.Name)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, []Pipeline{first, p}) {
		t.Errorf("got %+v", got)
	}
}
