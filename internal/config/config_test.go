package config_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
)

var update = flag.Bool("update", false, "write golden files")

func env(pairs ...string) func(string) (string, bool) {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(k string) (string, bool) { v, ok := m[k]; return v, ok }
}

func parse(t *testing.T, text string, pairs ...string) *config.Pipeline {
	t.Helper()
	p, err := config.Parse("p.yaml", []byte(text), env(pairs...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func problems(t *testing.T, text string, pairs ...string) config.Problems {
	t.Helper()
	_, err := config.Parse("p.yaml", []byte(text), env(pairs...))
	var ps config.Problems
	if !errors.As(err, &ps) {
		t.Fatalf("got error %v, want Problems", err)
	}
	return ps
}

const minimal = `name: m
source: {kafka: {brokers: ["k:9092"], topic: t}}
contract: {columns: {id: {type: UInt64}}}
sink: {clickhouse: {url: "clickhouse://h", table: t}}
`

func TestParse_FillsEveryDefault(t *testing.T) {
	want := &config.Pipeline{
		Name: "m",
		File: "p.yaml",
		Source: config.Source{
			Kafka: config.Kafka{
				Brokers: []string{"k:9092"}, Topic: "t", Group: "waybill-m", Start: config.Start{At: config.Earliest},
				SessionTimeout: 45 * time.Second, Protocol: config.Classic,
				Isolation: config.ReadCommitted, WhenMoved: config.FollowLedger,
			},
			Format: config.JSON,
		},
		Contract: contract.Contract{
			NewFields:     contract.Modes{Default: contract.ModeRescue},
			TypeConflicts: contract.Modes{Default: contract.ModeRescue},
			Tables:        contract.ModeFreeze, MaxColumns: 200, RescueColumn: "_rescued",
			Columns: []contract.Column{{Name: "id", Type: "UInt64", Line: 3, Col: 22}},
		},
		Sink: config.Sink{ClickHouse: config.ClickHouse{
			Scheme: config.SchemeNative, Compression: config.CompressionAuto,
			Addr: "h:9000", User: "default", Database: "default", Table: "t",
			Lineage:        contract.DefaultLineage(),
			InsertDeadline: 30 * time.Second,
		}},
		Delivery: config.ExactlyOnce,
		OnBlank:  config.BlankStop,

		DeadLetters: config.DeadLetters{Window: 5 * time.Minute},
		Audit:       config.Audit{Continuous: true},
		Batch:       config.Batch{Rows: 500_000, Bytes: 96 << 20, Age: time.Second},

		AllowedLateness: 2 * time.Minute,
	}
	if diff := cmp.Diff(want, parse(t, minimal), cmpopts.IgnoreUnexported(config.Pipeline{})); diff != "" {
		t.Error(diff)
	}
}

// A colon within a word is part of it, in braces too.
func TestParse_AddressesInBraces(t *testing.T) {
	brokers := func(list string) string {
		return strings.Replace(minimal, `["k:9092"]`, list, 1)
	}
	p := parse(t, brokers(`[localhost:9092, 10.0.0.1:9093, "k-1.example.com:9094"]`)+
		"version: {from: v, current: 2, upcast: [{from: 1, to: 2, steps: [{default: {path: tags, value: [a:b, c]}}]}]}\n")
	if got, want := p.Source.Kafka.Brokers, []string{"localhost:9092", "10.0.0.1:9093", "k-1.example.com:9094"}; !slices.Equal(got, want) {
		t.Errorf("brokers %q, want %q", got, want)
	}
	if got := p.Contract.Transform.Version.Upcast[0].Steps[0].Value; got != `["a:b","c"]` {
		t.Errorf("the value of a step: %s", got)
	}
	for _, list := range []string{"[k: 9092]", "[{k: 9092}]", "[{k: 9092}, k:1]"} {
		if _, err := config.Parse("p.yaml", []byte(brokers(list)), os.LookupEnv); err == nil || !strings.Contains(err.Error(), "not a mapping") {
			t.Errorf("%s: %v", list, err)
		}
	}
}

func TestParse_ReadsEveryKey(t *testing.T) {
	text := `
name: all
epoch: 7
source:
  kafka:
    brokers: [a:1, "[::1]:2", c]
    topic: t.x
    group: g
    start: latest
    session_timeout: 1m30s
    protocol: consumer
    isolation: read_uncommitted
    when_moved: stop
  format: json
contract:
  new_fields: freeze
  type_conflicts: {default: rescue, usage: evolve, "items[*].id": discard}
  tables: evolve
  max_columns: 90
  rescue_column: rest
  columns:
    b: {type: "DateTime64(3, 'UTC')", from: x.y, format: unix_ms, on_missing: default, on_null: dead_letter, on_invalid: default, default: 1500}
    d: {type: Float64, default: 1.50}
    c: {type: Nullable(String), as: json, on_null: null}
    a: {type: UUID, required: true}
    e: {type: Float64, expr: event.n * 0.5, on_invalid: rescue}
    f: {type: String, kafka: header.f}
    g: {type: String, value: x}
    h: {type: DateTime, format: "%Y-%m-%d", timezone: Europe/Berlin}
    i: {type: Array(Float32), length: 3, on_null: table_default}
  event_time: h
sink:
  clickhouse:
    url: https://u:p@h:9440/d
    table: llm-calls
    lineage: {topic: tp, partition: pt, offset: of, epoch: ep}
    insert_deadline: 5s
    compression: zstd
    cluster: c1
delivery: at-least-once
on_blank: continue
filter: event.status != "debug"
version:
  from: v
  current: 3
  missing: "1"
  unknown: current
  upcast:
    - from: 1
      to: "2"
      steps:
        - rename: {from: usage.prompt, to: usage.input}
        - move: {from: "\x60a.b\x60", to: c.d}
        - split: {from: name, by: " ", into: [first, last]}
        - merge: {from: [x, y], by: "-", into: z}
        - default: {path: p, value: {b: 1.50, a: [true, null, "t"]}}
        - constant: {path: q, value: 0.10}
        - compute: {path: r, expr: event.n + 1}
    - {from: 2, to: 3, steps: [{rename: {from: s, to: t}}]}
redact:
  version: 4
  secret: ${SECRET}
  keep_raw: true
  rules:
    - {path: "messages[*].content", detect: [email, card], do: mask}
    - {kafka: header.auth, do: drop}
    - {path: user, do: hash}
batch: {rows: 1_000, bytes: 1GiB, age: 250ms}
dead_letters: {max_share: 2.5%, max_count: 1000, window: 10m, ttl: 90d, mirror: {topic: calls.dead}}
allowed_lateness: 90s
audit: {continuous: false, reason: the nightly audit does it}
`
	moment, number, x := "1500", "1.50", "x"
	want := &config.Pipeline{
		Name: "all", File: "p.yaml", Epoch: 7,
		Source: config.Source{
			Kafka: config.Kafka{
				Brokers: []string{"a:1", "[::1]:2", "c:9092"}, Topic: "t.x", Group: "g", Start: config.Start{At: config.Latest},
				SessionTimeout: 90 * time.Second, Protocol: config.Consumer,
				Isolation: config.ReadUncommitted, WhenMoved: config.Stop,
			},
			Format: config.JSON,
		},
		Contract: contract.Contract{
			NewFields: contract.Modes{Default: contract.ModeFreeze},
			TypeConflicts: contract.Modes{Default: contract.ModeRescue, Paths: []contract.PathMode{
				{Path: "items[*].id", Mode: contract.ModeDiscard}, {Path: "usage", Mode: contract.ModeEvolve},
			}},
			Tables: contract.ModeEvolve, MaxColumns: 90, RescueColumn: "rest", EventTime: "h",
			Transform: everyTransform(),
			Columns: []contract.Column{
				{
					Name: "b", Type: "DateTime64(3, 'UTC')", From: "x.y", Format: "unix_ms", Default: &moment,
					OnMissing: contract.Default, OnNull: contract.DeadLetter, OnInvalid: contract.Default, Line: 22, Col: 5,
				},
				{Name: "d", Type: "Float64", Default: &number, Line: 23, Col: 5},
				{Name: "c", Type: "Nullable(String)", As: "json", OnNull: contract.Null, Line: 24, Col: 5},
				{Name: "a", Type: "UUID", Required: true, Line: 25, Col: 5},
				{Name: "e", Type: "Float64", Expr: "event.n * 0.5", OnInvalid: contract.Rescue, Line: 26, Col: 5},
				{Name: "f", Type: "String", Kafka: "header.f", Line: 27, Col: 5},
				{Name: "g", Type: "String", Value: &x, Line: 28, Col: 5},
				{Name: "h", Type: "DateTime", Format: "%Y-%m-%d", Zone: "Europe/Berlin", Line: 29, Col: 5},
				{Name: "i", Type: "Array(Float32)", Length: 3, OnNull: contract.TableDefault, Line: 30, Col: 5},
			},
		},
		Sink: config.Sink{ClickHouse: config.ClickHouse{
			Scheme: config.SchemeHTTPS, Compression: config.CompressionZSTD,
			Addr: "h:9440", User: "u", Password: config.NewSecret("p"), Database: "d", Table: "llm-calls",
			Lineage:        contract.Lineage{Topic: "tp", Partition: "pt", Offset: "of", Epoch: "ep"},
			InsertDeadline: 5 * time.Second, Cluster: "c1",
		}},
		OnBlank: config.BlankContinue, Audit: config.Audit{Reason: "the nightly audit does it"}, RedactSecret: config.NewSecret("0123456789abcdef"),
		Delivery:    config.AtLeastOnce,
		DeadLetters: config.DeadLetters{MaxShare: 0.025, MaxCount: 1000, Window: 10 * time.Minute, TTL: 90 * 24 * time.Hour, Mirror: "calls.dead"},
		Batch:       config.Batch{Rows: 1000, Bytes: 1 << 30, Age: 250 * time.Millisecond},

		AllowedLateness: 90 * time.Second,
	}
	if diff := cmp.Diff(want, parse(t, text, "SECRET", "0123456789abcdef"), cmpopts.IgnoreUnexported(config.Pipeline{})); diff != "" {
		t.Error(diff)
	}
}

func TestParse_ExampleOfTheDocumentation(t *testing.T) {
	data, err := os.ReadFile("testdata/llm-calls.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p := parse(t, string(data), "CH_PASSWORD", "x")
	if got := p.Contract.Columns[4]; got.OnMissing != contract.Null || got.OnNull != contract.Null {
		t.Errorf("a bare and a quoted null are read as %q and %q", got.OnMissing, got.OnNull)
	}
}

func TestParse_AllProblemsAtOnce(t *testing.T) {
	data, err := os.ReadFile("testdata/bad.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = config.Parse("bad.yaml", data, env())
	var ps config.Problems
	if !errors.As(err, &ps) {
		t.Fatalf("got %v", err)
	}
	var out bytes.Buffer
	if err := ps.Render(&out, false); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String()+err.Error(), "hunter2") {
		t.Error("a problem shows the password")
	}
	golden(t, "bad.golden", out.Bytes())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; write it with -update):\n%s", path, diff)
	}
}

// with replaces one piece of the minimal file.
func with(old, repl string) string {
	if !strings.Contains(minimal, old) {
		panic("not in the minimal file: " + old)
	}
	return strings.Replace(minimal, old, repl, 1)
}

func TestParse_Problem(t *testing.T) {
	tests := map[string]struct {
		text, at, want string
	}{
		"empty file":            {"# nothing\n", "p.yaml:1:1", "holds no pipeline"},
		"not a mapping":         {"- a\n", "p.yaml:1:1", "the file must be a mapping, not a list"},
		"syntax":                {"name: [a\n", "p.yaml:1:7", "this is not YAML"},
		"two documents":         {minimal + "---\nname: x\n", "p.yaml:6:1", "more than one document"},
		"alias":                 {with("name: m", "name: &a m"), "p.yaml:1:7", "an anchor or alias"},
		"merge key":             {"<<: {a: 1}\n" + minimal, "p.yaml:1:1", "merge keys"},
		"tag":                   {with("name: m", "name: !!str m"), "p.yaml:1:7", "a tagged value"},
		"missing key":           {with("name: m\n", ""), "p.yaml:1:1", "name is missing"},
		"missing below":         {with(", topic: t", ""), "p.yaml:2:17", "source.kafka.topic is missing"},
		"null":                  {with("name: m", "name:"), "p.yaml:1:6", "name must be text, not empty"},
		"bool":                  {with("name: m", "name: true"), "p.yaml:1:7", "name must be text, not a true/false value"},
		"epoch too large":       {"epoch: 4294967296\n" + minimal, "p.yaml:1:8", "4294967296 is outside of 0 to 4294967295"},
		"epoch as text":         {"epoch: '1'\n" + minimal, "p.yaml:1:8", "epoch must be a whole number, not text"},
		"no brokers":            {with(`["k:9092"]`, "[]"), "p.yaml:2:27", "source.kafka.brokers is empty"},
		"broker":                {with("k:9092", "k:port"), "p.yaml:2:28", "source.kafka.brokers[0] is not an address"},
		"duration":              {"batch: {age: 5}\n" + minimal, "p.yaml:1:14", `"5" is not a length of time`},
		"duration range":        {"batch: {age: 1h}\n" + minimal, "p.yaml:1:14", "1h is outside of 1ms to 10m0s"},
		"size range":            {"batch: {bytes: 2GiB}\n" + minimal, "p.yaml:1:16", "2GiB is outside of 1KiB to 1GiB"},
		"mode":                  {with("{columns", "{new_fields: evolv, columns"), "p.yaml:3:24", `"evolv" is not a choice (did you mean "evolve"?)`},
		"mode of a path":        {with("{columns", "{new_fields: {a.b: keep}, columns"), "p.yaml:3:30", `contract.new_fields.a.b: "keep" is not a choice (one of: evolve, rescue, freeze, discard)`},
		"path of a mode":        {with("{columns", "{new_fields: {a..b: rescue}, columns"), "p.yaml:3:25", `a name in the path is empty`},
		"tables":                {with("{columns", "{tables: rescue, columns"), "p.yaml:3:20", `"rescue" is not a choice (one of: evolve, freeze)`},
		"rescue column":         {with("{id:", "{_rescued:"), "p.yaml:3:22", "is the rescue column"},
		"no such event time":    {with("{columns", "{event_time: at, columns"), "p.yaml:3:24", `contract.event_time: the contract has no column "at"`},
		"event time is no time": {with("{columns", "{event_time: id, columns"), "p.yaml:3:38", "event_time: a column of DateTime, DateTime64, Date or Date32, or one of these Nullable; this one is"},
		"rescue is lineage":     {with("{columns", "{rescue_column: _offset, columns"), "p.yaml:3:27", `the rescue column and the lineage column for the offset are both called "_offset"`},
		"share":                 {"dead_letters: {max_share: 0.05}\n" + minimal, "p.yaml:1:27", `"0.05" is not a share: write a number and a percent sign, like 5%`},
		"share of more":         {"dead_letters: {max_share: 101%}\n" + minimal, "p.yaml:1:27", "101% is outside of 0% to 100%"},
		"days":                  {"dead_letters: {ttl: 12h}\n" + minimal, "p.yaml:1:21", `"12h" is not a number of days`},
		"too few days":          {"dead_letters: {ttl: 0d}\n" + minimal, "p.yaml:1:21", "0d is outside of 1d to 36500d"},
		"later key":             {"dedup: {}\n" + minimal, "p.yaml:1:1", "dedup is not available in this version"},
		"unquoted type":         {with("UInt64", "Map(String, String)"), "p.yaml:3:45", "must be quoted"},
		"no columns":            {with("{id: {type: UInt64}}", "{}"), "p.yaml:3:21", "contract.columns is empty"},
		"required default":      {with("UInt64", "UInt64, required: true, default: 1"), "p.yaml:3:66", "is required and has a default"},
		"null default":          {with("UInt64", "UInt64, default: ~"), "p.yaml:3:50", "to write NULL"},
		"lineage twice":         {with("table: t", "table: t, lineage: {offset: _topic}"), "p.yaml:4:63", `lineage topic and offset are both called "_topic"`},
		"lineage in cols":       {with("{id:", "{_epoch:"), "p.yaml:3:22", "is the lineage column for the epoch"},
		"not a type":            {with("UInt64", "UInt65"), "p.yaml:3:22", `contract.columns.id: type "UInt65": UInt65 is not supported`},
		"path":                  {with("UInt64", "UInt64, from: a..b"), "p.yaml:3:22", "contract.columns.id: from: a name in the path is empty"},
		"null without Nullable": {with("UInt64", "UInt64, on_null: null"), "p.yaml:3:22", "null needs a Nullable type"},
		"default does not fit":  {with("UInt64", "UInt64, default: -1"), "p.yaml:3:22", `default: "-1" does not fit UInt64`},
		"as":                    {with("UInt64", "UInt64, as: json"), "p.yaml:3:22", "as: json needs a column of String"},
		"url scheme":            {with("clickhouse://h", "tcp://h"), "p.yaml:4:26", "does not start with clickhouse://"},
		"compression":           {with("table: t", "table: t, compression: lz5"), "p.yaml:4:67", `"lz5" is not a choice (did you mean "lz4"?)`},
		"url params":            {with("clickhouse://h", "clickhouse://h/d?debug=1"), "p.yaml:4:26", "has parameters"},
		"url secure":            {with("clickhouse://h", "clickhouse://h/d?secure=1"), "p.yaml:4:26", "has secure=1"},
		"url https secure":      {with("clickhouse://h", "https://h/d?secure=true"), "p.yaml:4:26", "has secure=true, which is the native protocol's"},
		"url host twice":        {with("clickhouse://h", "clickhouse://h,h:9000/d"), "p.yaml:4:26", "names h:9000 twice"},
		"url empty host":        {with("clickhouse://h", "clickhouse://h,/d"), "p.yaml:4:26", "names no host"},
		"tls without TLS":       {with("table: t", "table: t, tls: {ca: ca.pem}"), "p.yaml:4:59", "is given, but the URL asks for no TLS"},
		"tls without key":       {strings.Replace(with("table: t", "table: t, tls: {cert: c.pem}"), "clickhouse://", "https://", 1), "p.yaml:4:54", "has only one of cert and key"},
		"tls unverified":        {strings.Replace(with("table: t", "table: t, tls: {skip_verify: true}"), "clickhouse://", "https://", 1), "p.yaml:4:55", "there is no sink.clickhouse.tls.skip_verify (any server would be taken for the right one"},
		"two passwords":         {with(`clickhouse://h"`, `clickhouse://u:p@h/d", password_file: f`), "p.yaml:4:65", "has two passwords"},
		"quorum":                {with("table: t", "table: t, insert_quorum: 1"), "p.yaml:4:69", "is no quorum"},
		"url port":              {with("clickhouse://h", "clickhouse://h:99999/d"), "p.yaml:4:26", "is not an address"},
		"table with dot":        {with("table: t", "table: d.t"), "p.yaml:4:51", "the database belongs into sink.clickhouse.url"},
		"variable not set":      {with("topic: t", "topic: 'x.${NOPE}'"), "p.yaml:2:49", "the environment variable NOPE is not set"},
		"not a variable":        {with("topic: t", "topic: '${a b}'"), "p.yaml:2:47", "${a b} is not a variable"},
		"variable in a key":     {with("id:", "'${NOPE}':"), "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.want == "" {
				parse(t, tt.text)
				return
			}
			ps := problems(t, tt.text)
			if len(ps) != 1 && name != "unquoted type" {
				t.Errorf("want one problem, got:\n%v", ps)
			}
			if got := ps[0].String(); !strings.HasPrefix(got, tt.at+": ") || !strings.Contains(got, tt.want) {
				t.Errorf("got  %s\nwant %s: ... %s", got, tt.at, tt.want)
			}
		})
	}
}

func TestParse_SchemeChoosesTransportAndPort(t *testing.T) {
	for url, want := range map[string]string{
		"clickhouse://h": "clickhouse h:9000 false", "http://h": "http h:8123 true", "https://h": "https h:8443 true",
		"clickhouses://h": "clickhouses h:9440 false", "clickhouse://h/d?secure=true": "clickhouses h:9440 false",
		"http://h:80/d": "http h:80 true", "https://[::1]": "https [::1]:8443 true",
	} {
		c := parse(t, with("clickhouse://h", url)).Sink.ClickHouse
		if got := fmt.Sprint(c.Scheme, " ", c.Addr, " ", c.HTTP()); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}

func TestParse_ClickHouse(t *testing.T) {
	c := parse(t, with(`"clickhouse://h", table: t`, `"clickhouses://u@a,b:1,[::1]/d", table: t, password_file: f, tls: {ca: ca, cert: c, key: k, server_name: n}, insert_quorum: auto, cluster: main`)).Sink.ClickHouse
	if got := fmt.Sprint(c.Hosts()); got != "[a:9440 b:1 [::1]:9440]" {
		t.Errorf("hosts %s", got)
	}
	if c.User != "u" || c.Database != "d" || c.PasswordFile != "f" || c.TLS != (config.TLS{CA: "ca", Cert: "c", Key: "k", ServerName: "n"}) || c.Quorum != "auto" || c.Cluster != "main" || !c.Secure() {
		t.Errorf("%+v", c)
	}
	if q := parse(t, with("table: t", "table: t, insert_quorum: 3")).Sink.ClickHouse.Quorum; q != "3" {
		t.Errorf("quorum %q", q)
	}
}

func TestParse_VariablesKeepTheirCharacters(t *testing.T) {
	const password = `p@ss/w:rd +%41?#"` + "\n: {}"
	p := parse(t, with("clickhouse://h", "clickhouse://${U}:${P}@${H}:9001/${D}"),
		"U", "in gest", "P", password, "H", "ch", "D", "ai")
	c := p.Sink.ClickHouse
	if c.User != "in gest" || c.Password.Reveal() != password || c.Addr != "ch:9001" || c.Database != "ai" {
		t.Errorf("got user %q, password %q, address %q, database %q", c.User, c.Password.Reveal(), c.Addr, c.Database)
	}
	whole := parse(t, with("clickhouse://h", "${URL}"), "URL", "clickhouse://u:p@h:9000/d").Sink.ClickHouse
	if whole.User != "u" || whole.Password.Reveal() != "p" || whole.Addr != "h:9000" {
		t.Errorf("a URL that is one variable is read as %+v", whole)
	}
	if got := parse(t, with("UInt64", "String, default: 'a$${X}'")).Contract.Columns[0].Default; *got != "a${X}" {
		t.Errorf("an escaped variable is read as %q", *got)
	}
}

// A variable's value is never quoted, and what is said about it does not follow from guessing.
func TestParse_ProblemsDoNotShowValuesOfVariables(t *testing.T) {
	for _, text := range []string{
		with("name: m", "name: ${S}"),
		with("topic: t", "topic: '${S}'"),
		with("topic: t", "topic: t, start: '${S}'"),
		with("topic: t", "topic: t, session_timeout: '${S}'"),
		"batch: {bytes: '${S}'}\n" + minimal,
		with("clickhouse://h", "${S}"),
		with("clickhouse://h", "clickhouse://u:p@${S}/d"),
		with("table: t", "table: '${S}'"),
	} {
		ps := problems(t, text, "S", "hunter2 :/.x")
		var out bytes.Buffer
		if err := ps.Render(&out, true); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String()+ps.Error(), "hunter2") {
			t.Errorf("shown: %s", out.String())
		}
	}
}

func TestProblems_MaskLiteralPasswordAndKeepTheCaret(t *testing.T) {
	ps := problems(t, with(`"clickhouse://h", table: t`, `"clickhouse://u:hunt@er2@h/d", tabel: t`))
	var out bytes.Buffer
	if err := ps.Render(&out, false); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "hunt") || strings.Contains(out.String(), "er2") {
		t.Errorf("the password is shown:\n%s", out.String())
	}
	p := ps[1]
	if p.Source[p.Caret:p.Caret+5] != "tabel" {
		t.Errorf("the caret points at %q of %q", p.Source[p.Caret:], p.Source)
	}
}

func TestProblems_AreOfClassConfig(t *testing.T) {
	if c := waybill.ClassOf(problems(t, "name: x\n")); c != waybill.ClassConfig {
		t.Errorf("class %v", c)
	}
}

func TestContractProblems_PointIntoTheFile(t *testing.T) {
	p := parse(t, minimal)
	_, err := contract.Compile(p.Contract, contract.TableSchema{Database: "d", Table: "t", Columns: []contract.TableColumn{
		{Name: "id", Type: "String"}, {Name: "_topic", Type: "String"}, {Name: "_partition", Type: "UInt32"}, {Name: "_epoch", Type: "UInt32"}, {Name: "_rescued", Type: "String"},
	}}, p.Sink.ClickHouse.Lineage, 1)
	var got []string
	for _, problem := range p.ContractProblems(err) {
		got = append(got, problem.String())
	}
	want := []string{
		"p.yaml:3:22: contract.columns.id: the contract says UInt64, the table has String",
		"p.yaml: _offset: the table has no such lineage column: ALTER TABLE d.t ADD COLUMN _offset UInt64",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParse_TableWithoutEpochColumn(t *testing.T) {
	p := parse(t, with("table: t", "table: t, lineage: {epoch: ''}"))
	if l := p.Sink.ClickHouse.Lineage; l.Epoch != "" || l.Topic != "_topic" {
		t.Errorf("lineage %+v", l)
	}
}

func TestLoadAll_ReportsAllFilesAndClashes(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a := write("a.yaml", minimal)
	b := write("b.yaml", minimal)
	c := write("c.yaml", strings.Replace(with("name: m", "name: n"), "topic: t", "topic: t, group: waybill-m", 1))
	d := write("d.yaml", "name: x\n")
	_, err := config.LoadAll([]string{a, b, c, d, filepath.Join(dir, "none.yaml")}, env())
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"b.yaml: the name \"m\" is already taken by " + a,
		"c.yaml: the group \"waybill-m\" is already that of pipeline \"m\"",
		"d.yaml:1:1: source is missing",
		"none.yaml: cannot read the file: no such file or directory",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in:\n%v", want, err)
		}
	}
	ps, err := config.LoadAll([]string{a}, env())
	if err != nil || len(ps) != 1 {
		t.Errorf("one good file: %v, %v", ps, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, path := range []string{"testdata/llm-calls.yaml", "testdata/bad.yaml"} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(minimal))
	f.Add([]byte("? [a]\n: b\n<<: *x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := config.Parse("f.yaml", data, env("X", "v"))
		if (p == nil) == (err == nil) {
			t.Fatalf("pipeline %v and error %v", p, err)
		}
		var ps config.Problems
		if err != nil && (!errors.As(err, &ps) || len(ps) == 0) {
			t.Fatalf("error is not Problems: %v", err)
		}
		if err := ps.Render(&bytes.Buffer{}, true); err != nil {
			t.Fatal(err)
		}
	})
}
