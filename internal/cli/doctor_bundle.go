package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/bundle"
	"github.com/waybill-data/waybill/internal/check"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/doctor"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/finding"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/status"
)

// bundleOptions are the flags of `waybill doctor --bundle`.
type bundleOptions struct {
	out   string
	addrs []string
	rows  int
}

// Bounds of an archive: of rows of each table, and of what a process serves.
const (
	defaultBundleRows = 1000
	maxBundleRows     = 100_000
	maxMetricsBytes   = 16 << 20
)

// check says what is wrong before anybody is asked anything.
func (b bundleOptions) check() error {
	if b.out == "" {
		return nil
	}
	if b.rows < 1 || b.rows > maxBundleRows {
		return usage(fmt.Errorf("--rows: from 1 to %d", maxBundleRows))
	}
	if _, err := os.Lstat(b.out); err == nil {
		return thereAlready(b.out)
	}
	return nil
}

func thereAlready(path string) error {
	return usage(&waybill.Error{Op: "doctor.bundle", Class: waybill.ClassConfig, Err: fmt.Errorf("%s is there already, and is not overwritten", path), Hint: "name another file, or move it away"})
}

// bundleReport is what is told of an archive that was written.
type bundleReport struct {
	File  string   `json:"file"`
	Files []string `json:"files"` // in it
	// Lacks is what could not be had, or not whole, and why.
	Lacks []string `json:"lacks"`
}

func (r *bundleReport) print(b *strings.Builder) {
	if r == nil {
		return
	}
	b.WriteByte('\n')
	wrap(b, "", fmt.Sprintf("%s is written. It holds %s.", r.File, strings.Join(r.Files, ", ")))
	if len(r.Lacks) > 0 {
		b.WriteString("\nnot in it, or not whole:\n")
		for _, lack := range r.Lacks {
			wrap(b, "    ", "  "+lack)
		}
	}
	b.WriteByte('\n')
	wrap(b, "", "Secrets are taken out, and no event or dead letter is in it; names, hosts and servers' words are. Look before you send it: tar -xzf "+r.File)
}

// write gathers an archive and writes it.
func (b bundleOptions) write(ctx context.Context, cfg *config.Pipeline, f *doctor.Facts, seen *check.Facts) (*bundleReport, error) {
	g := &gatherer{ctx: ctx, cfg: cfg, rows: b.rows}
	g.build()
	g.file()
	g.diagnosis(f)
	g.checks(seen)
	for i, addr := range b.addrs {
		g.process(i+1, addr)
	}
	g.server(seen)
	g.brokers()
	head := bundle.Head{Pipeline: cfg.Name, Version: version, At: time.Now()}
	mask := bundle.NewMasker(cfg.Secrets(), g.users(), g.quoted)
	bundle.Mask(g.pieces, mask)
	err := bundle.Write(b.out, head, g.pieces, mask)
	if errors.Is(err, fs.ErrExist) {
		return nil, thereAlready(b.out)
	}
	if err != nil {
		return nil, &waybill.Error{Op: "doctor.bundle", Class: waybill.ClassConfig, Err: err, Hint: "the archive is written where --bundle says; nothing was left there"}
	}
	r := &bundleReport{File: b.out, Files: []string{bundle.Manifest}, Lacks: []string{}}
	for i := range g.pieces {
		p := &g.pieces[i]
		if p.There() {
			r.Files = append(r.Files, p.Name)
		}
		for _, why := range p.Lacks {
			r.Lacks = append(r.Lacks, p.Name+": "+why)
		}
	}
	return r, nil
}

// gatherer gathers the pieces of an archive, always in the same order.
type gatherer struct {
	ctx    context.Context //nolint:containedctx // it lives for one call
	cfg    *config.Pipeline
	rows   int
	pieces []bundle.Piece
	quoted []string // what findings, dead letters and counts of drift quote of events
}

func (g *gatherer) put(name, what string, data []byte, lacks ...error) {
	p := bundle.Piece{Name: name, What: what, Data: data}
	for _, err := range lacks {
		if err != nil {
			p.Lacks = append(p.Lacks, err.Error())
		}
	}
	g.pieces = append(g.pieces, p)
}

// putJSON puts a value; what may not be had has an error instead.
func (g *gatherer) putJSON(name, what string, v any, lacks ...error) {
	var b bytes.Buffer
	if err := printJSON(&b, v); err != nil {
		g.put(name, what, nil, append(lacks, err)...)
		return
	}
	g.put(name, what, b.Bytes(), lacks...)
}

// users are names that stand before passwords.
func (g *gatherer) users() []string {
	out := []string{g.cfg.Sink.ClickHouse.User}
	if s := g.cfg.Source.Kafka.SASL; s != nil {
		out = append(out, s.User)
		if s.Credentials != nil {
			out = append(out, s.Credentials.ClientID)
		}
	}
	return out
}

func (g *gatherer) build() {
	g.putJSON("waybill.json", "which Waybill wrote this, and what it was built from", Build())
}

func (g *gatherer) file() {
	text, err := g.cfg.Masked()
	if err != nil {
		g.put("pipeline.yaml", "the pipeline file", nil, err)
		return
	}
	g.put("pipeline.yaml", "the pipeline file, without comments; secrets, and where they are kept, are ***", []byte(text))
}

// diagnosis is the doctor's report, without words that quote events and without what mutations compare rows with.
func (g *gatherer) diagnosis(f *doctor.Facts) {
	of := *f
	of.Findings, of.Tables = slices.Clone(f.Findings), slices.Clone(f.Tables)
	for i := range of.Findings {
		if k, _ := finding.Of(of.Findings[i].Kind); k.Quotes {
			g.quote(of.Findings[i].Message)
			of.Findings[i].Message = bundle.Hidden
		}
	}
	for i := range of.Tables {
		of.Tables[i].Mutations = slices.Clone(of.Tables[i].Mutations)
		for j := range of.Tables[i].Mutations {
			m := &of.Tables[i].Mutations[j]
			m.Command = bundle.Command(m.Command)
		}
	}
	r := newDoctorReport(&of)
	g.put("doctor.txt", "what `waybill doctor` says", []byte(r.text()))
	g.putJSON("doctor.json", "the same as JSON", r)
}

// quote notes a text that quotes an event, or is one's value, for it to be taken out wherever else it is. What is short would be found everywhere.
func (g *gatherer) quote(text string) {
	if len(text) >= minQuoted {
		g.quoted = append(g.quoted, text)
	}
}

const minQuoted = 6

func (g *gatherer) checks(seen *check.Facts) {
	r := &checkReport{Fixed: []fix{}, Reports: []*check.Report{check.Run(seen)}}
	if a := g.cfg.Archiver(); a != nil {
		r.Reports = append(r.Reports, look(g.ctx, a, true))
	}
	r.OK = !slices.ContainsFunc(r.Reports, func(r *check.Report) bool { return !r.OK() })
	g.putJSON("check.json", "what `waybill check -o json` says", r)
}

// process is what a running process says of itself.
func (g *gatherer) process(n int, addr string) {
	name := func(kind, ext string) string {
		if n == 1 {
			return "process/" + kind + ext
		}
		return fmt.Sprintf("process/%s-%d%s", kind, n, ext)
	}
	what := "what the process at " + addr + " says of itself (/status), of this pipeline"
	st, err := fetchStatus(g.ctx, addr)
	if err != nil {
		g.put(name("status", ".json"), what, nil, err)
		g.put(name("metrics", ".txt"), "its metrics", nil, errors.New("there is no status either"))
		return
	}
	var lacks error
	st.Pipelines = slices.DeleteFunc(st.Pipelines, func(p status.Pipeline) bool { return !slices.Contains(names(g.cfg), p.Name) })
	if len(st.Pipelines) == 0 {
		lacks = fmt.Errorf("the process at %s does not run this pipeline", addr)
	}
	if st.Files != nil { // of others nobody here knows what is secret in them
		st.Files.Problems = slices.DeleteFunc(st.Files.Problems, func(p string) bool { return !strings.Contains(p, filepath.Base(g.cfg.File)) })
	}
	for i := range st.Pipelines {
		for j := range st.Pipelines[i].Findings {
			f := &st.Pipelines[i].Findings[j]
			if k, _ := finding.Of(f.Kind); k.Quotes {
				g.quote(f.Message)
				f.Message, f.Evidence = bundle.Hidden, ""
			}
		}
	}
	g.putJSON(name("status", ".json"), what, st, lacks)
	text, err := fetchMetrics(g.ctx, addr)
	g.put(name("metrics", ".txt"), "the metrics of the same process, those of its other pipelines too", text, err)
}

func fetchMetrics(ctx context.Context, addr string) ([]byte, error) {
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(addr, "/")+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy, as in fetchStatus
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // the body has been read, or given up
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxMetricsBytes))
	if err == nil && len(text) == maxMetricsBytes {
		err = fmt.Errorf("cut after %d bytes", maxMetricsBytes)
	}
	return text, err
}

// brokers is what the brokers say.
func (g *gatherer) brokers() {
	k := g.cfg.Source.Kafka
	topics, groups := []string{k.Topic}, []string{k.Group}
	if mirror := g.cfg.DeadLetters.Mirror; mirror != "" {
		topics = append(topics, mirror)
	}
	if a := g.cfg.Archiver(); a != nil {
		groups = append(groups, a.Source.Kafka.Group)
	}
	p, err := kafka.Draw(g.ctx, engine.KafkaConfig(g.cfg, slog.New(slog.DiscardHandler)), topics, groups)
	const brokers, topic, group = "brokers, with their settings but for those that they call sensitive", "the topic: partitions, offsets, settings", "the group: members, positions with their metadata, lag"
	if err != nil {
		g.put("kafka/brokers.json", brokers, nil, err)
		g.put("kafka/topics.json", topic, nil, err)
		g.put("kafka/groups.json", group, nil, err)
		return
	}
	lacks := make([]error, len(p.Lacks))
	for i, text := range p.Lacks {
		lacks[i] = errors.New(text)
	}
	g.putJSON("kafka/brokers.json", brokers, struct {
		ClusterID string                 `json:"cluster_id"`
		Brokers   []kafka.BrokerPortrait `json:"brokers"`
	}{p.ClusterID, p.Brokers}, lacks...)
	g.putJSON("kafka/topics.json", topic, p.Topics)
	g.putJSON("kafka/groups.json", group, p.Groups)
}

// hideQuoting takes the words of findings that quote events out of rows of the journal.
func (g *gatherer) hideQuoting(row string) (string, error) {
	d := json.NewDecoder(strings.NewReader(row))
	d.UseNumber() // what does not fit a float stays as it is
	var of map[string]any
	if err := d.Decode(&of); err != nil {
		return "", err
	}
	kind, _ := of["kind"].(string)
	if k, known := finding.Of(kind); known && !k.Quotes {
		return row, nil
	}
	for _, key := range []string{"message", "evidence"} {
		if text, _ := of[key].(string); text != "" {
			g.quote(text)
			of[key] = bundle.Hidden
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(of)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// hideCommand takes out of a row of system.mutations what rows are compared with.
func hideCommand(row string) (string, error) {
	var of struct {
		Database string          `json:"database"`
		Table    string          `json:"table"`
		ID       string          `json:"mutation_id"`
		Command  string          `json:"command"`
		Created  json.RawMessage `json:"create_time"`
		Parts    json.RawMessage `json:"parts_to_do"`
		Done     json.RawMessage `json:"is_done"`
		FailedAt json.RawMessage `json:"latest_fail_time"`
		Failure  string          `json:"latest_fail_reason"`
	}
	if err := json.Unmarshal([]byte(row), &of); err != nil {
		return "", err
	}
	of.Command = bundle.Command(of.Command)
	text, err := json.Marshal(of)
	return string(text), err
}
