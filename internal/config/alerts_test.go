package config

import (
	"fmt"
	"strings"
	"testing"
)

const alertsFile = `
name: p
source: {kafka: {brokers: ["localhost:9092"], topic: t}}
contract: {columns: {a: {type: String}}}
sink: {clickhouse: {url: "clickhouse://localhost:9000/ai", table: t}}
alerts:
`

func TestAlerts(t *testing.T) {
	env := func(name string) (string, bool) {
		return map[string]string{"TOKEN": "s3cret", "HOOK": "https://hooks.example/T0/s3cret"}[name], true
	}
	p, err := Parse("f", []byte(alertsFile+`
  - webhook: {url: "https://ops.example/hook", headers: {Authorization: "Bearer ${TOKEN}"}}
    kinds: [retention_loss, null_rate]
  - slack: {url: "${HOOK}"}
    name: chat
    severity: error
  - alertmanager: {url: "http://localhost:9093", labels: {team: data}}
`), env)
	if err != nil {
		t.Fatal(err)
	}
	a := p.Alerts
	if len(a) != 3 || a[0].Name != "webhook-1" || a[0].Severity != "warning" || len(a[0].Kinds) != 2 || a[0].Headers["Authorization"].Reveal() != "Bearer s3cret" ||
		a[1].Name != "chat" || a[1].Protocol != AlertSlack || a[1].Severity != "error" || a[1].URL.Reveal() != "https://hooks.example/T0/s3cret" ||
		a[2].Name != "alertmanager-3" || a[2].Labels["team"] != "data" {
		t.Errorf("alerts %+v", a)
	}
	if text := fmt.Sprintf("%+v %#v", a, p); strings.Contains(text, "s3cret") {
		t.Errorf("a secret shows: %s", text)
	}
}

func TestAlerts_Problems(t *testing.T) {
	for text, want := range map[string]string{
		`[{webhook: {url: "ftp://x/"}}]`:                             "is not a URL of http or https",
		`[{webhook: {url: "https://x"}, slack: {url: "https://x"}}]`: "one receiver is one of webhook, slack and alertmanager",
		`[{name: x}]`: "names no receiver",
		`[{webhook: {url: "https://x"}, kinds: [retention_los]}]`:                        `did you mean "retention_loss"?`,
		`[{webhook: {url: "https://x"}, severity: bad}]`:                                 "is not a choice",
		`[{webhook: {url: "https://x", labels: {a: b}}}]`:                                "unknown key",
		`[{webhook: {url: "https://x"}, name: a}, {slack: {url: "https://x"}, name: a}]`: "two receivers of alerts are called a",
	} {
		_, err := Parse("f", []byte(strings.Replace(alertsFile, "alerts:\n", "alerts: "+text+"\n", 1)), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	_, err := Parse("f", []byte(alertsFile+`  - webhook: {url: "${URL}"}`+"\n"), func(string) (string, bool) { return "ftp://s3cret", true })
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("the address is shown, or taken: %v", err)
	}
}
