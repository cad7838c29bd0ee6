package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waybill-data/waybill/internal/contract"
)

const routed = `name: m
source: {kafka: {brokers: ["k:9092"], topic: t}}
sink: {clickhouse: {url: "clickhouse://h"}}
filter: has(event.id)
contract: {new_fields: evolve, columns: {id: {type: UInt64}}}
routes:
  - {name: calls, when: event.kind == "call", table: calls, contract: {new_fields: {usage: discard}, columns: {tokens: {type: UInt32}}}}
  - {name: rest, table: others}
`

func TestRoutes_AreTables(t *testing.T) {
	p := parse(t, routed)
	var got []string
	for _, table := range p.Tables() {
		var columns []string
		for _, c := range table.Contract.Columns {
			columns = append(columns, c.Name)
		}
		usage, _ := contract.ParsePath("usage.x")
		got = append(got, fmt.Sprint(table.Route, " ", table.When, " ", table.Sink.ClickHouse.Table, " ", columns, " ", table.Contract.NewFields.Of(usage), " ", table.Contract.NewFields.Default,
			" ", table.Contract.Transform.Filter, " ", table.Name, " ", table.PromisedTable().Table))
	}
	want := []string{
		`calls event.kind == "call" calls [id tokens] discard evolve has(event.id) m calls`,
		`rest  others [id] evolve evolve has(event.id) m others`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if p.Unrouted != "" {
		t.Errorf("unrouted is %q though nothing is", p.Unrouted)
	}
	if p := parse(t, strings.Replace(routed, "{name: rest, table", "{name: rest, when: 'true', table", 1)); p.Unrouted != contract.UnroutedDeadLetter {
		t.Errorf("unrouted is %q", p.Unrouted)
	}
	if one := parse(t, minimal).Tables(); len(one) != 1 || one[0].Route != "" || one[0].Sink.ClickHouse.Table != "t" {
		t.Errorf("%+v", one)
	}
}

func TestRoutes_Mistakes(t *testing.T) {
	for _, tt := range []struct{ from, to, want string }{
		{"  - {name: rest", "  - {name: calls", `p.yaml:8:12: routes[1].name: "calls" is taken by a route above`},
		{"others", "calls", `p.yaml:8:25: routes[1].table: calls is the table of route calls`},
		{"when: event.kind == \"call\", ", "", `p.yaml:8:5: routes[1] never gets an event: route calls above takes all that is left`},
		{"filter:", "unrouted: discard\nfilter:", `p.yaml:4:11: unrouted is about events that no route takes, and route rest takes all that is left`},
		{`"clickhouse://h"`, `"clickhouse://h", table: x`, `p.yaml:3:51: sink.clickhouse.table and routes are two ways to name tables`},
		{"tokens: {type: UInt32}", "id: {type: UInt32}", `p.yaml:7:112: routes[0].contract.columns.id: all routes have a column id, by the contract above`},
		{"event.kind ==", "event.kind =", `p.yaml:7:36: routes[0].when: `},
		{"event.kind ==", "2 + size", `p.yaml:7:34: routes[0].when: `},
		{"UInt32", "UInt33", `p.yaml:7:112: routes[0].contract.columns.tokens: `},
		{"table: others", "tabel: others", `p.yaml:8:18: unknown key "tabel"`},
		{"{name: rest,", "{name: Rest,", `p.yaml:8:12: routes[1].name: "Rest" is not the name of a route`},
		{"tokens: {type: UInt32}", "_offset: {type: UInt32}", `p.yaml:7:112: column "_offset" is the lineage column`},
		{"routes:", "routs:", `unknown key "routs"`},
	} {
		text := strings.Replace(routed, tt.from, tt.to, 1)
		if text == routed {
			t.Fatal(tt.from)
		}
		if got := problems(t, text).Error(); !strings.Contains(got, tt.want) {
			t.Errorf("%s: got\n%s\nwant %s", tt.to, got, tt.want)
		}
	}
	for _, tt := range []struct{ text, want string }{
		{strings.Replace(routed, "contract: {new_fields: evolve, columns: {id: {type: UInt64}}}\n", "", 1), "routes[1] has no columns"},
		{minimal + "unrouted: discard\n", "unrouted is about events that no route takes, and there are no routes"},
		{strings.Replace(minimal, ", table: t", "", 1), "sink.clickhouse.table is missing"},
		{strings.Replace(minimal, "contract: {columns: {id: {type: UInt64}}}\n", "", 1), "contract is missing"},
		{strings.Replace(minimal, "{columns: {id: {type: UInt64}}}", "{new_fields: evolve}", 1), "contract.columns is missing"},
	} {
		if got := problems(t, tt.text).Error(); !strings.Contains(got, tt.want) {
			t.Errorf("got\n%s\nwant %s", got, tt.want)
		}
	}
}
