package drift

import "time"

// Config is a monitor's thresholds. The zero value of a field means its default.
type Config struct {
	// Paths is how many fields are told apart at once, those with a finding included; the rest count as one, under
	// contract.OtherPaths. Default 1,000. A path costs about 2 KiB.
	Paths int

	// Window is how long events are gathered before their rates are compared with those before: what is shorter than a
	// window is not seen, what happened is said at its end. It goes on until it has MinEvents. Default one minute.
	Window time.Duration
	// MinEvents is the least number of events that a rate is taken of. Default 1,000.
	MinEvents int64
	// History is how many windows the rates before are an average of: a window's weight falls by 1/History with each that
	// follows. Rates that rise or fall over several times as long, as days and weeks have them, are no jump. Default 30.
	History int
	// Warm is how many windows there must be before anything is compared with them. Default 5.
	Warm int

	// Jump is by how much the share of missing, null or invalid values of a column must rise above that before, in
	// shares of all events, to be a finding. Default 0.2.
	Jump float64
	// Settle is how much of the jump may be left for it to be over. Default 0.5.
	Settle float64
	// VanishShare is the least share of events that a field was in for it to be missed when it is in none. Default 0.05.
	VanishShare float64
	// Absent is for how many windows in a row it must be in none. Default 3.
	Absent int
	// BlankShare is the share of a window's events that must be blank to be a finding. Default 0.1.
	BlankShare float64
	// Quiet is how long after a finding its like, of the same column or field, is not made again, though it ended
	// and began again. Default one hour.
	Quiet time.Duration
	// Accept is how long a state lasts before it is what is usual, and rates are compared with it. Default 24 hours.
	Accept time.Duration

	// Findings is how many findings on new fields and type conflicts are made in a minute; the rest waits and is told
	// in one finding. Default 10.
	Findings int
}

// withDefaults fills in what is not given.
func (c Config) withDefaults() Config {
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{{&c.Window, time.Minute}, {&c.Quiet, time.Hour}, {&c.Accept, 24 * time.Hour}} {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	for _, d := range []struct {
		value    *int
		fallback int
	}{{&c.Paths, 1000}, {&c.History, 30}, {&c.Warm, 5}, {&c.Absent, 3}, {&c.Findings, 10}} {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	for _, d := range []struct {
		value    *float64
		fallback float64
	}{{&c.Jump, .2}, {&c.Settle, .5}, {&c.VanishShare, .05}, {&c.BlankShare, .1}} {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	if c.MinEvents <= 0 {
		c.MinEvents = 1000
	}
	return c
}
