package result

import (
	"slices"
)

// Spread is the median of some values and how far they lie apart.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spread of no values is all zeros.
func spread(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	median := v[mid]
	if len(v)%2 == 0 {
		median = (v[mid-1] + v[mid]) / 2
	}
	return Spread{Median: median, Min: v[0], Max: v[len(v)-1]}
}

// Summary is one contender over all rounds.
type Summary struct {
	Broker        string `json:"broker"`
	Workload      string `json:"workload"`
	Contender     string `json:"contender"`
	Runs          int    `json:"runs"`
	RowsPerSecond Spread `json:"rows_per_second"`
	WorkerCPU     Spread `json:"worker_cpu"`
	ServerCPU     Spread `json:"server_cpu"`
	TotalCPU      Spread `json:"total_cpu"`
	// VersusWaybill is the total CPU divided by that of Waybill, exactly-once, in the same round.
	VersusWaybill Spread `json:"versus_waybill"`
	RSS           Spread `json:"rss"`
	Allocations   Spread `json:"allocations"`
}

// group is what a contender is measured under.
type group struct{ broker, workload string }

// groups in the order in which they were measured.
func groups(runs []Run) []group {
	var out []group
	for _, r := range runs {
		if g := (group{r.Broker, r.Workload}); !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	return out
}

// of selects a contender's runs in a group.
func of(runs []Run, g group, contender string) (out []Run) {
	for _, r := range runs {
		if r.Broker == g.broker && r.Workload == g.workload && r.Contender == contender {
			out = append(out, r)
		}
	}
	return out
}

func summaries(runs []Run) (out []Summary) {
	for _, g := range groups(runs) {
		for _, c := range []string{Waybill, AtLeastOnce, KafkaEngine, PassThrough, Typical} {
			if own := of(runs, g, c); len(own) > 0 {
				out = append(out, Summary{
					Broker: g.broker, Workload: g.workload, Contender: c, Runs: len(own),
					RowsPerSecond: spread(each(own, rowsPerSecond)),
					WorkerCPU:     spread(each(own, workerCPU)),
					ServerCPU:     spread(each(own, func(r Run) float64 { return r.ServerCPU })),
					TotalCPU:      spread(each(own, Run.TotalCPU)),
					VersusWaybill: spread(ratios(own, of(runs, g, Waybill), Run.TotalCPU)),
					RSS:           spread(each(own, rss)),
					Allocations:   spread(each(own, func(r Run) float64 { return r.Allocations })),
				})
			}
		}
	}
	return out
}

func rowsPerSecond(r Run) float64 { return r.RowsPerSecond }
func workerCPU(r Run) float64     { return r.WorkerCPU }
func serverCPU(r Run) float64     { return r.ServerCPU }
func rss(r Run) float64           { return float64(r.RSS) }

func each(runs []Run, value func(Run) float64) []float64 {
	out := make([]float64, len(runs))
	for i, r := range runs {
		out[i] = value(r)
	}
	return out
}

// ratios divides a's value by b's of the same round: what the machine did meanwhile hit both.
func ratios(a, b []Run, value func(Run) float64) (out []float64) {
	for _, ra := range a {
		for _, rb := range b {
			if ra.Round == rb.Round && value(rb) > 0 {
				out = append(out, value(ra)/value(rb))
			}
		}
	}
	return out
}
