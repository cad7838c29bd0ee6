package contract

import (
	"strings"
	"testing"
)

func joined(t *testing.T, unrouted Unrouted) *Plan {
	t.Helper()
	var routes []Route
	for _, r := range []struct{ name, when string }{{"calls", `event.kind == "call"`}, {"rest", ""}} {
		table := TableSchema{Database: "ai", Table: r.name, Columns: append([]TableColumn{{Name: "a", Type: "UInt32"}}, lineageColumns()...)}
		p, err := Compile(Contract{Columns: []Column{{Name: "a", Type: "UInt32"}}, Transform: Transform{Filter: "event.a > 0"}}, table, DefaultLineage(), 1)
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, Route{r.name, r.when, p})
	}
	p, err := Join(routes, unrouted)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func lineageColumns() (out []TableColumn) {
	l := DefaultLineage()
	for name, typ := range map[string]string{l.Topic: "String", l.Partition: "UInt32", l.Offset: "UInt64", l.Epoch: "UInt32", DefaultRescueColumn: "String"} {
		out = append(out, TableColumn{Name: name, Type: typ})
	}
	return out
}

func TestJoin_IsReadBack(t *testing.T) {
	p := joined(t, UnroutedDiscard)
	back, err := ParsePlan(p.Canonical())
	if err != nil {
		t.Fatal(err)
	}
	if back.ID() != p.ID() || back.Unrouted() != UnroutedDiscard || !back.Routed() || back.Transform().Filter != "event.a > 0" {
		t.Errorf("read back as %s", back.Canonical())
	}
	for i, r := range back.Routes() {
		want := p.Routes()[i]
		if r.Name != want.Name || r.When != want.When || r.Plan.ID() != want.Plan.ID() || r.Plan.Table() != want.Name {
			t.Errorf("route %d is %+v, want %+v", i, r, want)
		}
		if alone, err := ParsePlan(r.Plan.Canonical()); err != nil || alone.ID() != r.Plan.ID() {
			t.Errorf("the plan of a route alone: %v", err)
		}
	}
}

// Which table an event goes to is part of what a plan means.
func TestJoin_IdCoversTheRoutes(t *testing.T) {
	p := joined(t, UnroutedDiscard)
	for _, change := range [][2]string{{"event.kind", "event.sort"}, {`"rest"`, `"others"`}, {`"discard"`, `"dead_letter"`}} {
		other, err := ParsePlan([]byte(strings.Replace(string(p.Canonical()), change[0], change[1], 1)))
		if err != nil || other.ID() == p.ID() {
			t.Errorf("%s: %v, id %s", change[1], err, other.ID())
		}
	}
	if joined(t, UnroutedDiscard).ID() != p.ID() {
		t.Error("the same routes have two ids")
	}
}

func TestParsePlan_RefusesRoutesThatItDoesNotKnow(t *testing.T) {
	text := string(joined(t, UnroutedDiscard).Canonical())
	for _, change := range [][2]string{{`"type":"UInt32"`, `"type":"UInt33"`}, {`"when":`, `"if":`}} {
		if _, err := ParsePlan([]byte(strings.Replace(text, change[0], change[1], 1))); err == nil {
			t.Errorf("%s is read", change[1])
		}
	}
	nested := strings.Replace(text, `"plan":{"format":3,`, `"plan":{"format":3,"routes":[{"name":"x","plan":{"format":3,"decoder_version":1}}],`, 1)
	if _, err := ParsePlan([]byte(nested)); err == nil {
		t.Error("routes within a route are read")
	}
}

func TestDiff_Routes(t *testing.T) {
	p := joined(t, UnroutedDiscard)
	calls, rest := p.Routes()[0], p.Routes()[1]
	other := rest
	other.Name = "others"
	for _, tt := range []struct {
		unrouted Unrouted
		routes   []Route
		want     string
	}{
		{UnroutedDiscard, []Route{calls, rest}, ""},
		{UnroutedDeadLetter, []Route{calls, rest}, "unrouted: discard -> dead_letter"},
		{UnroutedDiscard, []Route{rest, calls}, "order of routes: calls, rest -> rest, calls"},
		{UnroutedDiscard, []Route{calls, other}, "no longer: route rest into table rest|new: route others into table rest"},
		{UnroutedDiscard, []Route{{calls.Name, "event.x", calls.Plan}, rest}, `route calls when: event.kind == "call" -> event.x`},
		{UnroutedDiscard, []Route{{calls.Name, calls.When, rest.Plan}, rest}, `route calls: table: ai.calls -> ai.rest`},
	} {
		now, err := Join(tt.routes, tt.unrouted)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range Diff(p, now) {
			got = append(got, d.Text)
		}
		if s := strings.Join(got, "|"); s != tt.want {
			t.Errorf("got  %s\nwant %s", s, tt.want)
		}
	}
	var got []string
	for _, d := range Diff(calls.Plan, p) {
		got = append(got, d.Text)
	}
	if s := strings.Join(got, "|"); s != "no longer: all events into table calls|new: route calls into table calls|new: route rest into table rest|unrouted: - -> discard" {
		t.Error(s)
	}
}

func TestRoutes_OfAPlanOfOneTable(t *testing.T) {
	p := joined(t, "").Routes()[0].Plan
	if r := p.Routes(); p.Routed() || len(r) != 1 || r[0].Plan != p || r[0].When != "" {
		t.Errorf("%+v", r)
	}
}
