package erase

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/ledger"
	"github.com/waybill-data/waybill/internal/objects"
)

// Options say whose records are to be erased.
type Options struct {
	// Where is a condition in SQL for rows of the tables.
	Where string
	// Match are texts: rows whose rescue column holds one of them, and dead letters whose key, value or headers do.
	Match []string
	// Key is a Kafka record's key: the topic is read for records with it.
	Key string
	// Keep: the condition is kept on record in plain words. It may name the subject.
	Keep bool
	Why  string
}

// text is the condition as it is hashed, or kept.
func (o *Options) text() string {
	var out []string
	if o.Where != "" {
		out = append(out, "where "+o.Where)
	}
	if o.Key != "" {
		out = append(out, "key "+o.Key)
	}
	for _, m := range o.Match {
		out = append(out, "match "+m)
	}
	return strings.Join(out, "\n")
}

// InTable is what one table holds of the subject.
type InTable struct {
	Table   string   `json:"table"`
	Rows    int64    `json:"rows"`    // that meet the condition
	Masked  int64    `json:"masked"`  // that meet it, were deleted before, and are still in the table's parts
	Foreign int64    `json:"foreign"` // that meet it, and did not come from the pipeline's topic
	Samples []string `json:"samples"`
}

// Found is what there is of the subject.
type Found struct {
	Pipeline  string    `json:"pipeline"`
	Topic     string    `json:"topic"`
	Tables    []InTable `json:"tables"`
	Letters   int64     `json:"dead_letters"`
	Archived  int64     `json:"archived"`      // records in the pipeline's archive that hold one of the texts, or have the key
	Drift     int64     `json:"drift_samples"` // sample values of unknown fields that hold one of the texts
	Findings  int64     `json:"findings"`      // whose words hold one of them
	Records   int64     `json:"records"`       // offsets, of all of the above
	Unsettled int64     `json:"unsettled"`     // of those: their batch may still be carried out again, so they are not erased yet
	Beyond    Beyond    `json:"beyond"`

	offsets map[waybill.Epoch]delivery.RowSet // settled
}

// place is a table that may hold rows of the subject.
type place struct {
	database, table string
	lineage         contract.Lineage
	rescue          string // its rescue column; empty: it has none
	info            clickhouse.TableInfo
}

func (p *place) name() string { return p.database + "." + p.table }

func (p *place) sql() string { return clickhouse.Table(p.database, p.table) }

// places are the pipeline's tables, and those that were or will be in their place: a backfill keeps what it has replaced for a while.
func (j *Job) places(ctx context.Context) ([]*place, error) {
	var out []*place
	known := map[string]bool{}
	for _, of := range j.cfg.Tables() {
		c := of.Sink.ClickHouse
		p, err := j.place(ctx, &of, c.Database, c.Table)
		if err != nil {
			return nil, err
		}
		known[p.info.UUID] = true
		out = append(out, p)
	}
	generations, err := j.store.Generations(ctx, j.cfg.Name)
	if err != nil {
		return nil, err
	}
	var ids []string
	for i := range generations {
		if id := generations[i].Table; !known[id] {
			known[id] = true
			ids = append(ids, clickhouse.Literal(id))
		}
	}
	if len(ids) == 0 {
		return out, nil
	}
	var names [][2]string
	err = j.client.Texts(ctx, "SELECT database AS waybill_d, name AS waybill_t FROM system.tables WHERE toString(uuid) IN ("+strings.Join(ids, ", ")+") ORDER BY 1, 2", []string{"waybill_d", "waybill_t"}, func(row []string) error {
		names = append(names, [2]string{row[0], row[1]})
		return nil
	})
	if err != nil {
		return nil, err
	}
	first := j.cfg.Tables()[0]
	for _, name := range names {
		p, err := j.place(ctx, &first, name[0], name[1])
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// place is a table, as the pipeline's file describes such.
func (j *Job) place(ctx context.Context, of *config.Table, database, table string) (*place, error) {
	schema, info, err := j.client.Describe(ctx, database, table, of.Sink.ClickHouse.Lineage)
	if err != nil {
		return nil, err
	}
	p := &place{database: database, table: table, lineage: of.Sink.ClickHouse.Lineage.In(schema), info: info}
	if p.lineage.Topic == "" || p.lineage.Partition == "" || p.lineage.Offset == "" {
		return nil, &waybill.Error{Op: "erase", Pipeline: j.cfg.Name, Class: waybill.ClassConfig, Err: fmt.Errorf("table %s has no columns that say which record a row came from", p.name()),
			Hint: "delete its rows by hand: what else holds their records cannot be told"}
	}
	name := cmp.Or(of.Contract.RescueColumn, contract.DefaultRescueColumn)
	if slices.ContainsFunc(schema.Columns, func(c contract.TableColumn) bool { return c.Name == name }) {
		p.rescue = name
	}
	return p, nil
}

// quietly keeps the condition out of the server's log of queries: it may name the subject.
const quietly = " SETTINGS log_queries = 0"

// everything also reads rows that were deleted by a lightweight DELETE and are still in the parts.
const everything = quietly + ", apply_deleted_mask = 0"

// condition is that for the subject's rows.
func (p *place) condition(o *Options) string {
	some := []string{}
	if o.Where != "" {
		some = append(some, "("+o.Where+"\n)")
	}
	if p.rescue != "" {
		for _, m := range o.Match {
			some = append(some, fmt.Sprintf("position(ifNull(toString(%s), ''), %s) > 0", clickhouse.Ident(p.rescue), clickhouse.Literal(m)))
		}
	}
	if len(some) == 0 {
		return "0"
	}
	return "(" + strings.Join(some, " OR ") + ")"
}

// Find looks what there is of the subject. It changes nothing.
func (j *Job) Find(ctx context.Context, o Options) (*Found, error) {
	f := &Found{Pipeline: j.cfg.Name, Topic: j.cfg.Source.Kafka.Topic, Tables: []InTable{}, offsets: map[waybill.Epoch]delivery.RowSet{}}
	places, err := j.places(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		if err := j.inTable(ctx, f, p, &o); err != nil {
			return nil, err
		}
	}
	if err := j.inOwn(ctx, f, &o); err != nil {
		return nil, err
	}
	if err := j.byKey(ctx, f, o.Key); err != nil {
		return nil, err
	}
	if err := j.settle(ctx, f); err != nil {
		return nil, err
	}
	f.Beyond, err = j.beyond(ctx, places, f)
	return f, err
}

// samples is how many rows are shown.
const samples = 3

// inTable finds the subject's rows in a table.
func (j *Job) inTable(ctx context.Context, f *Found, p *place, o *Options) error {
	out := InTable{Table: p.name(), Samples: []string{}}
	condition, ours := p.condition(o), fmt.Sprintf("%s = %s", clickhouse.Ident(p.lineage.Topic), clickhouse.Literal(f.Topic))
	live, err := j.coordinates(ctx, p, condition+" AND "+ours+quietly)
	if err != nil {
		return err
	}
	if out.Rows, err = j.number(ctx, "SELECT count() FROM "+p.sql()+" WHERE "+condition+" AND "+ours+quietly); err != nil {
		return err
	}
	if out.Foreign, err = j.number(ctx, "SELECT count() FROM "+p.sql()+" WHERE "+condition+" AND NOT "+ours+quietly); err != nil {
		return err
	}
	all, err := j.number(ctx, "SELECT count() FROM "+p.sql()+" WHERE "+condition+" AND "+ours+everything)
	if err != nil {
		return err
	}
	if out.Masked = all - out.Rows; out.Masked > 0 {
		// Somebody has deleted them already. Nothing may bring their records back, unless they have another row now, which does not meet the condition.
		masked, err := j.coordinates(ctx, p, condition+" AND "+ours+everything)
		if err != nil {
			return err
		}
		for epoch, rows := range masked {
			there, err := j.client.Present(ctx, p.presence(epoch, rows))
			if err != nil {
				return err
			}
			live[epoch] = live[epoch].Union(rows.Minus(there))
		}
	}
	for epoch, rows := range live {
		f.offsets[epoch] = f.offsets[epoch].Union(rows)
	}
	err = j.client.Texts(ctx, fmt.Sprintf("SELECT formatRowNoNewline('JSONEachRow', *) AS waybill_row FROM %s WHERE %s AND %s LIMIT %d%s", p.sql(), condition, ours, samples, quietly), []string{"waybill_row"}, func(row []string) error {
		out.Samples = append(out.Samples, row[0])
		return nil
	})
	f.Tables = append(f.Tables, out)
	return err
}

func (p *place) presence(epoch waybill.Epoch, rows delivery.RowSet) clickhouse.Presence {
	out := clickhouse.Presence{Database: p.database, Table: p.table, Lineage: p.lineage, Epoch: epoch, HasProjection: p.info.OffsetProjection, Replicated: p.info.Replicated}
	for tp, set := range rows {
		for _, sp := range set.Spans() {
			out.Spans = append(out.Spans, clickhouse.PartitionSpan{TopicPartition: tp, Span: sp})
		}
	}
	return out
}

// coordinates are which records the rows of a table came from.
func (j *Job) coordinates(ctx context.Context, p *place, where string) (map[waybill.Epoch]delivery.RowSet, error) {
	epoch := "''"
	if p.lineage.Epoch != "" {
		epoch = fmt.Sprintf("toString(%s)", clickhouse.Ident(p.lineage.Epoch))
	}
	return j.positions(ctx, fmt.Sprintf("SELECT DISTINCT %s AS waybill_e, toString(%s) AS waybill_p, toString(%s) AS waybill_o FROM %s WHERE %s", epoch, clickhouse.Ident(p.lineage.Partition),
		clickhouse.Ident(p.lineage.Offset), p.sql(), where))
}

func (j *Job) positions(ctx context.Context, sql string) (map[waybill.Epoch]delivery.RowSet, error) {
	out := map[waybill.Epoch]delivery.RowSet{}
	offsets := map[waybill.Epoch]map[int32][]int64{}
	err := j.client.Texts(ctx, sql, []string{"waybill_e", "waybill_p", "waybill_o"}, func(row []string) error {
		epoch := j.cfg.Epoch
		if row[0] != "" {
			n, err := strconv.ParseUint(row[0], 10, 32)
			if err != nil {
				return err
			}
			epoch = waybill.Epoch(n)
		}
		p, perr := strconv.ParseInt(row[1], 10, 32)
		o, oerr := strconv.ParseInt(row[2], 10, 64)
		if perr != nil || oerr != nil {
			return fmt.Errorf("a row of partition %q, offset %q", row[1], row[2])
		}
		if offsets[epoch] == nil {
			offsets[epoch] = map[int32][]int64{}
		}
		offsets[epoch][int32(p)] = append(offsets[epoch][int32(p)], o)
		return nil
	})
	for epoch, by := range offsets {
		out[epoch] = delivery.RowSet{}
		for p, list := range by {
			slices.Sort(list)
			out[epoch][j.in(p)] = waybill.OffsetsOf(list...)
		}
	}
	return out, err
}

func (j *Job) in(p int32) waybill.TopicPartition {
	return waybill.TopicPartition{Topic: j.cfg.Source.Kafka.Topic, Partition: p}
}

// number is the one that a query answers with.
func (j *Job) number(ctx context.Context, sql string) (n int64, err error) {
	// The query is an expression of another: its settings hold for the whole.
	inner, settings, _ := strings.Cut(sql, " SETTINGS ")
	if settings != "" {
		settings = " SETTINGS " + settings
	}
	err = j.client.Texts(ctx, "SELECT toString(assumeNotNull(("+inner+"))) AS waybill_n"+settings, []string{"waybill_n"}, func(row []string) error {
		n, err = strconv.ParseInt(row[0], 10, 64)
		return err
	})
	return n, err
}

// holding is a condition for columns of texts that hold one of the texts.
func holding(match []string, columns ...string) string {
	some := []string{"0"}
	for _, m := range match {
		for _, c := range columns {
			some = append(some, fmt.Sprintf("position(%s, %s) > 0", c, clickhouse.Literal(m)))
		}
	}
	return "(" + strings.Join(some, " OR ") + ")"
}

// letters is the condition for dead letters of the subject.
func (j *Job) letters(o *Options) string {
	match := holding(o.Match, "ifNull(value, '')", "ifNull(key, '')", "arrayStringConcat(header_values, '\\n')", "message")
	if o.Key != "" {
		match = "(" + match + " OR ifNull(key, '') = " + clickhouse.Literal(o.Key) + ")"
	}
	return j.scope() + " AND " + match
}

func (j *Job) scope() string {
	return fmt.Sprintf("pipeline = %s AND topic = %s", clickhouse.Literal(j.cfg.Name), clickhouse.Literal(j.cfg.Source.Kafka.Topic))
}

func (j *Job) own(table string) string { return clickhouse.Table(j.store.Database(), table) }

// inOwn finds the subject in Waybill's own tables.
func (j *Job) inOwn(ctx context.Context, f *Found, o *Options) (err error) {
	letters, err := j.positions(ctx, "SELECT DISTINCT toString(epoch) AS waybill_e, toString(partition) AS waybill_p, toString(offset) AS waybill_o FROM "+j.own(ledger.TableDeadLetters)+" WHERE "+j.letters(o)+quietly)
	if err != nil {
		return err
	}
	for epoch, rows := range letters {
		f.Letters += rows.Len()
		f.offsets[epoch] = f.offsets[epoch].Union(rows)
	}
	if err := j.inArchive(ctx, f, o); err != nil {
		return err
	}
	if f.Drift, err = j.number(ctx, "SELECT count() FROM "+j.own(ledger.TableDrift)+" WHERE "+j.drift(o)+quietly); err != nil {
		return err
	}
	f.Findings, err = j.number(ctx, "SELECT count() FROM "+j.own(ledger.TableFindings)+" WHERE "+j.findings(o)+quietly)
	return err
}

// inArchive finds the subject's records in the pipeline's archive.
func (j *Job) inArchive(ctx context.Context, f *Found, o *Options) error {
	if of := j.cfg.Archiver(); of != nil && of.Sink.Objects != nil {
		return j.inObjects(ctx, f, o, of)
	}
	table, where, ok := j.archived(o)
	if !ok {
		return nil
	}
	l := j.cfg.Archiver().Sink.ClickHouse.Lineage
	found, err := j.positions(ctx, fmt.Sprintf("SELECT DISTINCT '' AS waybill_e, toString(%s) AS waybill_p, toString(%s) AS waybill_o FROM %s WHERE %s%s", clickhouse.Ident(l.Partition), clickhouse.Ident(l.Offset), table, where, quietly))
	for epoch, rows := range found {
		f.Archived += rows.Len()
		f.offsets[epoch] = f.offsets[epoch].Union(rows)
	}
	return err
}

// inObjects is inArchive for an archive of objects, all of which are read.
func (j *Job) inObjects(ctx context.Context, f *Found, o *Options, of *config.Pipeline) error {
	if len(o.Match) == 0 && o.Key == "" {
		return nil
	}
	s, err := engine.OpenObjects(of)
	if err != nil {
		return err
	}
	topic := j.cfg.Source.Kafka.Topic
	return s.List(ctx, "topic="+topic+"/", "", func(e objects.Entry) error {
		records, _, err := s.Records(ctx, e.Name)
		if err != nil {
			return err
		}
		rows := delivery.RowSet{}
		for i := range records {
			if o.holds(&records[i]) {
				set := rows[j.in(e.Partition)]
				set.Add(records[i].Offset)
				rows[j.in(e.Partition)] = set
			}
		}
		f.Archived += rows.Len()
		f.offsets[j.cfg.Epoch] = f.offsets[j.cfg.Epoch].Union(rows)
		return nil
	})
}

// holds: the record is the subject's, by its key or by one of the texts in it.
func (o *Options) holds(r *waybill.Record) bool {
	if o.Key != "" && string(r.Key) == o.Key {
		return true
	}
	return slices.ContainsFunc(o.Match, func(m string) bool {
		return bytes.Contains(r.Value, []byte(m)) || bytes.Contains(r.Key, []byte(m)) || slices.ContainsFunc(r.Headers, func(h waybill.Header) bool { return bytes.Contains(h.Value, []byte(m)) })
	})
}

// archived is where records of the subject are in the archive; ok is false if there is none.
func (j *Job) archived(o *Options) (table, where string, ok bool) {
	of := j.cfg.Archiver()
	if of == nil || len(o.Match) == 0 && o.Key == "" {
		return "", "", false
	}
	c := of.Sink.ClickHouse
	match := holding(o.Match, "ifNull(value, '')", "ifNull(key, '')", "arrayStringConcat(arrayMap(v -> ifNull(v, ''), header_values), '\\n')")
	if o.Key != "" {
		match = "(" + match + " OR ifNull(key, '') = " + clickhouse.Literal(o.Key) + ")"
	}
	return clickhouse.Table(c.Database, c.Table), fmt.Sprintf("%s = %s AND %s", clickhouse.Ident(c.Lineage.Topic), clickhouse.Literal(j.cfg.Source.Kafka.Topic), match), true
}

func (j *Job) drift(o *Options) string {
	return fmt.Sprintf("pipeline = %s AND %s", clickhouse.Literal(j.cfg.Name), holding(o.Match, "sample"))
}

func (j *Job) findings(o *Options) string {
	return fmt.Sprintf("pipeline = %s AND %s", clickhouse.Literal(j.cfg.Name), holding(o.Match, "message", "evidence", "subject"))
}

// byKey reads the topic for records with a key, as far as the pipeline has accounted for it.
func (j *Job) byKey(ctx context.Context, f *Found, key string) error {
	if key == "" {
		return nil
	}
	spans, err := j.accountedFor(ctx, f.Topic)
	if err != nil {
		return err
	}
	rows := delivery.RowSet{}
	for p, span := range spans {
		set := rows[j.in(p)]
		_, err := j.Source.ReadSpan(ctx, j.in(p), span, func(rec *waybill.Record) error {
			if !rec.Control && rec.Key != nil && string(rec.Key) == key {
				set.Add(rec.Offset)
			}
			return nil
		})
		if err != nil {
			return err
		}
		rows[j.in(p)] = set
	}
	f.offsets[j.cfg.Epoch] = f.offsets[j.cfg.Epoch].Union(rows)
	return nil
}

// accountedFor is what has been read of the topic, by partition: under the epoch of the table, or under one before of which it has rows.
func (j *Job) accountedFor(ctx context.Context, topic string) (map[int32]waybill.Span, error) {
	origins, err := j.store.Origins(ctx, j.cfg.Name, j.cfg.Epoch, topic)
	if err != nil {
		return nil, err
	}
	out := map[int32]waybill.Span{}
	for i := range origins {
		tips, err := j.store.Tips(ctx, j.cfg.Name, origins[i].Epoch, topic)
		if err != nil {
			return nil, err
		}
		for p, tip := range tips {
			span, some := out[p]
			if !some {
				span = waybill.Span{First: tip.First, Next: tip.Next}
			}
			out[p] = waybill.Span{First: min(span.First, tip.First), Next: max(span.Next, tip.Next)}
		}
	}
	return out, nil
}

// settle takes out what a worker may still carry out again, and adds the other epochs that account for the same records.
func (j *Job) settle(ctx context.Context, f *Found) error {
	committed, err := j.Source.Committed(ctx)
	if err != nil {
		return err
	}
	all, settled := delivery.RowSet{}, map[waybill.Epoch]delivery.RowSet{}
	for epoch, rows := range f.offsets {
		siblings, err := j.siblings(ctx, epoch)
		if err != nil {
			return err
		}
		all = all.Union(rows)
		for _, e := range siblings {
			done, err := j.accounted(ctx, e, rows, committed)
			if err != nil {
				return err
			}
			settled[e] = settled[e].Union(done)
		}
	}
	f.Records = all.Len()
	left := all
	for _, rows := range settled {
		left = left.Minus(rows)
	}
	f.Unsettled = left.Len()
	f.offsets = settled
	return nil
}

// accounted is which of some offsets an epoch's ledger accounts for, and no worker may carry out again.
func (j *Job) accounted(ctx context.Context, epoch waybill.Epoch, rows delivery.RowSet, committed map[int32]int64) (delivery.RowSet, error) {
	tips, err := j.store.Tips(ctx, j.cfg.Name, epoch, j.cfg.Source.Kafka.Topic)
	if err != nil {
		return nil, err
	}
	out := delivery.RowSet{}
	for tp, set := range rows {
		tip, ok := tips[tp.Partition]
		if !ok {
			continue
		}
		covered := waybill.OffsetsIn(append([]waybill.Span{{First: tip.First, Next: tip.Next}}, tip.Beyond...)...)
		if at, known := committed[tp.Partition]; known && at >= 0 && epoch == j.cfg.Epoch {
			covered = covered.Within(waybill.Span{First: 0, Next: at})
		}
		if in := set.Intersect(covered); !in.Empty() {
			out[tp] = in
		}
	}
	return out, nil
}

// siblings are the epochs under which an offset is the same record as under this one: the topic has not been created again.
func (j *Job) siblings(ctx context.Context, epoch waybill.Epoch) ([]waybill.Epoch, error) {
	seen, err := j.store.Pipelines(ctx, j.cfg.Name)
	if err != nil {
		return nil, err
	}
	ids := map[waybill.Epoch]uuid.UUID{}
	for i := range seen {
		if s := &seen[i]; s.Topic == j.cfg.Source.Kafka.Topic {
			if _, known := ids[s.Epoch]; !known {
				ids[s.Epoch] = s.TopicID
			}
		}
	}
	out := []waybill.Epoch{epoch}
	for e, id := range ids {
		if own, known := ids[epoch]; e != epoch && known && id == own {
			out = append(out, e)
		}
	}
	slices.Sort(out)
	return out, nil
}
