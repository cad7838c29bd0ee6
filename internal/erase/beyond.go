package erase

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/ledger"
)

// ownLineage names the columns of Waybill's own tables.
var ownLineage = contract.Lineage{Topic: "topic", Partition: "partition", Offset: "offset", Epoch: "epoch"}

// Beyond is what an erasure does not reach.
type Beyond struct {
	InTopic    int64    `json:"in_topic"`   // offsets whose records the topic may still have
	Dependents []string `json:"dependents"` // tables and views that are filled from the tables, or read them
	Detached   []string `json:"detached"`   // detached parts of the tables
	Outdated   int64    `json:"outdated"`   // parts that the server has replaced and not removed yet
	Mutations  int64    `json:"mutations"`  // of the tables, that are not done
	Backups    int64    `json:"backups"`    // that the server remembers to have made
}

// beyond looks what an erasure does not reach.
func (j *Job) beyond(ctx context.Context, places []*place, f *Found) (b Beyond, err error) {
	b.Dependents, b.Detached = []string{}, []string{}
	info, err := j.Source.Describe(ctx)
	if err != nil {
		return b, err
	}
	all := delivery.RowSet{}
	for _, rows := range f.offsets {
		all = all.Union(rows)
	}
	for _, p := range info.Partitions {
		for _, sp := range all[j.in(p.Partition)].Spans() {
			b.InTopic += max(0, sp.Next-max(sp.First, p.LogStart))
		}
	}
	for _, p := range places {
		if err := j.beyondTable(ctx, p, &b); err != nil {
			return b, err
		}
	}
	if err := j.beyondViews(ctx, &b); err != nil {
		return b, err
	}
	slices.Sort(b.Dependents)
	b.Dependents = slices.Compact(b.Dependents)
	// A server without that table keeps no such memory.
	there, err := j.number(ctx, "SELECT count() FROM system.tables WHERE database = 'system' AND name = 'backups'")
	if err == nil && there > 0 {
		b.Backups, err = j.number(ctx, "SELECT count() FROM system.backups WHERE status = 'BACKUP_CREATED'")
	}
	return b, err
}

// beyondViews names the tables that backfills have made of what views fill, and those that they keep to be brought back: nothing else names them.
func (j *Job) beyondViews(ctx context.Context, b *Beyond) error {
	jobs, err := j.store.Jobs(ctx, j.cfg.Name)
	if err != nil {
		return err
	}
	for i := range jobs {
		for k, v := range jobs[i].Rebuilt {
			err := j.client.Texts(ctx, fmt.Sprintf("SELECT name AS waybill_t FROM system.tables WHERE database = %s AND match(name, %s) ORDER BY 1", clickhouse.Literal(jobs[i].Database), clickhouse.Literal(jobs[i].RebuiltPattern(k))),
				[]string{"waybill_t"}, func(row []string) error {
					b.Dependents = append(b.Dependents, fmt.Sprintf("table %s.%s, of what view %s.%s fills, which a backfill keeps: `waybill backfill cleanup` drops it", jobs[i].Database, row[0], v.Database, v.Name))
					return nil
				})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (j *Job) beyondTable(ctx context.Context, p *place, b *Beyond) (err error) {
	for _, v := range p.info.Views {
		b.Dependents = append(b.Dependents, fmt.Sprintf("materialized view %s.%s, into %s.%s", v.Database, v.View, v.Target.Database, v.Target.Table))
	}
	names := []string{p.database + "." + p.table, clickhouse.Table(p.database, p.table)}
	var mentions []string
	for _, n := range names {
		mentions = append(mentions, fmt.Sprintf("position(create_table_query, %s) > 0", clickhouse.Literal(n)))
	}
	err = j.client.Texts(ctx, fmt.Sprintf("SELECT concat(engine, ' ', database, '.', name) AS waybill_t FROM system.tables WHERE (%s) AND NOT (database = %s AND name = %s) AND engine != 'MaterializedView' ORDER BY 1",
		strings.Join(mentions, " OR "), clickhouse.Literal(p.database), clickhouse.Literal(p.table)), []string{"waybill_t"}, func(row []string) error {
		b.Dependents = append(b.Dependents, row[0])
		return nil
	})
	if err != nil {
		return err
	}
	of := fmt.Sprintf("database = %s AND table = %s", clickhouse.Literal(p.database), clickhouse.Literal(p.table))
	err = j.client.Texts(ctx, "SELECT concat(database, '.', table, ': ', name) AS waybill_t FROM system.detached_parts WHERE "+of+" ORDER BY 1", []string{"waybill_t"}, func(row []string) error {
		b.Detached = append(b.Detached, row[0])
		return nil
	})
	if err != nil {
		return err
	}
	outdated, err := j.number(ctx, "SELECT count() FROM system.parts WHERE NOT active AND "+of)
	if err != nil {
		return err
	}
	mutations, err := j.number(ctx, "SELECT count() FROM system.mutations WHERE NOT is_done AND NOT is_killed AND "+of)
	b.Outdated += outdated
	b.Mutations += mutations
	return err
}

// Check is what is left after an erasure. All of it should be nothing.
type Check struct {
	Rows        int64            `json:"rows"`        // that meet the condition
	Masked      int64            `json:"masked"`      // that meet it, were deleted, and are still in parts
	Foreign     int64            `json:"foreign"`     // that meet it, and did not come from the topic
	Letters     int64            `json:"letters"`     // dead letters
	Archived    int64            `json:"archived"`    // records in the archive
	Drift       int64            `json:"drift"`       // sample values
	Findings    int64            `json:"findings"`    // whose words hold one of the texts: they are not changed
	Unsettled   int64            `json:"unsettled"`   // records that were left because their batch has not settled
	Contents    int64            `json:"contents"`    // long values that no row refers to, and that were stored too lately to be removed
	Coordinates int64            `json:"coordinates"` // of erased offsets, by coordinate, wherever they are
	Projections map[string]int64 `json:"projections"` // rows of erased offsets in projections, by name
	Unread      []string         `json:"unread"`      // projections without the columns to tell by; the server makes them anew with the rows
	Beyond      Beyond           `json:"beyond"`
}

// Clean reports whether nothing is left that is in reach.
func (c *Check) Clean() bool {
	n := c.Rows + c.Masked + c.Foreign + c.Letters + c.Archived + c.Drift + c.Findings + c.Unsettled + c.Contents + c.Coordinates + c.Beyond.Mutations
	for _, some := range c.Projections {
		n += some
	}
	return n == 0
}

// Check looks again, with the condition, and for all offsets that this pipeline has ever erased.
func (j *Job) Check(ctx context.Context, o Options) (*Check, error) {
	f, err := j.Find(ctx, o)
	if err != nil {
		return nil, err
	}
	c := &Check{Letters: f.Letters, Archived: f.Archived, Drift: f.Drift, Findings: f.Findings, Unsettled: f.Unsettled, Beyond: f.Beyond, Projections: map[string]int64{}, Unread: []string{}}
	for i := range f.Tables {
		c.Rows += f.Tables[i].Rows
		c.Masked += f.Tables[i].Masked
		c.Foreign += f.Tables[i].Foreign
	}
	swept, err := j.sweep(ctx, false)
	if err != nil {
		return nil, err
	}
	c.Contents = swept.Values + swept.Young
	places, err := j.places(ctx)
	if err != nil {
		return nil, err
	}
	erased := fmt.Sprintf("(SELECT topic, epoch, partition, arrayJoin(range(first, next)) FROM %s WHERE %s AND outcome = '%s')", j.own(ledger.TableAmendments), j.scope(), ledger.FateErased)
	for _, p := range places {
		l := p.lineage
		epoch := "toUInt32(0)"
		if l.Epoch != "" {
			epoch = clickhouse.Ident(l.Epoch)
		}
		key := fmt.Sprintf("(toString(%s), toUInt32(%s), toInt32(%s), toInt64(%s))", clickhouse.Ident(l.Topic), epoch, clickhouse.Ident(l.Partition), clickhouse.Ident(l.Offset))
		n, err := j.number(ctx, "SELECT count() FROM "+p.sql()+" WHERE "+key+" IN "+erased)
		if err != nil {
			return nil, err
		}
		c.Coordinates += n
		if err := j.projections(ctx, p, key, erased, c); err != nil {
			return nil, err
		}
	}
	n, err := j.number(ctx, "SELECT count() FROM "+j.own(ledger.TableDeadLetters)+" WHERE pipeline = "+clickhouse.Literal(j.cfg.Name)+" AND (toString(topic), epoch, partition, offset) IN "+erased)
	c.Coordinates += n
	return c, err
}

// projections looks into the table's projections that hold rows of their own.
func (j *Job) projections(ctx context.Context, p *place, key, erased string, c *Check) error {
	var normal []string
	err := j.client.Texts(ctx, fmt.Sprintf("SELECT name AS waybill_t FROM system.projections WHERE database = %s AND table = %s AND type = 'Normal' ORDER BY 1", clickhouse.Literal(p.database), clickhouse.Literal(p.table)),
		[]string{"waybill_t"}, func(row []string) error {
			normal = append(normal, row[0])
			return nil
		})
	if err != nil {
		return err
	}
	for _, name := range normal {
		n, err := j.number(ctx, fmt.Sprintf("SELECT count() FROM mergeTreeProjection(%s, %s, %s) WHERE %s IN %s", clickhouse.Literal(p.database), clickhouse.Literal(p.table), clickhouse.Literal(name), key, erased))
		if err != nil && (waybill.ClassOf(err).Heals() || ctx.Err() != nil) {
			return err
		}
		if err != nil {
			c.Unread = append(c.Unread, p.name()+" "+name)
			continue
		}
		c.Projections[p.name()+" "+name] = n
	}
	// The offsets' own projection is read by the question which of them are there.
	return nil
}
