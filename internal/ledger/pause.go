package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/uuid"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
)

// Pause is what a person has said of a pipeline last.
type Pause struct {
	Paused   bool
	Who, Why string
	At       time.Time
}

// SetPause pauses a pipeline, or resumes it. It may be called again.
func (s *Store) SetPause(ctx context.Context, pipeline string, p Pause) error {
	name, at := lowCardinality(), microsColumn()
	who, why := new(proto.ColStr), new(proto.ColStr)
	name.Append(pipeline)
	at.Append(s.ch.ServerNow(time.Now()))
	who.Append(p.Who)
	why.Append(p.Why)
	a := s.ch.Insert(ctx, clickhouse.Insert{Database: s.db, Table: TablePauses, Token: waybill.Token("pause-" + uuid.NewString()), Input: proto.Input{
		{Name: "pipeline", Data: name}, {Name: "at", Data: at}, {Name: "paused", Data: proto.ColBool{p.Paused}}, {Name: "who", Data: who}, {Name: "why", Data: why},
	}})
	if a.Err != nil {
		return a.Err
	}
	return nil
}

// PauseOf is what was said of a pipeline last; the zero value: nothing was. Every worker asks once a second, see HeldBy.
func (s *Store) PauseOf(ctx context.Context, pipeline string) (p Pause, err error) {
	var paused proto.ColBool
	var who, why proto.ColStr
	at := microsColumn()
	err = s.ch.Query(ctx, fmt.Sprintf("SELECT paused AS p, who AS w, why AS y, at AS a FROM %s WHERE pipeline = %s ORDER BY at DESC, paused LIMIT 1 SETTINGS max_threads = 1",
		s.table(TablePauses), clickhouse.Literal(pipeline)),
		proto.Results{{Name: "p", Data: &paused}, {Name: "w", Data: &who}, {Name: "y", Data: &why}, {Name: "a", Data: at}}, func(rows int) error {
			if rows > 0 {
				p = Pause{paused.Row(0), who.Row(0), why.Row(0), at.Row(0)}
			}
			return nil
		})
	return p, renamed("ledger.pauses", err)
}

// Group is the consumer group that a pipeline's workers join; "": none is on record.
func (s *Store) Group(ctx context.Context, pipeline string) (group string, err error) {
	var of proto.ColStr
	err = s.ch.Query(ctx, fmt.Sprintf("SELECT group AS g FROM %s WHERE pipeline = %s ORDER BY at DESC, group LIMIT 1 SETTINGS max_threads = 1", s.table(TableGroups), clickhouse.Literal(pipeline)),
		proto.Results{{Name: "g", Data: &of}}, func(rows int) error {
			if rows > 0 {
				group = of.Row(0)
			}
			return nil
		})
	return group, renamed("ledger.groups", err)
}

// SetGroup puts a pipeline's consumer group on record.
func (s *Store) SetGroup(ctx context.Context, pipeline, group string) error {
	name, at := lowCardinality(), microsColumn()
	of := new(proto.ColStr)
	name.Append(pipeline)
	at.Append(s.ch.ServerNow(time.Now()))
	of.Append(group)
	a := s.ch.Insert(ctx, clickhouse.Insert{Database: s.db, Table: TableGroups, Token: waybill.Token("group-" + uuid.NewString()), Input: proto.Input{
		{Name: "pipeline", Data: name}, {Name: "at", Data: at}, {Name: "group", Data: of},
	}})
	if a.Err != nil {
		return a.Err
	}
	return nil
}
