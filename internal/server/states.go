package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waybill-data/waybill/internal/status"
)

// pipelineStates are all that a pipeline can be in. Each has a series, so that a rule can ask for one that is not the case.
var pipelineStates = [...]status.PipelineState{status.Starting, status.Running, status.Stalled, status.Held, status.Paused, status.Draining, status.Stopped}

// states reports how each pipeline of the process is at the moment of a scrape. A pipeline that the process no longer has leaves no series behind.
type states struct {
	source       Source
	state, ready *prometheus.Desc
}

// States are metrics of what the source says of each pipeline: its state, and whether /readyz counts it as ready.
func States(source Source) prometheus.Collector {
	return &states{
		source: source,
		state:  prometheus.NewDesc("waybill_pipeline_state", "1 for the state that the pipeline is in, 0 for the others.", []string{"pipeline", "state"}, nil),
		ready: prometheus.NewDesc("waybill_pipeline_ready", "1 while the worker has the pipeline's partitions and has recovered them, 0 while /readyz says why not.",
			[]string{"pipeline"}, nil),
	}
}

func (s *states) Describe(to chan<- *prometheus.Desc) { to <- s.state; to <- s.ready }

func (s *states) Collect(to chan<- prometheus.Metric) {
	st := s.source.Status()
	for i := range st.Pipelines {
		p := &st.Pipelines[i]
		name := label(p)
		for _, state := range pipelineStates {
			to <- prometheus.MustNewConstMetric(s.state, prometheus.GaugeValue, is(p.State == state), name, string(state))
		}
		to <- prometheus.MustNewConstMetric(s.ready, prometheus.GaugeValue, is(len(p.NotReady()) == 0), name)
	}
}

// label is the pipeline's, as in its other metrics.
func label(p *status.Pipeline) string {
	if p.Backfill != nil {
		return p.Name + "@" + p.Backfill.Job
	}
	return p.Name
}

func is(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
