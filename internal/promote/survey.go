package promote

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
)

// place is which record a row came from.
type place struct {
	topic     string
	partition int32
	offset    int64
	epoch     waybill.Epoch
}

// Survey is what the rescue column holds at a path.
type Survey struct {
	Rows    int64    `json:"rows"`    // with a value at the path
	Misfits int64    `json:"misfits"` // of those: with a value that the column does not take
	Samples []Misfit `json:"samples,omitempty"`
}

// Misfit is a value that stays in the rescue column.
type Misfit struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Text      string `json:"text"` // cut
	Why       string `json:"why"`
}

// maxSamples is how many misfits are shown.
const maxSamples = 5

func (s *Survey) misfit(at place, text []byte, why string) {
	s.Misfits++
	if len(s.Samples) < maxSamples {
		s.Samples = append(s.Samples, Misfit{at.topic, at.partition, at.offset, string(text[:min(len(text), contract.SampleBytes)]), why})
	}
}

// source reads the rows whose rescue column holds something at a path.
type source struct {
	client  *clickhouse.Client
	table   contract.TableSchema
	lineage contract.Lineage
	rescue  string // column
	paths   []prefix
	limit   int // how long the text of a value may be; 0: any length
}

// aliases of what is selected. The server takes an alias for a column of that name, in conditions too: none may be a name that a field
// has.
var aliases = []string{"waybill_1", "waybill_2", "waybill_3", "waybill_4", "waybill_5"}

// keys are the lineage columns that are there, quoted.
func (s *source) keys() []string {
	names := []string{s.lineage.Topic, s.lineage.Partition, s.lineage.Offset}
	if s.lineage.Epoch != "" {
		names = append(names, s.lineage.Epoch)
	}
	for i, n := range names {
		names[i] = clickhouse.Ident(n)
	}
	return names
}

// epoch is the expression of a row's epoch.
func (s *source) epoch() string {
	if s.lineage.Epoch == "" {
		return "0"
	}
	return clickhouse.Ident(s.lineage.Epoch)
}

// holds is the condition for rows that may hold the path: all keys that lead to it begin like this.
func (s *source) holds() string {
	first := s.paths[len(s.paths)-1].key
	quoted := jsonQuoted(first)
	return fmt.Sprintf("position(ifNull(toString(%s), ''), %s) > 0", clickhouse.Ident(s.rescue), clickhouse.Literal(strings.TrimSuffix(quoted, `"`)))
}

// rows calls each for the rows under a condition, in order of their key if limit is not 0.
func (s *source) rows(ctx context.Context, condition string, limit int, each func(place, string) error) error {
	k := s.keys()
	sql := fmt.Sprintf("SELECT toString(%s) AS waybill_1, toString(%s) AS waybill_2, toString(%s) AS waybill_3, toString(%s) AS waybill_4, ifNull(toString(%s), '') AS waybill_5 FROM %s WHERE %s",
		k[0], k[1], k[2], s.epoch(), clickhouse.Ident(s.rescue), clickhouse.Table(s.table.Database, s.table.Table), condition)
	if limit > 0 {
		sql += fmt.Sprintf(" ORDER BY %s LIMIT %d", strings.Join(k, ", "), limit)
	}
	return s.client.Texts(ctx, sql, aliases, func(row []string) error {
		at, err := parsePlace(row)
		if err != nil {
			return err
		}
		return each(at, row[4])
	})
}

func parsePlace(row []string) (place, error) {
	partition, err := strconv.ParseInt(row[1], 10, 32)
	if err != nil {
		return place{}, err
	}
	offset, err := strconv.ParseInt(row[2], 10, 64)
	if err != nil {
		return place{}, err
	}
	epoch, err := strconv.ParseUint(row[3], 10, 32)
	return place{row[0], int32(partition), offset, waybill.Epoch(epoch)}, err
}

// observe looks at all values at the path.
func (s *source) observe(ctx context.Context) (rows int64, seen contract.Observed, err error) {
	f := newFinder(s.paths)
	err = s.rows(ctx, s.holds(), 0, func(_ place, column string) error {
		text, has, readable := f.find(column)
		if has {
			rows++
		}
		if readable {
			seen.Add(text)
		}
		return nil
	})
	return rows, seen, err
}

// check sees which values the column takes.
func (s *source) check(ctx context.Context, col contract.Column) (Survey, error) {
	var out Survey
	m, err := newMaker(col, s.lineage, s.table)
	if err != nil {
		return out, err
	}
	m.limit = s.limit
	f := newFinder(s.paths)
	err = s.rows(ctx, s.holds(), 0, func(at place, column string) error {
		m.block.Reset()
		out.take(m, at, column, f)
		return nil
	})
	return out, err
}

// take adds one row: to the maker's block if its value fits.
func (s *Survey) take(m *maker, at place, column string, f *finder) {
	text, has, readable := f.find(column)
	if !has {
		return
	}
	s.Rows++
	if !readable {
		s.misfit(at, []byte(column), "it cannot be told what the event said")
		return
	}
	if err := m.add(at, text); err != nil {
		s.misfit(at, text, err.Error())
	}
}
