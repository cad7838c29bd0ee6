package contract

import (
	"errors"
	"fmt"
	"slices"

	"github.com/waybill-data/waybill/internal/column"
)

// Unrouted says what becomes of events that no route takes.
type Unrouted string

// The policies.
const (
	UnroutedDeadLetter Unrouted = "dead_letter" // the record is a dead letter
	UnroutedDiscard    Unrouted = "discard"     // it is counted as filtered
)

// Route is one of a plan's tables: the first route whose condition an event meets has the event, and no other has.
type Route struct {
	Name string
	// When is a CEL expression of a bool; empty: all that the routes before have left.
	When string
	// Plan says how an event becomes a row of the route's table. It is a plan of one table.
	Plan *Plan
}

// routeText is a route in the canonical text.
type routeText struct {
	Name string   `json:"name"`
	When string   `json:"when,omitempty"`
	Plan planText `json:"plan"`
}

// Join makes one plan of several tables. They share the transform, which comes before the routes.
func Join(routes []Route, unrouted Unrouted) (*Plan, error) {
	t := planText{Format: planFormat, Unrouted: unrouted}
	for _, r := range routes {
		t.DecoderVersion = r.Plan.DecoderVersion()
		t.Routes = append(t.Routes, routeText{r.Name, r.When, r.Plan.text})
	}
	return newPlan(t)
}

// Routed reports whether the plan has routes: what it says of one table is in the plans of its routes then.
func (p *Plan) Routed() bool { return len(p.text.Routes) > 0 }

// Routes are the plan's tables. A plan without routes has one, which takes every event: itself.
func (p *Plan) Routes() []Route {
	if !p.Routed() {
		return []Route{{Plan: p}}
	}
	return slices.Clone(p.routes)
}

// Unrouted says what becomes of events that no route takes; empty if that cannot be.
func (p *Plan) Unrouted() Unrouted { return p.text.Unrouted }

// split makes the plans of the routes.
func (p *Plan) split() error {
	for _, r := range p.text.Routes {
		if len(r.Plan.Routes) > 0 {
			return errors.New("a route has routes of its own")
		}
		sub, err := newPlan(r.Plan)
		if err != nil {
			return err
		}
		p.routes = append(p.routes, Route{r.Name, r.When, sub})
	}
	return nil
}

// checkTypes refuses types that this version does not know.
func (t *planText) checkTypes() error {
	for _, c := range t.Columns {
		if _, err := column.ParseType(c.Sent()); err != nil {
			return fmt.Errorf("column %s: %w", c.Name, err)
		}
	}
	for i := range t.Routes {
		if err := t.Routes[i].Plan.checkTypes(); err != nil {
			return fmt.Errorf("route %s: %w", t.Routes[i].Name, err)
		}
	}
	return nil
}
