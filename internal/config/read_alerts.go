package config

import (
	"fmt"
	"net/url"
	"slices"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/finding"
)

// Alert is who is told of findings.
type Alert struct {
	// Name is DNS-like, and unique in the pipeline. It is in logs, metrics and on record.
	Name     string
	Protocol AlertProtocol
	URL      Secret
	Headers  map[string]Secret
	Labels   map[string]string // of an Alertmanager's alerts
	Severity waybill.Severity  // or worse
	Kinds    []string          // none: all
}

// AlertProtocol is what the receiver of alerts understands.
type AlertProtocol string

// Protocols of alerts.
const (
	AlertWebhook      AlertProtocol = "webhook"
	AlertSlack        AlertProtocol = "slack"
	AlertAlertmanager AlertProtocol = "alertmanager"
)

func readAlerts(v value, to *[]Alert) {
	names := map[string]bool{}
	v.list(func(v value) {
		a := readAlert(v)
		if a.Name == "" && a.Protocol != "" {
			a.Name = fmt.Sprintf("%s-%d", a.Protocol, len(*to)+1)
		}
		if names[a.Name] && a.Name != "" {
			v.report("two receivers of alerts are called "+a.Name, "give each a name of its own")
		}
		names[a.Name] = true
		*to = append(*to, a)
	})
}

func readAlert(v value) Alert {
	a := Alert{Severity: waybill.SeverityWarning}
	receiver := func(p AlertProtocol) func(value) {
		return func(v value) {
			if a.Protocol != "" && !v.describing() {
				v.report("one receiver is one of webhook, slack and alertmanager", "make two items of it")
				return
			}
			a.Protocol = p
			readReceiver(v, &a)
		}
	}
	v.object(
		optional("webhook", receiver(AlertWebhook)),
		optional("slack", receiver(AlertSlack)),
		optional("alertmanager", receiver(AlertAlertmanager)),
		optional("name", intoText(&a.Name, dnsLike)),
		optional("severity", intoWord(&a.Severity, words(waybill.SeverityInfo, waybill.SeverityWarning, waybill.SeverityError))),
		optional("kinds", func(v value) {
			v.list(func(v value) {
				var k string
				intoText(&k, kindOfFinding)(v)
				a.Kinds = append(a.Kinds, k)
			})
		}),
	)
	if a.Protocol == "" && !v.r.hasProblem(v.path) {
		v.report(v.path+" names no receiver", "webhook, slack or alertmanager")
	}
	return a
}

func readReceiver(v value, a *Alert) {
	fields := []field{
		required("url", func(v value) { readAlertURL(v, a) }),
		optional("headers", func(v value) { a.Headers = readSecrets(v) }),
	}
	if a.Protocol == AlertAlertmanager {
		fields = append(fields, optional("labels", func(v value) { a.Labels = readTexts(v) }))
	}
	v.object(fields...)
}

// readAlertURL: what is wrong with the address is said without it, for it may hold a secret.
func readAlertURL(v value, a *Alert) {
	v.hidden()
	text, ok := v.text()
	if !ok {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		v.report(v.path+" is not a URL of http or https", "https://HOST/PATH; secrets as ${NAME}")
		return
	}
	a.URL = NewSecret(text)
}

func readSecrets(v value) map[string]Secret {
	out := map[string]Secret{}
	v.hidden()
	for name, text := range readTexts(v) {
		out[name] = NewSecret(text)
	}
	return out
}

func readTexts(v value) map[string]string {
	out := map[string]string{}
	entries, _ := v.entries()
	for _, e := range entries {
		if text, ok := e.text(); ok {
			out[e.key] = text
		}
	}
	return out
}

func kindOfFinding(s string) (message, hint string) {
	if _, ok := finding.Of(s); ok {
		return "", ""
	}
	var names []string
	for _, k := range finding.Kinds() {
		names = append(names, k.Name)
	}
	hint = "`waybill findings explain` lists the kinds"
	if near := Closest(s, names); near != "" && slices.Contains(names, near) {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	return "is no kind of finding", hint
}
