package config_test

import (
	"slices"
	"testing"

	"github.com/waybill-data/waybill/internal/config"
)

func TestShadow_IsThePipelineUnderAnotherEpochIntoATableThatGoesByItsName(t *testing.T) {
	live := parse(t, minimal+`
alerts: [{webhook: {url: "http://h/"}}]
dead_letters: {max_count: 3, max_share: 50%, ttl: 7d, mirror: {topic: dead}}
`)
	got := live.Shadow(config.Shadow{Job: "j1", Epoch: 7, Group: "g-j1", Table: "t_j1"})
	c := got.Sink.ClickHouse
	if got.Name != live.Name || got.Job != "j1" || got.Epoch != 7 || got.Source.Kafka.Group != "g-j1" || c.Table != "t_j1" || c.As != "t" {
		t.Errorf("got %s, job %q, epoch %d, group %s, table %s as %s", got.Name, got.Job, got.Epoch, got.Source.Kafka.Group, c.Table, c.As)
	}
	if c.Name() != live.Sink.ClickHouse.Name() || c.Place() == live.Sink.ClickHouse.Place() {
		t.Errorf("it goes by %s and is at %s; the pipeline's goes by %s and is at %s", c.Name(), c.Place(), live.Sink.ClickHouse.Name(), live.Sink.ClickHouse.Place())
	}
	if got.Alerts != nil || got.DeadLetters.MaxCount != 0 || got.DeadLetters.MaxShare != 0 || got.DeadLetters.Mirror != "" || got.Audit.Continuous || got.Audit.Reason == "" {
		t.Errorf("alerts %v, dead letters %+v, audit %+v", got.Alerts, got.DeadLetters, got.Audit)
	}
	if got.DeadLetters.TTL != live.DeadLetters.TTL {
		t.Error("dead letters are kept for another time")
	}
	if live.Epoch != 0 || live.Sink.ClickHouse.As != "" || len(live.Alerts) != 1 || live.DeadLetters.MaxCount != 3 {
		t.Error("the pipeline itself has changed")
	}
	if names := slices.Collect(tablesOf(got)); !slices.Equal(names, []string{"t_j1 as t"}) {
		t.Errorf("tables %v", names)
	}
}

func TestShadow_EachRouteHasATableOfItsOwn(t *testing.T) {
	live := parse(t, routed)
	got := live.Shadow(config.Shadow{Job: "j1", Epoch: 1, Group: "g", Table: "s"})
	want := []string{"s_" + live.Routes[0].Name + " as " + live.Routes[0].Table, "s_" + live.Routes[1].Name + " as " + live.Routes[1].Table}
	if names := slices.Collect(tablesOf(got)); !slices.Equal(names, want) {
		t.Errorf("tables %v, want %v", names, want)
	}
	if live.Routes[0].As != "" {
		t.Error("the pipeline itself has changed")
	}
}

func tablesOf(p *config.Pipeline) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, table := range p.Tables() {
			if c := table.Sink.ClickHouse; !yield(c.Table + " as " + c.As) {
				return
			}
		}
	}
}
