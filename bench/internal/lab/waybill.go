package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"text/template"

	"github.com/waybill-data/waybill/bench/internal/system"
	"github.com/waybill-data/waybill/bench/internal/workload"
	"github.com/waybill-data/waybill/internal/testenv/proc"
)

var pipelineText = template.Must(template.New("pipeline").Parse(`name: {{.Name}}
source:
  kafka: {brokers: ["{{.Broker}}"], topic: {{.Topic}}}
  format: json
contract:
  columns:
{{- range .Columns}}
    {{.Name}}: {type: "{{.Type}}"{{if .Required}}, required: true{{end}}}
{{- end}}
{{- with .NewFields}}
  new_fields: {{.}}
{{- end}}
{{- with .TypeConflicts}}
  type_conflicts: {{.}}
{{- end}}
sink:
  clickhouse: {url: "clickhouse://default@{{.ClickHouse}}"{{if not .When}}, table: {{index .Tables 0}}{{end}}}
{{- with .Delivery}}
delivery: {{.}}
{{- end}}
{{- with .Filter}}
filter: '{{.}}'
{{- end}}
{{- with .When}}
routes:
  - {name: some, when: '{{.}}', table: {{index $.Tables 0}}}
  - {name: rest, table: {{index $.Tables 1}}}
{{- end}}
{{- with .Unaudited}}
audit: {continuous: false, reason: {{.}}}
{{- end}}
batch: {rows: {{.BatchRows}}, bytes: 128MiB, age: {{.BatchAge}}}
`))

// setup is what a pipeline file says beside where events come from and go to. What is empty is not in the file.
type setup struct {
	Delivery                 string
	NewFields, TypeConflicts string
	Filter                   string
	Unaudited                string // why there is no continuous audit
	When                     string // of the first of two routes; the second takes the rest
}

// pipeline fills the template.
type pipeline struct {
	setup
	Name, Broker, Topic, ClickHouse string
	Tables                          []string
	Columns                         []workload.Column
	BatchRows                       int
	BatchAge                        string
}

// startWaybill runs the binary as anyone would: one pipeline file a topic, all in one process, every option that is not in
// the file at its default but the bound of memory.
func startWaybill(s setup) func(context.Context, *job) (worker, error) {
	return func(_ context.Context, j *job) (worker, error) {
		files, err := j.pipelineFiles(s)
		if err != nil {
			return worker{}, err
		}
		port, err := proc.FreePort()
		if err != nil {
			return worker{}, err
		}
		listen := proc.Loopback(port)
		cmd := osexec.Command(j.Binary, append([]string{"run", "--listen", listen, "--log-format", "json", "--drain", "30s"}, append(j.memory(), files...)...)...)
		p, err := system.Start("waybill", cmd)
		return worker{process: p, metrics: listen}, err
	}
}

// memory bounds the worker of one pipeline by what its kind of events needs for batches of 100,000 rows; several
// pipelines get the default.
func (j *job) memory() []string {
	if len(j.topics) > 1 {
		return nil
	}
	return []string{"--memory", j.workload.Memory}
}

func (j *job) pipelineFiles(s setup) (files []string, err error) {
	each := j.tables / len(j.topics)
	for i, topic := range j.topics {
		var b bytes.Buffer
		name := fmt.Sprintf("%s-%d", j.name, i)
		p := pipeline{setup: s, Name: name, Broker: j.broker.addr, Topic: topic, ClickHouse: j.server.TCPAddr() + "/" + database,
			Columns: j.workload.Columns, BatchRows: j.BatchRows, BatchAge: j.BatchAge.String()}
		for t := range each {
			p.Tables = append(p.Tables, fmt.Sprintf("rows_%d", i*each+t))
		}
		err := pipelineText.Execute(&b, p)
		if err != nil {
			return nil, err
		}
		file := filepath.Join(j.server.dir, name+".yaml")
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

var mallocs = regexp.MustCompile(`(?m)^go_memstats_mallocs_total (\S+)$`)

// allocations is how many heap objects the worker has allocated so far, 0 if it does not tell.
func (w worker) allocations(ctx context.Context) (float64, error) {
	if w.metrics == "" {
		return 0, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.metrics+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	m := mallocs.FindSubmatch(body)
	if m == nil {
		return 0, errors.New("the worker's metrics have no go_memstats_mallocs_total")
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
