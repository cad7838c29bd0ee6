package engine

import (
	"math"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/check"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/ledger"
)

// maxRead is the largest answer of a broker that is read, as package kafka has it.
const maxRead = 100 << 20

// Demands are what a worker needs of brokers and tables.
func Demands() check.Demands {
	intents := make([]delivery.Intent, MaxInFlight)
	for i := range intents { // of the largest figures, and no two under the same plan
		intents[i] = delivery.Intent{Plan: waybill.PlanID(i), Time: math.MaxInt64 >> (i % 2), Spans: math.MaxUint16,
			Span: waybill.Span{First: math.MaxInt64 - 1, Next: math.MaxInt64}, Count: math.MaxInt64}
	}
	return check.Demands{InFlight: MaxInFlight, Metadata: len(delivery.Metadata{Epoch: math.MaxUint32, Intents: intents}.Encode()), MaxRead: maxRead, SchemaVersion: ledger.Version()}
}

// preflight refuses a table that cannot hold the guarantee that the file asks for, see check.Preflight.
func preflight(of config.Table, lineage contract.Lineage, info clickhouse.TableInfo, p policies) ([]waybill.Finding, error) {
	t := &check.Table{Table: of, Info: info, Policies: p.names, PolicyErr: p.unknown, Lineage: lineage}
	return check.Preflight(&check.Facts{Pipeline: of.Pipeline, Demands: Demands()}, t)
}

// keepsRows: engines that never drop or merge rows, so that presence is proof.
func keepsRows(engine string) bool {
	e := check.EngineOf(engine, "")
	return e.ExactlyOnce()
}
