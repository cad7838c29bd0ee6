package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
)

// secret is something that was planted in an event, and that must be found nowhere but in the topic.
type secret struct {
	class string // of the event
	kind  string
	text  string
}

// forms are ways in which the secret could be written down.
func (s secret) forms() [][]byte {
	text := []byte(s.text)
	out := [][]byte{text, []byte(strings.ToLower(hex.EncodeToString(text))), []byte(strings.ToUpper(hex.EncodeToString(text)))}
	for shift := range 3 { // base64 of a longer text that holds it
		coded := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), text...))
		out = append(out, []byte(coded[4:len(coded)-4]))
	}
	if s.kind == "email" {
		out = append(out, []byte(strings.Replace(s.text, "@", `\u0040`, 1)), []byte(strings.Replace(s.text, "@", "%40", 1)))
	}
	return out
}

// planter draws secrets and remembers them.
type planter struct {
	rng     *rand.Rand
	secrets []secret
}

func (p *planter) text(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[p.rng.IntN(len(alphabet))]
	}
	return string(b)
}

const (
	letters = "abcdefghijklmnopqrstuvwxyz"
	figures = "0123456789"
)

// plant draws a secret for an event of that class.
func (p *planter) plant(class, kind string) string {
	s := secret{class: class, kind: kind}
	switch kind {
	case "email":
		s.text = p.text(letters, 12) + "@" + p.text(letters, 9) + ".example.com"
	case "phone":
		s.text = "+49 170 " + p.text(figures, 7)
	case "card":
		s.text = card("4" + p.text(figures, 14))
	case "api_key":
		s.text = "sk-" + p.text(letters+strings.ToUpper(letters)+figures, 40)
	default: // what no detector knows: rules for paths, keys and headers take it
		s.text = "plain " + p.text(letters, 20)
	}
	p.secrets = append(p.secrets, s)
	return s.text
}

// card completes 15 digits by the check digit.
func card(digits string) string {
	sum := 0
	for i, d := range []byte(digits) {
		n := int(d - '0')
		if i%2 == 0 {
			n = n/5 + n*2%10 // the sum of the digits of twice n
		}
		sum += n
	}
	return digits + string(rune('0'+(10-sum%10)%10))
}

// secretEvent is a class of events: where its secrets are, and what becomes of it.
type secretEvent struct {
	class string
	// more members of the event, by the class's plant
	more func(plant func(kind string) string) string
	// spoil the text as a whole
	spoil func(text []byte) []byte
	fate  fate
	code  string // of its dead letter
	// early: it fails before it can be redacted
	early bool
}

var secretEvents = []secretEvent{
	{class: "row"},
	{class: "new column", more: func(plant func(string) string) string {
		return fmt.Sprintf(`,"comment":"ask %s or %s","contact":{"mail":%q,"numbers":[%q,%q]}`, plant("email"), plant("phone"), plant("email"), plant("phone"), plant("card"))
	}},
	{class: "rescued field", more: func(plant func(string) string) string {
		return fmt.Sprintf(`,"raw":{"a":[%q,{"deep":%q}],"card":%s,"url":"https://x.example/?m=%s"}`, plant("email"), plant("api_key"), plant("card"), strings.Replace(plant("email"), "@", "%40", 1))
	}},
	{class: "rescued value", more: func(plant func(string) string) string {
		return fmt.Sprintf(`,"loose":"%s %s"`, plant("phone"), plant("email"))
	}},
	{class: "names of members", more: func(plant func(string) string) string {
		return fmt.Sprintf(`,"metadata":{%q:"x","call %s":"y"},"raw":{%q:1}`, plant("email"), plant("phone"), plant("email"))
	}},
	{class: "escapes", more: func(plant func(string) string) string {
		return `,"raw":"` + strings.Replace(plant("email"), "@", `\u0040`, 1) + `"`
	}},
	{class: "discarded", more: func(plant func(string) string) string { return fmt.Sprintf(`,"debug":{"who":%q}`, plant("email")) }},
	{class: "old version", more: func(plant func(string) string) string {
		return fmt.Sprintf(`,"v":2,"old":{"owner":%q}`, plant("plain"))
	}},
	{class: "missing id", fate: asDead, code: "missing_required", spoil: func(text []byte) []byte { return bytes.Replace(text, []byte(`"id"`), []byte(`"no_id"`), 1) }},
	{class: "frozen field", fate: asDead, code: "new_field", more: func(plant func(string) string) string {
		return fmt.Sprintf(`,"forbidden":{%q:%q}`, plant("email"), plant("phone"))
	}},
	{class: "frozen value", fate: asDead, code: "wrong_type", more: func(plant func(string) string) string { return fmt.Sprintf(`,"strict":%q`, plant("email")) }},
	{class: "name twice", fate: asDead, code: "expression_error", more: func(plant func(string) string) string {
		return fmt.Sprintf(`,"user":{"email":%q},"body":"again, %s"`, plant("email"), plant("phone"))
	}},
	{class: "filter that fails", fate: asDead, code: "expression_error", more: func(plant func(string) string) string { return fmt.Sprintf(`,"flag":%q`, plant("email")) }},
	{class: "refused by the server", fate: asDead, code: "server_469", more: func(plant func(string) string) string { return fmt.Sprintf(`,"cursed":"by %s"`, plant("email")) }},
	{class: "unknown version", fate: asDead, code: "unknown_version", early: true, more: func(plant func(string) string) string {
		return fmt.Sprintf(`,"v":%q`, plant("email"))
	}},
	{class: "upcast that fails", fate: asDead, code: "upcast_conflict", early: true, more: func(plant func(string) string) string {
		return fmt.Sprintf(`,"v":2,"old":{"owner":%q},"owner":%q`, plant("plain"), plant("email"))
	}},
	{class: "cut text", fate: asDead, code: "truncated", early: true, spoil: func(text []byte) []byte { return text[:len(text)-9] }},
	{class: "something after it", fate: asDead, code: "trailing_data", early: true, spoil: func(text []byte) []byte { return append(text, `"x"`...) }},
	{class: "no object", fate: asDead, code: "not_an_object", early: true, spoil: func(text []byte) []byte { return append(append([]byte{'['}, text...), ']') }},
	{class: "broken JSON", fate: asDead, code: "invalid_json", early: true, spoil: func(text []byte) []byte { return bytes.Replace(text, []byte(`"at":`), []byte(`"at":NaN,"when":`), 1) }},
	{class: "broken UTF-8", fate: asDead, code: "invalid_utf8", early: true, spoil: func(text []byte) []byte {
		return bytes.Replace(text, []byte(`"at":`), []byte("\"x\":\"\xff\",\"at\":"), 1)
	}},
	{class: "too deep", fate: asDead, code: "too_deep", early: true, spoil: func(text []byte) []byte {
		return bytes.Replace(text, []byte(`"at":`), []byte(`"x":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+`,"at":`), 1)
	}},
}

// make is an event of the class, with its record's key and headers.
func (c secretEvent) make(p *planter, id uint64) record {
	plant := func(kind string) string { return p.plant(c.class, kind) }
	more := ""
	if c.more != nil {
		more = c.more(plant)
	}
	r := record{class: c.class, fate: c.fate, id: id, n: id%1000 + 1, tenant: fmt.Sprintf("t%d", id%tenants)}
	text := fmt.Appendf(nil, `{"id":%d,"tenant":%q,"usage":{"n":%d},"at":%d,"body":"write to %s, call %s, pay with %s, use %s; that is all",`, id, r.tenant, r.n, firstDay,
		plant("email"), plant("phone"), plant("card"), plant("api_key"))
	text = fmt.Appendf(text, `"user":{"email":%q,"name":%q,"note":%q,"address":{"street":%q,"rooms":[%q]}}%s}`, plant("email"), plant("plain"), plant("plain"), plant("plain"), plant("plain"), more)
	if c.spoil != nil {
		text = c.spoil(text)
	}
	r.value, r.key = text, []byte(plant("plain"))
	r.headers = []kgo.RecordHeader{{Key: "authorization", Value: []byte("Bearer " + plant("api_key"))}, {Key: "reply-to", Value: []byte(plant("email"))}, {Key: "session", Value: []byte(plant("plain"))}}
	return r
}

const policy = `
redact:
  version: 1
  secret: ${REDACT_SECRET}
  keep_raw: %v
  rules:
    - {path: user.email, do: hash}
    - {path: user.name, do: hash}
    - {path: user.note, do: drop}
    - {path: user.address, do: mask}
    - {path: owner, do: mask}
    - {path: "debug", do: drop}
    - {detect: [email, phone, card, api_key], do: mask}
    - {kafka: key, do: hash}
    - {kafka: header.authorization, do: drop}
    - {kafka: header.session, do: hash}
    - {kafka: header.reply-to, detect: [email], do: mask}
`

// secretFile is a pipeline file in which every way out of an event is open.
func (w *world) secretFile(redact string) string {
	return fmt.Sprintf(`name: %s
source:
  kafka: {brokers: [%q], topic: %s, session_timeout: 6s}
contract:
  new_fields: {default: evolve, raw: rescue, debug: discard, forbidden: freeze, flag: discard, cursed: evolve}
  type_conflicts: {default: rescue, strict: freeze}
  columns:
    id: {type: UInt64, required: true}
    tenant: {type: LowCardinality(String)}
    n: {type: UInt32, from: usage.n}
    at: {type: DateTime, format: unix}
    body: {type: String}
    cursed: {type: String}
    strict: {type: UInt8}
    loose: {type: UInt8}
    record_key: {type: String, kafka: key}
    session: {type: String, kafka: header.session}
    reply_to: {type: String, kafka: header.reply-to}
    mail_domain: {type: String, expr: 'event.user.email'}
sink:
  clickhouse: {url: "clickhouse://default@%s/%s", table: events, insert_deadline: 5s}
batch: {rows: 100, bytes: 8MiB, age: 200ms}
version:
  from: v
  current: 3
  missing: 3
  upcast:
    - {from: 2, to: 3, steps: [{move: {from: old.owner, to: owner}}]}
filter: '!has(event.flag) || event.flag > 3'
%s`, w.pipeline, w.kafka.Addr(), w.topic, w.ch.TCPAddr(), w.db, redact)
}

// redactSecret is what hashes are keyed with: it must be found nowhere, too.
const redactSecret = "Zq81-not-to-be-found-4Kx9"

// secrets runs events with secrets through a pipeline, with a crash on the way, and gathers all that is written down.
func secrets(t *testing.T, redact string, perClass int) (*world, *planter, map[string][]byte) {
	t.Helper()
	w := newWorld(t, setup{ch: testenv.ClickHouse(t, func(o *chserver.Options) { o.SystemLogs = true }), partitions: 3})
	w.exec(`ALTER TABLE `+w.db+`.events ADD COLUMN cursed String, ADD COLUMN strict UInt8, ADD COLUMN loose UInt8, ADD COLUMN record_key String, ADD COLUMN session String, ADD COLUMN reply_to String,
		ADD COLUMN mail_domain String`, "ALTER TABLE "+w.db+".events ADD CONSTRAINT sound CHECK cursed = ''")
	w.env = []string{"REDACT_SECRET=" + redactSecret}
	w.file = w.secretFile(redact)
	w.allow("column_added", "evolve_held",
		"dead_letter_rate") // most records are broken, which is told if it takes long enough
	p := &planter{rng: rand.New(rand.NewPCG(seed(t), 3))} //nolint:gosec // chance, not secrecy
	p.secrets = append(p.secrets, secret{class: "the pipeline", kind: "secret of hashes", text: redactSecret})
	events := func() (out []record) {
		for range perClass {
			for _, c := range secretEvents {
				w.nextID++
				out = append(out, c.make(p, w.nextID))
			}
		}
		return out
	}
	w.send(events())
	w.start("before-dead-letters:1").died("before-dead-letters")
	w.send(events())
	first := w.start("")
	w.quiet()
	w.send(events())
	w.quiet()
	written := w.outputs(first)
	first.stop()
	maps.Copy(written, w.written())
	return w, p, written
}

// outputs are what a running worker and the commands say.
func (w *world) outputs(p *worker) map[string][]byte {
	w.Helper()
	out := map[string][]byte{}
	file := w.writeFile()
	for name, args := range map[string][]string{
		"waybill plan":           {"plan", file, "--records", "1000000", "--from", "earliest"},
		"waybill plan -o json":   {"plan", file, "--records", "1000000", "--from", "earliest", "-o", "json"},
		"waybill schema show":    {"schema", "show", file, "-o", "json"},
		"waybill schema history": {"schema", "history", file, "-o", "json"},
		"waybill schema drift":   {"schema", "drift", file, "-o", "json"},
		"waybill status":         {"status", "--addr", strings.TrimPrefix(p.url(), "http://"), "-o", "json"},
	} {
		cmd := exec.Command(binary, args...)
		cmd.Env = append(os.Environ(), w.env...)
		text, err := cmd.CombinedOutput()
		if err != nil || len(text) == 0 {
			w.Fatalf("%s: %v\n%s", name, err, text)
		}
		out[name] = text
	}
	for _, path := range []string{"/status", "/metrics", "/readyz"} {
		resp, err := statusClient.Get(p.url() + path)
		if err != nil {
			w.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			w.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
		out[path] = body
	}
	return out
}

// written is what stands in ClickHouse, in the group's offsets and in the logs of the workers: every column of every table that is not the
// server's own, and the statements that the server has logged.
func (w *world) written() map[string][]byte {
	w.Helper()
	out := map[string][]byte{}
	w.exec("SYSTEM FLUSH LOGS")
	dump := func(name, sql string) {
		text, err := testenv.Query(w.ch.HTTPAddr(), sql+" FORMAT TSVRaw")
		if err != nil && strings.Contains(err.Error(), "UNKNOWN_TABLE") { // of another case, and gone
			return
		}
		if err != nil {
			w.Fatal(err)
		}
		out[name] = []byte(text)
	}
	for _, f := range w.rowsOf("SELECT database, name FROM system.tables WHERE database IN ('waybill', '" + w.db + "')") {
		name := f[0] + "." + f[1]
		quoted := clickhouse.Table(f[0], f[1])
		dump("table "+strings.TrimPrefix(name, w.db+"."), "SELECT * FROM "+quoted)
		dump("definition of "+name, "SHOW CREATE TABLE "+quoted)
	}
	dump("statements", "SELECT query, exception FROM system.query_log")
	dump("mutations", "SELECT * FROM system.mutations")
	var offsets strings.Builder
	for _, o := range w.committed() {
		offsets.WriteString(o.Metadata)
	}
	out["offsets"] = []byte(offsets.String())
	for _, p := range w.workers {
		out["log of "+p.name] = []byte(p.log.String())
	}
	return out
}

// leaks are the secrets that are written down, by class of event and place.
func leaks(p *planter, written map[string][]byte) map[string]map[string]string {
	out := map[string]map[string]string{}
	for place, text := range written {
		plain := strings.NewReplacer(" ", "", "-", "").Replace(string(text))
		for _, s := range p.secrets {
			found := slices.ContainsFunc(s.forms(), func(form []byte) bool { return bytes.Contains(text, form) })
			if s.kind == "card" && strings.Contains(plain, s.text) {
				found = true
			}
			if !found {
				continue
			}
			if out[s.class] == nil {
				out[s.class] = map[string]string{}
			}
			out[s.class][place] = s.kind + " " + s.text
		}
	}
	return out
}

// wantCodes: each class of events met its fate, for its own reason.
func (w *world) wantCodes() {
	w.Helper()
	became := map[place]string{}
	for _, f := range w.rowsOf(`SELECT _topic, _epoch, _partition, _offset, 'row' FROM ` + w.db + `.events
		UNION ALL SELECT topic, epoch, partition, offset, code FROM waybill.dead_letters`) {
		became[placeOf(f[0], f[1], f[2], f[3])] += f[4]
	}
	for _, c := range secretEvents {
		want := "row"
		if c.fate == asDead {
			want = c.code
		}
		for _, r := range w.records {
			if got := became[r.place]; r.class == c.class && got != want {
				w.Errorf("%s: became %q, want %s", c.class, got, want)
			}
		}
	}
}

func TestRedaction_NoSecretIsWrittenDown(t *testing.T) {
	w, p, written := secrets(t, fmt.Sprintf(policy, false), 3)
	for class, places := range leaks(p, written) {
		t.Errorf("%s: secrets are in %v", class, places)
	}
	w.wantCodes()
	w.observe("secrets planted", int64(len(p.secrets)))
	w.observe("places searched", int64(len(written)))
	// It is not that nothing was written: what rules hash can be joined, what detectors mask leaves the rest.
	for what, wrong := range map[string]string{
		"hashes of user.email": "mail_domain NOT LIKE 'hmac\\_%'",
		"keys":                 "record_key NOT LIKE 'hmac\\_%'",
		"masked texts":         "body != 'write to [email], call [phone], pay with [card], use [api_key]; that is all'",
		"headers":              "session NOT LIKE 'hmac\\_%' OR reply_to != '[email]'",
	} {
		if n := w.query("SELECT countIf(" + wrong + ") FROM " + w.db + ".events"); n != "0" {
			t.Errorf("%s: %s rows are wrong", what, n)
		}
	}
	w.verifyAllBut("holds other bytes")
}

// keep_raw keeps the texts that could not be redacted, as dead letters and nowhere else.
func TestRedaction_KeepRawKeepsDeadLettersOnly(t *testing.T) {
	fullOnly(t)
	w, p, written := secrets(t, fmt.Sprintf(policy, true), 1)
	found := leaks(p, written)
	for _, c := range secretEvents {
		places := found[c.class]
		delete(places, "table waybill.dead_letters_now") // a view of them
		if c.early && len(places) == 1 && places["table waybill.dead_letters"] != "" || !c.early && len(places) == 0 {
			continue
		}
		t.Errorf("%s: secrets are in %v", c.class, places)
	}
	if places := found["the pipeline"]; len(places) > 0 {
		t.Errorf("the secret of hashes is in %v", places)
	}
	w.observe("secrets planted", int64(len(p.secrets)))
	w.observe("events kept raw", integer(w.query("SELECT countIf(startsWith(ifNull(value, ''), '{\"id\"')) FROM waybill.dead_letters")))
	w.verifyAllBut("holds other bytes")
}

// The same search finds the secrets where there is no policy: it would have found them.
func TestRedaction_WithoutAPolicyTheSearchFindsThem(t *testing.T) {
	w, p, written := secrets(t, "", 1)
	found := leaks(p, written)
	for _, c := range secretEvents {
		if c.class != "discarded" && len(found[c.class]) == 0 {
			t.Errorf("%s: no secret is found", c.class)
		}
	}
	places := map[string]bool{}
	for _, by := range found {
		for place := range by {
			places[place] = true
		}
	}
	for _, place := range []string{"table events", "table waybill.dead_letters", "table waybill.drift", "table waybill.decisions", "waybill plan", "waybill plan -o json", "waybill schema drift"} {
		if !places[place] {
			t.Errorf("no secret is found in %s", place)
		}
	}
	w.observe("places with secrets", int64(len(places)))
	t.Log(slices.Sorted(maps.Keys(places)))
	w.verify()
}
