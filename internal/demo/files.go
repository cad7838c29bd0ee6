package demo

import (
	"bytes"
	_ "embed"
	"text/template"

	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
)

// Names in the pipeline file and in table.sql.
const (
	pipelineName = "llm-calls"
	group        = "waybill-" + pipelineName
	topic        = "llm.calls"
	pipelineFile = "llm-calls.yaml"
	tableFile    = "llm_calls.sql"
)

// sessionTimeout is what pipeline.yaml says: short, so that a killed worker is soon given up, and long enough for heartbeats on
// a busy machine.
const sessionTimeout = "4s"

//go:embed table.sql
var tableText string

//go:embed pipeline.yaml
var pipelineText string

// Table is the statement that makes the target table, in a database called demo that is there already.
func Table() (string, error) {
	return fill("table.sql", tableText, struct{ Projection string }{clickhouse.ProjectionDDL(contract.DefaultLineage())})
}

// Pipeline is the demo's pipeline file for a broker and a ClickHouse (native port), both host:port.
func Pipeline(broker, clickHouse string) (string, error) {
	return fill("pipeline.yaml", pipelineText, struct{ Broker, ClickHouse, SessionTimeout string }{broker, clickHouse, sessionTimeout})
}

func fill(name, text string, data any) (string, error) {
	t, err := template.New(name).Parse(text)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = t.Execute(&b, data)
	return b.String(), err
}
