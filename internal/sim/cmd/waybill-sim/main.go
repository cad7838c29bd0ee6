package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/waybill-data/waybill/internal/sim"
)

func main() {
	n, _ := strconv.ParseUint(os.Args[1], 10, 64)
	m, _ := strconv.ParseUint(os.Args[2], 10, 64)
	bad := 0
	for s := n; s < m; s++ {
		o := sim.Options{Transcript: len(os.Args) > 3}
		if os.Getenv("NOFAULT") != "" {
			o.Faults = []sim.Fault{}
		}
		r := sim.Run(s, o)
		if len(os.Args) > 3 {
			for _, l := range r.Transcript {
				fmt.Println(l)
			}
		}
		if r.Failed() {
			bad++
			fmt.Println("seed", s, len(r.Faults), strings.SplitN(r.Problems[0], "\n", 2)[0])
		}
	}
	fmt.Println("bad", bad)
}
