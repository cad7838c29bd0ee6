// Command waybill-sim runs the seeded simulator of the exactly-once protocol.
//
//	waybill-sim                   1000 seeds; exit status 1 and a transcript if one fails, or, from 10,000 seeds on, if a reachable cell stays empty
//	waybill-sim -seed 42 -v       one seed with its transcript
//	waybill-sim -seed 42 -script "at 3000 crash worker 1 for 2000 after sent target"
//	waybill-sim -handover         the same, with an operator who puts tables in the place of tables
//	waybill-sim -mutants          every negative control must be caught
//	waybill-sim -matrix           print the matrix of faults and stages as well
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/sim"
)

// matrixSeeds is the size of the full seed set: from it on an empty reachable cell is a failure.
const matrixSeeds = 10_000

type flags struct {
	seeds, from uint64
	seed        int64
	verbose     bool
	mutants     bool
	matrix      bool
	json        bool
	mutant      string
	script      string
	alo         bool
	routed      bool
	handover    bool
}

func main() {
	var f flags
	flag.Uint64Var(&f.seeds, "seeds", 1000, "number of seeds to run")
	flag.Uint64Var(&f.from, "from", 0, "first seed")
	flag.Int64Var(&f.seed, "seed", -1, "run this seed only")
	flag.BoolVar(&f.verbose, "v", false, "print the transcript of -seed")
	flag.BoolVar(&f.mutants, "mutants", false, "run the negative controls, -seeds (at most 500) each")
	flag.BoolVar(&f.matrix, "matrix", false, "print the matrix of faults and stages")
	flag.StringVar(&f.mutant, "mutant", "", "run with this mutant and its mix of faults")
	flag.StringVar(&f.script, "script", "", "faults in place of those that the seed draws; \"none\" is none")
	flag.BoolVar(&f.alo, "at-least-once", false, "run all seeds in at-least-once mode")
	flag.BoolVar(&f.routed, "routed", false, "run all seeds with two or three tables")
	flag.BoolVar(&f.handover, "handover", false, "run all seeds with an operator who puts tables in the place of tables")
	out := flag.String("o", "text", "output: text or json")
	flag.Parse()
	f.json = *out == "json"
	os.Exit(run(f))
}

func run(f flags) int {
	o, err := f.options()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	switch {
	case f.mutants:
		return controls(f)
	case f.seed >= 0:
		return one(uint64(f.seed), f, o)
	}
	return many(f, o)
}

func (f flags) options() (sim.Options, error) {
	o := sim.Options{AtLeastOnce: f.alo, Routed: f.routed, Handover: f.handover}
	if f.mutant != "" {
		c, ok := sim.ControlOf(delivery.Mutant(f.mutant))
		if !ok {
			return o, fmt.Errorf("unknown mutant %q", f.mutant)
		}
		o.Mutant, o.Mix = c.Mutant, c.Mix
	}
	switch f.script {
	case "":
	case "none":
		o.Faults = []sim.Fault{}
	default:
		faults, err := sim.ParseScript(f.script)
		if err != nil {
			return o, err
		}
		o.Faults = faults
	}
	return o, nil
}

// one runs a single seed.
func one(seed uint64, f flags, o sim.Options) int {
	o.Transcript = true
	r := sim.Run(seed, o)
	if f.json {
		return printJSON(r, r.Failed())
	}
	if f.verbose || r.Failed() {
		printFailure(r, f)
	} else {
		fmt.Printf("seed %d: clean, %d lines of transcript, hash %016x, %d findings, %.1f s virtual\nfaults:\n%s", seed, len(r.Transcript), r.Hash,
			len(r.Findings), float64(r.Virtual)/1000, sim.Script(r.Faults))
	}
	if r.Failed() {
		return 1
	}
	return 0
}

func printFailure(r sim.Result, f flags) {
	fmt.Printf("seed %d\nfaults:\n%s\ntranscript:\n%s\n", r.Seed, sim.Script(r.Faults), strings.Join(r.Transcript, "\n"))
	for _, p := range r.Problems {
		fmt.Println("PROBLEM", p)
	}
	flags := ""
	if f.routed {
		flags = " -routed"
	}
	if f.handover {
		flags += " -handover"
	}
	if f.mutant != "" {
		flags += " -mutant " + f.mutant
	}
	fmt.Printf("replay: waybill-sim -seed %d%s -v\n", r.Seed, flags)
}

type summary struct {
	Seeds     uint64      `json:"seeds"`
	Struck    int         `json:"faults_struck"`
	NotHit    int         `json:"faults_not_hit"`
	Virtual   int64       `json:"virtual_ms"`
	Failed    *sim.Result `json:"failed,omitempty"`
	Matrix    sim.Matrix  `json:"matrix"`
	Empty     []string    `json:"empty_cells,omitempty"`
	Unreached []string    `json:"unreachable_cells"`
}

// many runs a range of seeds and stops at the first that fails.
func many(f flags, o sim.Options) int {
	s := summary{Seeds: f.seeds, Matrix: sim.Matrix{}, Unreached: sim.UnreachableCells()}
	start, shown := time.Now(), time.Now()
	for seed := f.from; seed < f.from+f.seeds; seed++ {
		r := sim.Run(seed, o)
		s.Matrix.Merge(r.Matrix)
		s.Struck += len(r.Faults) - r.NotHit
		s.NotHit += r.NotHit
		s.Virtual += r.Virtual
		if r.Failed() {
			o.Transcript = true
			again := sim.Run(seed, o)
			s.Failed = &again
			break
		}
		if time.Since(shown) > 2*time.Second {
			shown = time.Now()
			fmt.Fprintf(os.Stderr, "seed %d of %d, %.0f a minute\n", seed-f.from, f.seeds, float64(seed-f.from+1)/time.Since(start).Minutes())
		}
	}
	if f.seeds >= matrixSeeds && s.Failed == nil && f.mutant == "" && f.script == "" && !f.alo && !f.handover {
		s.Empty = s.Matrix.Empty()
	}
	return s.print(f, time.Since(start))
}

func (s summary) print(f flags, took time.Duration) int {
	bad := s.Failed != nil || len(s.Empty) > 0
	if f.json {
		return printJSON(s, bad)
	}
	if s.Failed != nil {
		printFailure(*s.Failed, f)
		return 1
	}
	fmt.Printf("%d seeds clean in %.1f s; %d faults struck, %d found nothing to strike; %.1f h virtual\n", s.Seeds, took.Seconds(), s.Struck, s.NotHit,
		float64(s.Virtual)/3_600_000)
	if f.matrix || len(s.Empty) > 0 {
		fmt.Printf("\n%s\nunreachable cells (-):\n", s.Matrix)
		for _, u := range s.Unreached {
			fmt.Println("  " + u)
		}
	}
	for _, e := range s.Empty {
		fmt.Println("EMPTY", e)
	}
	if bad {
		return 1
	}
	return 0
}

// controls runs every mutant until it is caught.
func controls(f flags) int {
	bad := false
	limit := min(f.seeds, 500)
	type row struct {
		Mutant delivery.Mutant `json:"mutant"`
		Caught int             `json:"caught"`
		Of     uint64          `json:"of"`
		First  string          `json:"first_problem"`
	}
	var rows []row
	for _, c := range sim.Controls() {
		x := row{Mutant: c.Mutant, Of: limit}
		for seed := f.from; seed < f.from+limit; seed++ {
			r := sim.Run(seed, sim.Options{Mutant: c.Mutant, Mix: c.Mix})
			if !r.Failed() {
				continue
			}
			x.Caught++
			if x.First == "" {
				first, _, _ := strings.Cut(r.Problems[0], "\n")
				x.First = fmt.Sprintf("seed %d: %s", seed, first)
			}
		}
		if !f.json {
			fmt.Printf("%-40s caught in %d of %d seeds; %s\n", x.Mutant, x.Caught, x.Of, x.First)
		}
		bad = bad || x.Caught == 0
		rows = append(rows, x)
	}
	if f.json {
		return printJSON(rows, bad)
	}
	if bad {
		fmt.Println("a negative control was not caught: the oracle proves nothing about its rule")
		return 1
	}
	return 0
}

func printJSON(v any, bad bool) int {
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if bad {
		return 1
	}
	return 0
}
