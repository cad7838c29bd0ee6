// Package adopt compares what another consumer has put into a table with what is in its topic, by columns that the user says tell rows apart, and finds where a
// pipeline has to begin so that nothing is lost and nothing is repeated.
package adopt

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/engine"
	"github.com/waybill-data/waybill/internal/trial"
)

// Count says how many rows of the table have each of the keys, which hold the text of a value for each column.
type Count func(ctx context.Context, keys [][]string) ([]int64, error)

// maxShown bounds examples.
const maxShown = 5

// Example is an event about which topic and table disagree.
type Example struct {
	Key       string `json:"key"` // of its columns, as JSON
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Events    int64  `json:"events"` // with that key, in what was read
	Rows      int64  `json:"rows"`   // with that key, in the table
}

// Agreement is how far topic and table agree about the events before a group's position.
type Agreement struct {
	Events int64 `json:"events"` // that were compared
	Keys   int64 `json:"keys"`   // different ones
	// Missing are events without a row, Fewer those whose key has fewer rows than events were read, More rows beyond the events that were read.
	Missing int64 `json:"missing"`
	Fewer   int64 `json:"fewer"`
	More    int64 `json:"more"`
	// NoRow are records that would be no rows here, either, NoKey events in which a key column is NULL.
	NoRow    int64     `json:"no_row"`
	NoKey    int64     `json:"no_key"`
	Examples []Example `json:"examples"`
}

// Exact: nothing is missing and nothing is there too often.
func (a *Agreement) Exact() bool { return a.Missing+a.Fewer+a.More == 0 }

// Start is where a partition has to begin.
type Start struct {
	Partition int32 `json:"partition"`
	Position  int64 `json:"position"` // of the group
	// Offset is the first one from the position on whose event has no row.
	Offset int64 `json:"offset"`
	// Repeated are events after Offset that have rows already. Their rows would be there twice.
	Repeated int64 `json:"repeated"`
	// Unread: the reading ended where events still had rows, so that more may.
	Unread bool `json:"unread,omitempty"`
}

// Comparer takes records, those before the group's position and those after it.
type Comparer struct {
	trial     *trial.Trial
	columns   []int // of the plan
	positions map[int32]int64
	keys      [][]string
	index     map[string]int // of keys, by their text
	events    []int64        // before the position, by key
	later     []int64        // from the position on, by key
	first     []Example      // by key
	after     map[int32][]event
	out       Agreement
}

type event struct {
	offset int64
	key    int // -1: it is no row, or has no key
}

// New is a Comparer by columns of a plan without routes. Positions are the group's. An event whose value does not fit a key column should be a dead letter
// under the plan: then it is no row here.
func New(plan *contract.Plan, columns []string, positions map[int32]int64) (*Comparer, error) {
	c := &Comparer{positions: positions, index: map[string]int{}, after: map[int32][]event{}}
	for _, name := range columns {
		i := slices.IndexFunc(plan.Columns(), func(col contract.PlanColumn) bool { return col.Name == name && !col.Lineage })
		if i < 0 {
			return nil, fmt.Errorf("no field of the events goes into column %s", name)
		}
		c.columns = append(c.columns, i)
	}
	t, err := trial.New(plan, nil, 0)
	if err != nil {
		return nil, err
	}
	c.trial = t
	return c, nil
}

// Take takes a record. Records of a partition come in order.
func (c *Comparer) Take(r *waybill.Record) {
	position, has := c.positions[r.Partition]
	if !has {
		return
	}
	before := r.Offset < position
	key, row := c.key(r)
	switch {
	case !before:
		n := -1
		if key != nil {
			n = c.number(key, r)
			c.later[n]++
		}
		c.after[r.Partition] = append(c.after[r.Partition], event{r.Offset, n})
	case !row:
		c.out.NoRow++
	case key == nil:
		c.out.NoKey++
	default:
		c.out.Events++
		c.events[c.number(key, r)]++
	}
}

// key is nil if the record is no row, or has NULL in a key column.
func (c *Comparer) key(r *waybill.Record) (key []string, row bool) {
	if c.trial.Take(r).Fate != engine.FateRow {
		return nil, false
	}
	block := c.trial.Blocks()[0]
	for _, i := range c.columns {
		value := block.Columns[i].AppendValue(nil, 0)
		if string(value) == "null" {
			return nil, true
		}
		text := string(value)
		if value[0] == '"' {
			if json.Unmarshal(value, &text) != nil {
				return nil, true
			}
		}
		key = append(key, text)
	}
	return key, true
}

func (c *Comparer) number(key []string, r *waybill.Record) int {
	text, _ := json.Marshal(key) //nolint:errchkjson // strings
	if n, known := c.index[string(text)]; known {
		return n
	}
	n := len(c.keys)
	c.index[string(text)] = n
	c.keys, c.events, c.later = append(c.keys, key), append(c.events, 0), append(c.later, 0)
	c.first = append(c.first, Example{Key: strings.Trim(string(text), "[]"), Partition: r.Partition, Offset: r.Offset})
	return n
}

// Compare asks the table, and says where topic and table disagree and where each partition has to begin.
func (c *Comparer) Compare(ctx context.Context, count Count) (*Agreement, []Start, error) {
	rows, err := count(ctx, c.keys)
	if err != nil {
		return nil, nil, err
	}
	out := c.out
	out.Examples = []Example{}
	for n, events := range c.events {
		if events == 0 {
			continue
		}
		out.Keys++
		switch {
		case rows[n] == 0:
			out.Missing += events
		case rows[n] < events:
			out.Fewer += events - rows[n]
		case rows[n] > events+c.later[n]:
			out.More += rows[n] - events - c.later[n]
		default:
			continue
		}
		if len(out.Examples) < maxShown {
			e := c.first[n]
			e.Events, e.Rows = events, rows[n]
			out.Examples = append(out.Examples, e)
		}
	}
	return &out, c.starts(rows), nil
}

func (c *Comparer) starts(rows []int64) (out []Start) {
	for p, position := range c.positions {
		s := Start{Partition: p, Position: position, Offset: position}
		open := true // every event so far has a row
		for _, e := range c.after[p] {
			has := e.key >= 0 && rows[e.key] > c.events[e.key] // rows of earlier events with that key say nothing of this one
			switch {
			case open && has:
				s.Offset = e.offset + 1
			case open && e.key >= 0:
				open = false
			case has:
				s.Repeated++
			}
		}
		s.Unread = open && s.Offset > position
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Start) int { return int(a.Partition - b.Partition) })
	return out
}
