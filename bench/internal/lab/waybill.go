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
sink:
  clickhouse: {url: "clickhouse://default@{{.ClickHouse}}", table: {{.Table}}}
delivery: {{.Delivery}}
batch: {rows: {{.BatchRows}}, bytes: 128MiB, age: {{.BatchAge}}}
`))

// pipeline fills the template.
type pipeline struct {
	Name, Broker, Topic, ClickHouse, Table, Delivery string
	Columns                                          []workload.Column
	BatchRows                                        int
	BatchAge                                         string
}

// startWaybill runs the binary as anyone would: one pipeline file a topic, all in one process, every option that is not in
// the file at its default but the bound of memory.
func startWaybill(delivery string) func(context.Context, *job) (worker, error) {
	return func(_ context.Context, j *job) (worker, error) {
		files, err := j.pipelineFiles(delivery)
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

func (j *job) pipelineFiles(delivery string) (files []string, err error) {
	for i, topic := range j.topics {
		var b bytes.Buffer
		name := fmt.Sprintf("%s-%d", j.name, i)
		err := pipelineText.Execute(&b, pipeline{Name: name, Broker: j.broker.addr, Topic: topic, ClickHouse: j.server.TCPAddr() + "/" + database,
			Table: fmt.Sprintf("rows_%d", i), Delivery: delivery, Columns: j.workload.Columns, BatchRows: j.BatchRows, BatchAge: j.BatchAge.String()})
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
