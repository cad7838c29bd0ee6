package cli

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/templates"
)

// event is an example of a template, with what the tests ask of it.
type event map[string]any

func (e event) at(path ...string) any {
	var v any = map[string]any(e)
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

func (e event) text(path ...string) string { s, _ := e.at(path...).(string); return s }

func (e event) number(path ...string) float64 { n, _ := e.at(path...).(float64); return n }

func (e event) time(path ...string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, e.text(path...))
	if err != nil {
		panic(err)
	}
	return t
}

// tally adds numbers up by a key of several words, which is what the answers are ordered by.
type tally map[string][]float64

func (t tally) add(key []string, n ...float64) {
	k := strings.Join(key, "\t")
	if t[k] == nil {
		t[k] = make([]float64, len(n))
	}
	for i := range n {
		t[k][i] += n[i]
	}
}

// rows are the keys with what make makes of their sums.
func (t tally) rows(shape func(sums []float64) []any) (out [][]string) {
	for _, k := range slices.Sorted(keysOf(t)) {
		row := strings.Split(k, "\t")
		for _, v := range shape(t[k]) {
			row = append(row, fmt.Sprint(v))
		}
		out = append(out, row)
	}
	return out
}

func keysOf(t tally) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range t {
			if !yield(k) {
				return
			}
		}
	}
}

func plainSums(sums []float64) (out []any) {
	for _, s := range sums {
		out = append(out, s)
	}
	return out
}

// quantile is ClickHouse's quantileExact.
func quantile(level float64, values []float64) float64 {
	values = slices.Clone(values)
	slices.Sort(values)
	return values[min(int(level*float64(len(values))), len(values)-1)]
}

func round(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}

// attribute is the first of several names that an event has.
func (e event) attribute(names ...string) any {
	for _, name := range names {
		if v := e.at("attributes", name); v != nil {
			return v
		}
	}
	return nil
}

func textOf(v any) string { s, _ := v.(string); return s }

func numberOf(v any) float64 { n, _ := v.(float64); return n }

// answers are what the questions of a template are to give, computed from the events alone.
var answers = map[string]func(events []event) map[string][][]string{
	"llm-spans": func(events []event) map[string][][]string {
		byModel, share, errs, reasons, tools, prompts := tally{}, tally{}, tally{}, tally{}, tally{}, tally{}
		latency, first := map[string][]float64{}, map[string][]float64{}
		for _, e := range events {
			model := textOf(e.attribute("gen_ai.request.model", "llm.model_name"))
			in := numberOf(e.attribute("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"))
			out := numberOf(e.attribute("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"))
			cached := numberOf(e.attribute("gen_ai.usage.cache_read.input_tokens"))
			tenant := e.text("resource", "tenant.id")
			if tenant == "" {
				tenant = textOf(e.attribute("tenant.id"))
			}
			operation := textOf(e.attribute("gen_ai.operation.name", "llm.request.type"))
			if model != "" {
				byModel.add([]string{tenant, model}, 1, in, out, cached)
				latency[model] = append(latency[model], float64(e.time("end_time").Sub(e.time("start_time")).Microseconds())/1000)
				if v := e.attribute("gen_ai.response.time_to_first_chunk"); v != nil {
					first[model] = append(first[model], numberOf(v))
				}
			}
			if in > 0 {
				share.add([]string{model}, cached, in)
			}
			if e.text("status", "code") == "ERROR" {
				errs.add([]string{textOf(e.attribute("error.type")), operation}, 1)
			}
			list, _ := e.attribute("gen_ai.response.finish_reasons").([]any)
			for _, r := range list {
				reasons.add([]string{textOf(r)}, 1)
			}
			if tool := textOf(e.attribute("gen_ai.tool.name")); tool != "" {
				failed := 0.0
				if e.text("status", "code") == "ERROR" {
					failed = 1
				}
				tools.add([]string{tool}, 1, failed)
			}
			if p := textOf(e.attribute("gen_ai.prompt.name")); p != "" {
				prompts.add([]string{p}, 1, in+out)
			}
		}
		var slow [][]string
		for _, model := range []string{"m-large", "m-small"} {
			firstChunk := "\\N"
			if len(first[model]) > 0 {
				firstChunk = fmt.Sprint(quantile(0.95, first[model]))
			}
			slow = append(slow, []string{model, fmt.Sprint(quantile(0.5, latency[model])), fmt.Sprint(quantile(0.95, latency[model])), firstChunk})
		}
		ratio := func(s []float64) []any { return []any{round(s[0]/s[1], 4)} }
		byCount := func(rows [][]string) [][]string {
			slices.SortStableFunc(rows, func(a, b []string) int { return strings.Compare(b[len(b)-1], a[len(a)-1]) })
			return rows
		}
		return map[string][][]string{
			"tokens_by_model": byModel.rows(plainSums), "cache_share": share.rows(ratio), "latency": slow, "errors": byCount(errs.rows(plainSums)), "finish_reasons": byCount(reasons.rows(plainSums)),
			"tools":                    tools.rows(func(s []float64) []any { return []any{s[0], round(s[1]/s[0], 4)} }),
			"tokens_by_prompt_version": prompts.rows(func(s []float64) []any { return []any{s[0], round(s[1]/s[0], 1)} }),
		}
	},
	"eval-scores": func(events []event) map[string][][]string {
		newest, versions := map[string]event{}, map[string]float64{}
		version := func(e event) float64 { return max(1, e.number("version")) }
		for _, e := range events {
			id := e.text("score_id")
			if old, has := newest[id]; !has || version(e) > version(old) {
				newest[id] = e
			}
			versions[id] = max(versions[id], version(e))
		}
		prompts, models, lag := tally{}, tally{}, map[string]float64{}
		var worst [][]string
		var corrected [][]string
		for id, e := range newest {
			if versions[id] > 1 {
				corrected = append(corrected, []string{id, fmt.Sprint(versions[id])})
			}
			if deleted, _ := e.at("deleted").(bool); deleted {
				continue
			}
			passed := 0.0
			if e.number("value") >= 0.7 {
				passed = 1
			}
			if p := e.text("prompt_version"); p != "" {
				prompts.add([]string{e.text("name"), p}, 1, e.number("value"), passed)
			}
			if m := e.text("model"); m != "" {
				models.add([]string{e.text("name"), m}, 1, e.number("value"))
			}
			who := e.text("evaluator", "name")
			lag[who] = max(lag[who], e.time("scored_at").Sub(e.time("span_start_time")).Seconds())
			worst = append(worst, []string{e.text("name"), e.text("trace_id"), fmt.Sprint(e.number("value")), e.text("explanation")})
		}
		slices.SortFunc(worst, func(a, b []string) int {
			x, _ := strconv.ParseFloat(a[2], 64)
			y, _ := strconv.ParseFloat(b[2], 64)
			return cmp.Or(cmp.Compare(x, y), strings.Compare(a[0]+a[1], b[0]+b[1]))
		})
		slices.SortFunc(corrected, slices.Compare)
		lags := tally{}
		for who, s := range lag {
			lags.add([]string{who}, s)
		}
		return map[string][][]string{
			"by_prompt_version": prompts.rows(func(s []float64) []any { return []any{s[0], round(s[1]/s[0], 4), round(s[2]/s[0], 4)} }),
			"by_model":          models.rows(func(s []float64) []any { return []any{s[0], round(s[1]/s[0], 4)} }),
			"worst":             worst[:3], "lag": lags.rows(plainSums), "corrected": corrected,
		}
	},
	"token-costs": func(events []event) map[string][][]string {
		price := func(provider, model, kind string, at time.Time) (float64, bool) { // as in given.sql
			switch provider + " " + model + " " + kind {
			case "p-one m-large input":
				if at.Before(time.Date(2026, 11, 15, 0, 0, 0, 0, time.UTC)) {
					return 3, true
				}
				return 2.5, true
			case "p-one m-large output":
				return 15, true
			case "p-one m-large cache_read":
				return 0.3, true
			case "p-two m-small input":
				return 0.2, true
			case "p-two m-small output":
				return 0.8, true // version 2
			}
			return 0, false
		}
		spend, days, features, unpriced, share := tally{}, tally{}, tally{}, tally{}, tally{}
		for _, e := range events {
			usage, _ := e.at("usage").(map[string]any)
			for kind, n := range usage {
				per, has := price(e.text("provider"), e.text("model"), kind, e.time("at"))
				cost := numberOf(n) * per / 1e6
				spend.add([]string{e.text("tenant"), e.text("model")}, cost)
				days.add([]string{e.text("at")[:10]}, cost)
				features.add([]string{e.text("feature")}, cost)
				if !has {
					unpriced.add([]string{e.text("provider"), e.text("model"), kind}, numberOf(n))
				}
				of := []float64{0, 0}
				switch kind {
				case "cache_read":
					of[0] = numberOf(n)
				case "input":
					of[1] = numberOf(n)
				}
				share.add([]string{e.text("model")}, of...)
			}
		}
		return map[string][][]string{"spend": spend.rows(plainSums), "spend_by_day": days.rows(plainSums), "spend_by_feature": features.rows(plainSums), "unpriced": unpriced.rows(plainSums),
			"cache_share": share.rows(func(s []float64) []any { return []any{round(s[0]/s[1], 4)} })}
	},
	"llm-content": func(events []event) map[string][][]string {
		said, prompts, tenants, seen := tally{}, tally{}, map[string]map[string]bool{}, map[string]bool{}
		var trace, longest [][]string
		came, kept := 0, 0
		for _, e := range events {
			system := e.text("system")
			texts := []string{system}
			for _, name := range []string{"input", "output"} { // as they came: the examples are written as encoding/json would
				var b bytes.Buffer
				enc := json.NewEncoder(&b)
				enc.SetEscapeHTML(false)
				message, _ := e.at(name).([]any)
				of := event(message[0].(map[string]any))
				if err := enc.Encode([]struct {
					Role    string `json:"role"`
					Content string `json:"content"`
				}{{of.text("role"), of.text("content")}}); err != nil {
					panic(err)
				}
				texts = append(texts, strings.TrimSuffix(b.String(), "\n"))
			}
			total := 0
			for _, text := range texts {
				total += len(text)
				if len(text) > 1024 {
					came += len(text)
					if !seen[text] {
						kept += len(text)
					}
					seen[text] = true
				}
			}
			said.add([]string{e.text("tenant"), e.text("model")}, 1, float64(total))
			longest = append(longest, []string{e.text("trace_id"), e.text("span_id"), fmt.Sprint(total)})
			if len(system) > 1024 {
				name := fmt.Sprintf("%x", sha256.Sum256([]byte(system)))
				if tenants[name] == nil {
					tenants[name] = map[string]bool{}
				}
				tenants[name][e.text("tenant")] = true
				prompts.add([]string{name}, 1)
			}
			if e.text("trace_id") == "t2" {
				output, _ := e.at("output").([]any)
				trace = append(trace, []string{e.text("span_id"), fmt.Sprint(len(system)), fmt.Sprint(len(texts[1])), event(output[0].(map[string]any)).text("content")})
			}
		}
		repeated := prompts.rows(plainSums)
		for i := range repeated {
			repeated[i] = append(repeated[i], fmt.Sprint(len(tenants[repeated[i][0]])))
		}
		slices.SortFunc(repeated, func(a, b []string) int { return strings.Compare(b[1], a[1]) })
		slices.SortFunc(longest, func(a, b []string) int {
			x, _ := strconv.Atoi(a[2])
			y, _ := strconv.Atoi(b[2])
			return cmp.Compare(y, x)
		})
		return map[string][][]string{"trace": trace, "bytes": said.rows(plainSums), "repeated": repeated, "saved": {{fmt.Sprint(came), fmt.Sprint(kept)}}, "longest": longest[:3]}
	},
	"embeddings": func(events []event) map[string][][]string {
		type chunk struct{ tenant, collection, doc, n string }
		newest, times, refused := map[chunk]event{}, map[chunk]float64{}, 0
		for _, e := range events {
			vector, _ := e.at("vector").([]any)
			if len(vector) != 4 {
				refused++
				continue
			}
			c := chunk{e.text("tenant"), e.text("collection"), e.text("doc_id"), fmt.Sprint(e.number("chunk"))}
			times[c]++
			if old, has := newest[c]; !has || e.time("created_at").After(old.time("created_at")) {
				newest[c] = e
			}
		}
		models, again := tally{}, tally{}
		var near [][]string
		for c, e := range newest {
			models.add([]string{c.collection, e.text("model")}, 1)
			if times[c] > 1 {
				again.add([]string{c.tenant, c.collection, c.doc, c.n}, times[c])
			}
			if c.tenant != "acme" || c.collection != "docs" {
				continue
			}
			var dot, a, b float64
			vector, _ := e.at("vector").([]any)
			for i, want := range []float64{0.5, 0.5, 0.5, 0.6} {
				v := numberOf(vector[i])
				dot, a, b = dot+v*want, a+v*v, b+want*want
			}
			near = append(near, []string{c.doc, c.n, strconv.FormatFloat(round(1-dot/math.Sqrt(a*b), 4), 'f', 4, 64)})
		}
		slices.SortFunc(near, func(a, b []string) int { return strings.Compare(a[2]+a[0]+a[1], b[2]+b[0]+b[1]) })
		return map[string][][]string{"nearest": near[:2], "by_model": models.rows(plainSums), "embedded_again": again.rows(plainSums), "refused": {{"vector", fmt.Sprint(refused)}}}
	},
	"agent-events": func(events []event) map[string][][]string {
		calls, runs := map[string][]event{}, map[string][]event{}
		var timeline [][]string
		for _, e := range events {
			if e.text("type") == "tool_called" {
				calls[e.text("tool")] = append(calls[e.text("tool")], e)
			}
			runs[e.text("run_id")] = append(runs[e.text("run_id")], e)
			if e.text("session_id") == "s1" {
				ok, has := e.at("ok").(bool)
				timeline = append(timeline, []string{fmt.Sprint(e.number("step")), e.text("type"), e.text("tool"), fmt.Sprint(ok || !has)})
			}
		}
		tools, outcomes := tally{}, tally{}
		for tool, list := range calls {
			failed, of := 0.0, map[string]bool{}
			for _, e := range list {
				if ok, _ := e.at("ok").(bool); !ok {
					failed++
				}
				of[e.text("run_id")] = true
			}
			tools.add([]string{tool}, float64(len(list)), round(failed/float64(len(list)), 4), float64(len(list)-len(of)))
		}
		var succeeded, tokens, seconds float64
		for _, list := range runs {
			outcome := "open"
			for _, e := range list {
				if e.text("type") != "run_ended" {
					continue
				}
				if ok, _ := e.at("ok").(bool); ok {
					outcome = "succeeded"
				} else {
					outcome = "failed"
				}
			}
			outcomes.add([]string{list[0].text("agent"), outcome}, 1)
			if outcome == "succeeded" {
				succeeded++
				for _, e := range list {
					tokens += e.number("tokens")
				}
				seconds += list[len(list)-1].time("at").Sub(list[0].time("at")).Seconds()
			}
		}
		return map[string][][]string{"tools": tools.rows(plainSums), "runs": outcomes.rows(plainSums), "timeline": timeline,
			"effort": {{fmt.Sprint(round(tokens/succeeded, 1)), fmt.Sprint(round(seconds/succeeded, 1))}}}
	},
	"otlp-traces": func(events []event) map[string][][]string {
		services, latency, codes, traces, of := tally{}, map[string][]float64{}, tally{}, tally{}, map[string]map[string]bool{}
		for _, s := range takenApart(events, "resourceSpans", "scopeSpans", "spans") {
			failed := 0.0
			if s.number("status", "code") == 2 {
				failed = 1
			}
			services.add([]string{s.text("service")}, 1, failed)
			start, _ := strconv.ParseInt(s.text("startTimeUnixNano"), 10, 64)
			end, _ := strconv.ParseInt(s.text("endTimeUnixNano"), 10, 64)
			key := s.text("service") + "\t" + s.text("name")
			latency[key] = append(latency[key], float64(end-start)/1e6)
			attributes, _ := s.at("attributes").([]any)
			for _, a := range attributes {
				kv := event(a.(map[string]any))
				if kv.text("key") == "http.status_code" {
					codes.add([]string{kv.text("value", "intValue")}, 1)
				}
			}
			if of[s.text("traceId")] == nil {
				of[s.text("traceId")] = map[string]bool{}
			}
			of[s.text("traceId")][s.text("service")] = true
			traces.add([]string{s.text("traceId")}, 1)
		}
		slow := tally{}
		for key, values := range latency {
			slow.add(strings.Split(key, "\t"), quantile(0.5, values), quantile(0.95, values))
		}
		var per [][]string
		for _, row := range traces.rows(plainSums) {
			per = append(per, append(row, fmt.Sprint(len(of[row[0]]))))
		}
		return map[string][][]string{"services": services.rows(plainSums), "latency": slow.rows(plainSums), "status_codes": codes.rows(plainSums), "traces": per}
	},
	"otlp-logs": func(events []event) map[string][][]string {
		severities := tally{}
		var errs, of [][]string
		for _, l := range takenApart(events, "resourceLogs", "scopeLogs", "logRecords") {
			severities.add([]string{l.text("service"), l.text("severityText")}, 1)
			at := l.text("timeUnixNano")
			if at == "0" {
				at = l.text("observedTimeUnixNano")
			}
			body := l.text("body", "stringValue")
			if body == "" {
				text, _ := json.Marshal(l.at("body"))
				body = string(text)
			}
			if l.number("severityNumber") >= 17 {
				errs = append(errs, []string{strings.TrimSuffix(at, "000000000"), l.text("service"), body})
			}
			if l.text("traceId") == "aaaa" {
				of = append(of, []string{l.text("service"), body, "/x"})
			}
		}
		slices.SortFunc(errs, func(a, b []string) int { return strings.Compare(b[0], a[0]) })
		return map[string][][]string{"severities": severities.rows(plainSums), "errors": errs, "of_trace": of}
	},
}

// takenApart are what an OTLP request holds, each with the name of its service.
func takenApart(events []event, resources, scopes, items string) (out []event) {
	list := func(v any, name string) []any { l, _ := event(v.(map[string]any)).at(name).([]any); return l }
	for _, e := range events {
		for _, r := range list(map[string]any(e), resources) {
			for _, s := range list(r, scopes) {
				for _, i := range list(s, items) {
					item := event(i.(map[string]any))
					item["service"] = event(list(event(r.(map[string]any)).at("resource"), "attributes")[0].(map[string]any)).text("value", "stringValue")
					out = append(out, item)
				}
			}
		}
	}
	return out
}

// Of each template: its tables are made, its examples run through it, nothing of them is rescued or lost but what is meant to be, the audit is clean, and each question
// gives what the test has computed from the events by itself. The dashboard asks the same questions of its range.
func TestTemplates(t *testing.T) {
	var names []string
	for _, tpl := range templates.All() {
		names = append(names, tpl.Name)
	}
	w := newInitWorld(t, names...)
	for _, tpl := range templates.All() {
		t.Run(tpl.Name, func(t *testing.T) {
			of := *w
			of.T = t
			w := &of
			file := filepath.Join(w.dir, tpl.Name+".yaml")
			out := w.waybill("init", "--template", tpl.Name, "--brokers", w.addr, "--topic", tpl.Name, "--clickhouse", w.url(), "--name", w.name(tpl.Name), "--file", file, "--create", "-o", "json")
			var r templateReport
			if err := json.Unmarshal([]byte(out), &r); err != nil || !r.Created || len(r.Files) != 5 {
				t.Fatalf("%+v %v", r, err)
			}
			place := templates.Place{Name: w.name(tpl.Name), Database: w.db, Table: strings.ReplaceAll(tpl.Name, "-", "_")}
			for _, sql := range tpl.Given(place) {
				testenv.Exec(t, w.srv.HTTPAddr(), sql)
			}
			var events []event
			lines := strings.Split(strings.TrimSpace(tpl.Events()), "\n")
			for _, line := range lines {
				var e event
				if err := json.Unmarshal([]byte(line), &e); err != nil {
					t.Fatal(err)
				}
				events = append(events, e)
			}
			w.produce(tpl.Name, lines...)
			w.waybill("check", file)
			dead := 0
			if tpl.Name == "embeddings" {
				dead = 1 // a vector of another length
			}
			table := w.db + "." + place.Table
			w.run(file, func() bool { return w.count("SELECT count() FROM "+table) >= int64(len(lines)-dead) })
			if got := w.count("SELECT count() FROM " + table); got != int64(len(lines)-dead) {
				t.Errorf("%d rows of %d events", got, len(lines))
			}
			if got := testenv.QueryRows(t, w.srv.HTTPAddr(), "SELECT _rescued FROM "+table+" WHERE _rescued != ''"); len(got) > 0 {
				t.Errorf("rescued: %v", got)
			}
			w.waybill("audit", file)

			want := answers[tpl.Name](events)
			for _, q := range tpl.Queries(place) {
				got := testenv.QueryRows(t, w.srv.HTTPAddr(), q.SQL)
				if !sameAnswer(got, want[q.Name]) {
					t.Errorf("%s: %v\nwant %v", q.Name, got, want[q.Name])
				}
				delete(want, q.Name)
			}
			if len(want) > 0 {
				t.Errorf("no such questions: %v", want)
			}
			w.dashboard(t, tpl, place, strings.TrimSuffix(file, ".yaml")+"-dashboard.json")
		})
	}
}

// dashboard asks each panel's question, over all time.
func (w *initWorld) dashboard(t *testing.T, tpl templates.Template, place templates.Place, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ RawSQL string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	questions := tpl.Queries(place)
	if len(board.Panels) != len(questions) {
		t.Fatalf("%d panels for %d questions", len(board.Panels), len(questions))
	}
	for i, q := range questions {
		sql := board.Panels[i].Targets[0].RawSQL
		if q.Name == "refused" { // of Waybill's own table
			continue
		}
		ranged := timeFilter.ReplaceAllString(sql, "$1 >= '2026-01-01' AND $1 < '2027-01-01'")
		empty := timeFilter.ReplaceAllString(sql, "$1 >= '2020-01-01' AND $1 < '2020-01-02'")
		if ranged == sql {
			t.Errorf("%s: no range", q.Name)
		}
		if got, want := testenv.QueryRows(t, w.srv.HTTPAddr(), ranged), testenv.QueryRows(t, w.srv.HTTPAddr(), q.SQL); !sameAnswer(got, want) {
			t.Errorf("%s: in Grafana %v, by hand %v", q.Name, got, want)
		}
		if got := testenv.QueryRows(t, w.srv.HTTPAddr(), empty); len(got) > 0 && !strings.Contains(fmt.Sprint(got), "nan") {
			t.Errorf("%s: of another time %v", q.Name, got)
		}
	}
}

var timeFilter = regexp.MustCompile(`\$__timeFilter\((\w+)\)`)

// sameAnswer: texts are equal, numbers to the ninth place.
func sameAnswer(got, want [][]string) bool {
	return slices.EqualFunc(got, want, func(a, b []string) bool {
		return slices.EqualFunc(a, b, func(x, y string) bool {
			if x == y {
				return true
			}
			f, err := strconv.ParseFloat(x, 64)
			g, other := strconv.ParseFloat(y, 64)
			return err == nil && other == nil && math.Abs(f-g) <= 1e-9*max(1, math.Abs(g))
		})
	})
}
