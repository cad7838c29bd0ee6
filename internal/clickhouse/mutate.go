package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

// Mutation is an ALTER TABLE that rewrites parts.
type Mutation struct {
	Database, Table string
	Command         string // what follows the table's name
	// Mark is a text in the command by which it is found again, with all that do the same.
	Mark string
}

// Mutate has the server carry out a mutation, and waits for it, however long it takes. If one with the same mark is under way, that is waited
// for, and no other is begun: look, and try again. One that the server cannot carry out is taken back: it would block all that follow.
func (c *Client) Mutate(ctx context.Context, m Mutation) error {
	if under, err := c.settleMutations(ctx, m); under || err != nil {
		return err
	}
	if err := c.alter(ctx, fmt.Sprintf("ALTER TABLE %s %s", Table(m.Database, m.Table), m.Command)); err != nil {
		return err
	}
	_, err := c.settleMutations(ctx, m)
	return err
}

// alterSettings go with mutations. The server looks up what a condition asks for when it carries the mutation out.
var alterSettings = []ch.Setting{
	{Key: "mutations_sync", Value: "0"},
	{Key: "mutations_execute_subqueries_on_initiator", Value: "0"},
	{Key: "max_query_size", Value: "16777216"}, // many offsets in one statement
	{Key: "max_ast_elements", Value: "1000000"},
	{Key: "max_expanded_ast_elements", Value: "1000000"},
	{Key: "log_comment", Value: "waybill"},
}

func (c *Client) alter(ctx context.Context, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.QueryTimeout)
	defer cancel()
	return c.withConn(ctx, "clickhouse.alter", func(ctx context.Context, cn *conn) error {
		return cn.do(ctx, &statement{body: sql, settings: alterSettings})
	})
}

// settleMutations waits until none of the mark is under way; under: there was one.
func (c *Client) settleMutations(ctx context.Context, m Mutation) (under bool, err error) {
	ours := fmt.Sprintf("database = %s AND table = %s AND position(command, %s) > 0", Literal(m.Database), Literal(m.Table), Literal(m.Mark))
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		left, failed := 0, ""
		err := c.Texts(ctx, "SELECT latest_fail_reason AS w FROM system.mutations WHERE NOT is_done AND NOT is_killed AND "+ours, []string{"w"}, func(row []string) error {
			left++
			failed += row[0]
			return nil
		})
		switch {
		case err != nil || left == 0:
			return under, err
		case failed != "":
			return true, c.takeBack(ctx, m, ours, failed)
		}
		under = true
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return under, ctx.Err()
		case <-t.C:
		}
	}
}

func (c *Client) takeBack(ctx context.Context, m Mutation, ours, why string) error {
	columns := []string{"kill_status", "database", "table", "mutation_id", "command"}
	if err := c.Texts(ctx, "KILL MUTATION WHERE "+ours+" SYNC", columns, func([]string) error { return nil }); err != nil {
		return err
	}
	return &waybill.Error{Op: "clickhouse.mutate", Class: waybill.ClassConfig, Err: fmt.Errorf("the server could not change the rows of %s.%s: %s", m.Database, m.Table, why),
		Hint: "the mutation was taken back; run it again once that is mended"}
}

// fewRanges is up to how many runs of offsets in a partition are asked for as ranges; beyond that short ones are listed.
const fewRanges = 16

// AtOffsets is an SQL condition for the rows of some offsets.
func AtOffsets[M ~map[waybill.TopicPartition]waybill.OffsetSet](l contract.Lineage, offsets M) string {
	byTopic := map[string][]string{}
	for _, tp := range slices.SortedFunc(maps.Keys(offsets), waybill.TopicPartition.Compare) {
		if set := offsets[tp]; !set.Empty() {
			byTopic[tp.Topic] = append(byTopic[tp.Topic], fmt.Sprintf("%s = %d AND (%s)", Ident(l.Partition), tp.Partition, inOffsets(Ident(l.Offset), set)))
		}
	}
	if len(byTopic) == 0 {
		return "0"
	}
	var out []string
	for _, topic := range slices.Sorted(maps.Keys(byTopic)) {
		out = append(out, fmt.Sprintf("%s = %s AND (%s)", Ident(l.Topic), Literal(topic), strings.Join(byTopic[topic], " OR ")))
	}
	return "(" + strings.Join(out, " OR ") + ")"
}

// inOffsets is a condition for a column of offsets.
func inOffsets(column string, set waybill.OffsetSet) string {
	var ranges, single []string
	spans := set.Spans()
	for _, sp := range spans {
		if len(spans) > fewRanges && sp.Len() <= fewRanges {
			for o := sp.First; o < sp.Next; o++ {
				single = append(single, fmt.Sprint(o))
			}
			continue
		}
		ranges = append(ranges, fmt.Sprintf("%s BETWEEN %d AND %d", column, sp.First, sp.Next-1))
	}
	if len(single) > 0 {
		ranges = append(ranges, fmt.Sprintf("%s IN (%s)", column, strings.Join(single, ", ")))
	}
	return strings.Join(ranges, " OR ")
}
