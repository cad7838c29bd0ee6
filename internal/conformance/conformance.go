// Package conformance says, one named case per fact, what Waybill relies on in ClickHouse and in Kafka,
// and asks it of the models that the simulator uses as well as of the real engines: a model that does
// not pass the same suite as its original is not trusted.
package conformance

import "testing"

// Where says by whom a case can be run.
type Where uint8

const (
	// Everywhere is run against the model and every real engine.
	Everywhere Where = iota
	// ModelOnly needs a fault that a real engine cannot be made to have here.
	ModelOnly
	// RealOnly is about something that the model leaves out on purpose.
	RealOnly
	// NotProvedHere is a fact that no run of this suite shows; Reason says where it comes from.
	NotProvedHere
)

var whereNames = [...]string{"everywhere", "model only", "real only", "not proved here"}

func (w Where) String() string { return whereNames[w] }

// Case is one fact about the engine that Port reaches.
type Case[Port any] struct {
	// Name is area/what_holds.
	Name string
	// Fact is what Waybill believes, in a sentence.
	Fact  string
	Where Where
	// Reason says why a case does not run everywhere.
	Reason string
	// Except names engines ("kfake") that are known to differ, with the difference.
	Except map[string]string
	// Kills says that the case kills the engine, which must then be its own.
	Kills bool
	Run   func(t *testing.T, engine Port)
}

// Suite is a list of cases with the number that it must have: a case that vanishes fails the suite.
type Suite[Port any] struct {
	Name  string
	Want  int
	Cases []Case[Port]
}

// Check fails if a case is missing, named twice, or lacks what it must say.
func (s Suite[Port]) Check(t *testing.T) {
	t.Helper()
	if len(s.Cases) != s.Want {
		t.Errorf("%s: %d cases, want %d: cases must not vanish (or Want was not raised)", s.Name, len(s.Cases), s.Want)
	}
	seen := map[string]bool{}
	for _, c := range s.Cases {
		switch {
		case seen[c.Name]:
			t.Errorf("%s: %s is there twice", s.Name, c.Name)
		case c.Fact == "":
			t.Errorf("%s: %s states no fact", s.Name, c.Name)
		case c.Where != Everywhere && c.Reason == "":
			t.Errorf("%s: %s does not say why it is %s", s.Name, c.Name, c.Where)
		case (c.Run == nil) != (c.Where == NotProvedHere):
			t.Errorf("%s: %s is %s but its Run is nil=%v", s.Name, c.Name, c.Where, c.Run == nil)
		}
		seen[c.Name] = true
	}
}

// Run runs the suite's cases as subtests, each against an engine made for it. Cases that do not belong
// to the engine are skipped with their reason.
func (s Suite[Port]) Run(t *testing.T, engine string, model bool, open func(t *testing.T, own bool) Port) {
	for _, c := range s.Cases {
		t.Run(c.Name, func(t *testing.T) {
			if why := c.Except[engine]; why != "" {
				t.Skipf("%s differs: %s", engine, why)
			}
			if c.Where == NotProvedHere || c.Where == ModelOnly && !model || c.Where == RealOnly && model {
				t.Skipf("%s: %s", c.Where, c.Reason)
			}
			c.Run(t, open(t, c.Kills))
		})
	}
}
