package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
)

// Plan is a plan on record: what rows that name it meant, and what it was compiled from. Pipelines with the same contract for
// the same table share an id, and have a row each.
type Plan struct {
	ID              waybill.PlanID
	Pipeline        string
	Database, Table string
	Decoder         uint16
	Text            string // canonical, see contract.ParsePlan
	Contract        string // JSON: the contract (see ContractText)
	Schema          string // JSON: the table as it was then (see SchemaText)
	FirstSeen       time.Time
}

// PlanOf puts a plan together with what it was compiled from.
func PlanOf(pipeline string, p *contract.Plan, c contract.Contract, t contract.TableSchema, now time.Time) Plan {
	return Plan{
		ID: p.ID(), Pipeline: pipeline, Database: p.Database(), Table: p.Table(), Decoder: p.DecoderVersion(),
		Text: string(p.Canonical()), Contract: ContractText(c), Schema: SchemaText(t), FirstSeen: now,
	}
}

// RoutesOf is a plan of several tables. What each was compiled from is on record with the plan of its route.
func RoutesOf(pipeline string, p *contract.Plan, now time.Time) Plan {
	return Plan{ID: p.ID(), Pipeline: pipeline, Decoder: p.DecoderVersion(), Text: string(p.Canonical()), FirstSeen: now}
}

// Token is the same for all workers that put this plan on record.
func (p Plan) Token() waybill.Token { return waybill.Token("plan-" + p.ID.String() + "-" + p.Pipeline) }

// PlanBlock encodes one plan for an INSERT into TablePlans.
func PlanBlock(p Plan) proto.Input {
	pipeline, database, table, at := lowCardinality(), lowCardinality(), lowCardinality(), millisColumn()
	text, contractText, schema := new(proto.ColStr), new(proto.ColStr), new(proto.ColStr)
	pipeline.Append(p.Pipeline)
	database.Append(p.Database)
	table.Append(p.Table)
	text.Append(p.Text)
	contractText.Append(p.Contract)
	schema.Append(p.Schema)
	at.Append(p.FirstSeen)
	return proto.Input{
		{Name: "id", Data: proto.ColUInt64{uint64(p.ID)}}, {Name: "pipeline", Data: pipeline}, {Name: "database", Data: database},
		{Name: "table", Data: table}, {Name: "decoder", Data: proto.ColUInt16{p.Decoder}}, {Name: "text", Data: text},
		{Name: "contract", Data: contractText}, {Name: "schema", Data: schema}, {Name: "first_seen", Data: at},
	}
}

// OwnPlans are those of a pipeline's plans that are not on record as a route of another alone. A plan that cannot be read any more
// has no routes.
func OwnPlans(plans []Plan) []Plan {
	routes := map[waybill.PlanID]bool{}
	for _, p := range plans {
		if plan, err := contract.ParsePlan([]byte(p.Text)); err == nil && plan.Routed() {
			for _, r := range plan.Routes() {
				routes[r.Plan.ID()] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(plans), func(p Plan) bool { return routes[p.ID] })
}

// Plan is a plan on record, as a pipeline first put it there; an empty pipeline means any. found is false if there is none.
func (s *Store) Plan(ctx context.Context, pipeline string, id waybill.PlanID) (p Plan, found bool, err error) {
	where := fmt.Sprintf("id = %d", uint64(id))
	if pipeline != "" {
		where += " AND pipeline = " + clickhouse.Literal(pipeline)
	}
	list, err := s.plans(ctx, where+" ORDER BY first_seen LIMIT 1")
	if err != nil || len(list) == 0 {
		return Plan{}, false, err
	}
	return list[0], true, nil
}

// Plans are all plans that a pipeline has put on record, each once, in the order in which it did.
func (s *Store) Plans(ctx context.Context, pipeline string) ([]Plan, error) {
	return s.plans(ctx, "pipeline = "+clickhouse.Literal(pipeline)+" ORDER BY first_seen, id LIMIT 1 BY id")
}

func (s *Store) plans(ctx context.Context, where string) ([]Plan, error) {
	var out []Plan
	var id proto.ColUInt64
	var decoder proto.ColUInt16
	var pipeline, database, table, text, contractText, schema proto.ColStr
	at := millisColumn()
	// The table's name is not in sight of the columns' aliases: LowCardinality is read as String.
	err := s.ch.Query(ctx, fmt.Sprintf(
		"SELECT id, pipeline AS l, database AS d, table AS t, decoder, text, contract, schema, first_seen FROM %s WHERE %s", s.table(TablePlans), where),
		proto.Results{
			{Name: "id", Data: &id}, {Name: "l", Data: &pipeline}, {Name: "d", Data: &database}, {Name: "t", Data: &table},
			{Name: "decoder", Data: &decoder}, {Name: "text", Data: &text}, {Name: "contract", Data: &contractText},
			{Name: "schema", Data: &schema}, {Name: "first_seen", Data: at},
		}, func(rows int) error {
			for i := range rows {
				out = append(out, Plan{
					ID: waybill.PlanID(id.Row(i)), Pipeline: pipeline.Row(i), Database: database.Row(i), Table: table.Row(i),
					Decoder: decoder.Row(i), Text: text.Row(i), Contract: contractText.Row(i), Schema: schema.Row(i), FirstSeen: at.Row(i),
				})
			}
			return nil
		})
	return out, renamed("ledger.plans", err)
}

// PlanUse is the first offset of a partition that a plan accounts for, and how much it does.
type PlanUse struct {
	Plan waybill.PlanID
	waybill.TopicPartition
	First int64
	Time  time.Time // of the batch, by the server's clock; of a row that was rolled up, of its last batch
	// Read and Written are records. A row that was rolled up counts with its highest plan, so they are exact for eight days.
	Read, Written int64
}

// PlanUses says which plans wrote a pipeline's records from which offset on, in order of plan and partition. First is exact
// however old the rows are.
func (s *Store) PlanUses(ctx context.Context, pipeline string, epoch waybill.Epoch) ([]PlanUse, error) {
	var out []PlanUse
	var plan proto.ColUInt64
	var topic proto.ColStr
	var partition proto.ColInt32
	var first, read, written proto.ColInt64
	at := millisColumn()
	err := s.ch.Query(ctx, fmt.Sprintf(`
SELECT firsts.1 AS l, topic AS t, partition AS p, min(firsts.2) AS f, argMin(batch_time, firsts.2) AS at,
       sumIf(read, l = plan) AS r, sumIf(written, l = plan) AS w
FROM (SELECT *, arrayJoin(plan_firsts) AS firsts FROM %s WHERE %s)
GROUP BY l, t, p ORDER BY l, t, p`, s.table(TableLedger), scope(pipeline, epoch)),
		proto.Results{
			{Name: "l", Data: &plan}, {Name: "t", Data: &topic}, {Name: "p", Data: &partition}, {Name: "f", Data: &first},
			{Name: "at", Data: at}, {Name: "r", Data: &read}, {Name: "w", Data: &written},
		}, func(rows int) error {
			for i := range rows {
				out = append(out, PlanUse{
					Plan: waybill.PlanID(plan.Row(i)), TopicPartition: waybill.TopicPartition{Topic: topic.Row(i), Partition: partition.Row(i)},
					First: first.Row(i), Time: at.Row(i), Read: read.Row(i), Written: written.Row(i),
				})
			}
			return nil
		})
	return out, renamed("ledger.plans", err)
}

// SchemaColumn is one column in a plan's Schema.
type SchemaColumn struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	DefaultKind string `json:"default_kind,omitempty"`
	DefaultExpr string `json:"default_expr,omitempty"`
	Comment     string `json:"comment,omitempty"`
	InKey       bool   `json:"in_key,omitempty"`
}

// SchemaText is a table's columns as JSON.
func SchemaText(t contract.TableSchema) string {
	columns := make([]SchemaColumn, len(t.Columns))
	for i, c := range t.Columns {
		columns[i] = SchemaColumn(c)
	}
	return text(columns)
}

// ParseSchema reads SchemaText; a plan that is older than that text has none.
func ParseSchema(schema string) ([]SchemaColumn, error) {
	if schema == "" {
		return nil, nil
	}
	var columns []SchemaColumn
	if err := json.Unmarshal([]byte(schema), &columns); err != nil {
		return nil, &waybill.Error{Op: "ledger.plans", Class: waybill.ClassConfig, Hint: "look for damage in waybill.plans", Err: err}
	}
	return columns, nil
}

// contractText is a contract as it is put on record. Policies that the file does not give are left out: the plan has what
// they came to.
type contractText struct {
	NewFields     contract.Modes      `json:"new_fields"`
	TypeConflicts contract.Modes      `json:"type_conflicts"`
	Tables        contract.Mode       `json:"tables,omitempty"`
	MaxColumns    int                 `json:"max_columns,omitempty"`
	RescueColumn  string              `json:"rescue_column,omitempty"`
	EventTime     string              `json:"event_time,omitempty"`
	Transform     *contract.Transform `json:"transform,omitempty"`
	Columns       []contractColumn    `json:"columns"`
}

type contractColumn struct {
	Name      string          `json:"name"`
	Type      string          `json:"type"`
	From      string          `json:"from,omitempty"`
	Kafka     string          `json:"kafka,omitempty"`
	Value     *string         `json:"value,omitempty"`
	Expr      string          `json:"expr,omitempty"`
	As        string          `json:"as,omitempty"`
	Format    string          `json:"format,omitempty"`
	Zone      string          `json:"zone,omitempty"`
	Length    int             `json:"length,omitempty"`
	Required  bool            `json:"required,omitempty"`
	Default   *string         `json:"default,omitempty"`
	OnMissing contract.Policy `json:"on_missing,omitempty"`
	OnNull    contract.Policy `json:"on_null,omitempty"`
	OnInvalid contract.Policy `json:"on_invalid,omitempty"`
}

// ContractText is a contract as JSON.
func ContractText(c contract.Contract) string {
	t := contractText{
		NewFields: c.NewFields, TypeConflicts: c.TypeConflicts, Tables: c.Tables, MaxColumns: c.MaxColumns, RescueColumn: c.RescueColumn, EventTime: c.EventTime,
		Columns: make([]contractColumn, len(c.Columns)),
	}
	if tr := c.Transform; tr.Version != nil || tr.Redact != nil || tr.Filter != "" {
		t.Transform = &tr
	}
	for i, col := range c.Columns {
		t.Columns[i] = contractColumn{
			col.Name, col.Type, col.From, col.Kafka, col.Value, col.Expr, col.As, col.Format, col.Zone, col.Length, col.Required,
			col.Default, col.OnMissing, col.OnNull, col.OnInvalid,
		}
	}
	return text(t)
}

// text is v as JSON on one line. The types above have nothing that encoding could fail on.
func text(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
