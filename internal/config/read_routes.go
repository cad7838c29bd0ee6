package config

import (
	"fmt"
	"slices"

	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/transform/expr"
)

// oneTable checks a pipeline without routes.
func (r *reader) oneTable(v value, p *Pipeline) {
	if !v.has("contract") {
		v.report("contract is missing", "")
	}
	if sink := v.at("sink"); v.has("sink") && sink.has("clickhouse") && !sink.at("clickhouse").has("table") {
		sink.at("clickhouse").report("sink.clickhouse.table is missing", "")
	}
	if v.has("unrouted") {
		v.at("unrouted").report("unrouted is about events that no route takes, and there are no routes", "remove it")
	}
	if v.has("contract") && len(p.Contract.Columns) == 0 && !r.hasProblem("contract") {
		v.at("contract").report("contract.columns is missing", "")
	}
	r.checkTable(v, p)
}

// routes reads the tables of a pipeline that has several. What the file says above of contract and sink is said of each.
func (r *reader) routes(v, routes value, p *Pipeline) {
	if sink := v.at("sink", "clickhouse"); sink.has("table") {
		sink.at("table").report("sink.clickhouse.table and routes are two ways to name tables", "keep routes, each with its table")
	}
	base := p.Contract
	routes.list(func(v value) { p.Routes = append(p.Routes, readRoute(v, base)) })
	r.routesTogether(v, routes, p)
	for _, t := range p.Tables() {
		if len(t.Contract.Columns) > 0 {
			r.checkTable(v, t.Pipeline)
		}
	}
}

// readRoute reads one route. base is the contract that all share.
func readRoute(v value, base contract.Contract) Route {
	out := Route{Contract: base, path: v.path + "."}
	out.Contract.Columns = slices.Clone(base.Columns)
	out.Line, out.Col = position(v.node)
	fields := []field{
		required("name", intoText(&out.Name, dnsLikeRoute)),
		optional("when", intoExpr(&out.When, expr.CompileBool, nil)),
		required("table", intoText(&out.Table, notEmpty, tableName)),
		optional("contract", func(v value) { readContract(v, &out.Contract) }),
	}
	v.object(fields...)
	if len(out.Contract.Columns) == 0 && !v.r.hasProblem(v.path) {
		v.report(v.path+" has no columns", "give it a contract of its own, or name columns that all routes have in the contract above")
	}
	return out
}

func dnsLikeRoute(s string) (message, hint string) {
	if dnsLabel.MatchString(s) {
		return "", ""
	}
	return "is not the name of a route", "use lower-case letters, digits and dashes, at most 63, like calls"
}

// routesTogether finds what is wrong between routes.
func (r *reader) routesTogether(v, routes value, p *Pipeline) {
	names, tables := map[string]bool{}, map[string]string{}
	rest := ""
	for i, route := range p.Routes {
		at := routes.item(i)
		path := fmt.Sprintf("%s[%d]", routes.path, i)
		if names[route.Name] && route.Name != "" {
			at.at("name").report(fmt.Sprintf("%s.name: %q is taken by a route above", path, route.Name), "choose another")
		}
		if other, taken := tables[route.Table]; taken && route.Table != "" {
			at.at("table").report(fmt.Sprintf("%s.table: %s is the table of route %s", path, route.Table, other),
				"an event goes to one table: make it one route, with ||")
		}
		if rest != "" {
			at.report(fmt.Sprintf("%s never gets an event: route %s above takes all that is left", path, rest), "put the route without a condition last")
		}
		names[route.Name], tables[route.Table] = true, route.Name
		if !at.has("when") && rest == "" {
			rest = route.Name
		}
	}
	switch {
	case rest == "" && p.Unrouted == "":
		p.Unrouted = contract.UnroutedDeadLetter
	case rest != "" && v.has("unrouted"):
		v.at("unrouted").report("unrouted is about events that no route takes, and route "+rest+" takes all that is left", "remove it")
	}
}
