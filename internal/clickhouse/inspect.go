package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
)

// Veto is a setting that Waybill gives with its statements and that this user may not give.
type Veto struct {
	Setting, Value string
	Read           bool // with SELECTs; else with INSERTs
	Message        string
}

// Inspect is Open for whoever wants to know all that is wrong: a user whose profile forbids settings is connected all the same, without
// them. The client reads; it is not for INSERTs that must hold anything.
func Inspect(ctx context.Context, cfg Config, deps Deps) (*Client, []Veto, error) {
	c := newClient(cfg, deps)
	err := c.start(ctx)
	if err == nil {
		return c, nil, nil
	}
	if !vetoed(err) {
		c.Close()
		return nil, nil, err
	}
	vetoes, err := c.findVetoes(ctx)
	if err == nil {
		err = c.MeasureClock(ctx)
	}
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, vetoes, nil
}

// vetoed: a profile's constraint, or its readonly, is why.
func vetoed(err error) bool {
	var e *waybill.Error
	return errors.As(err, &e) && (e.Code == int(proto.ErrReadonly) || e.Code == int(errSettingConstraint))
}

// findVetoes tries each setting on its own, and leaves out those that are refused.
func (c *Client) findVetoes(ctx context.Context) (vetoes []Veto, err error) {
	c.reads, c.settings = nil, nil
	for _, s := range readSettings {
		ok, err := c.mayGive(ctx, s, &vetoes, true)
		if err != nil {
			return nil, err
		}
		if ok {
			c.reads = append(c.reads, s)
		}
	}
	for _, p := range insertPins {
		if slices.ContainsFunc(readSettings, func(s ch.Setting) bool { return s.Key == p.name && s.Value == p.value }) {
			continue
		}
		s := ch.Setting{Key: p.name, Value: p.value, Important: true}
		ok, err := c.mayGive(ctx, s, &vetoes, false)
		if err != nil && !p.optional {
			return nil, err
		}
		if ok {
			c.settings = append(c.settings, s)
		}
	}
	return vetoes, nil
}

func (c *Client) mayGive(ctx context.Context, s ch.Setting, vetoes *[]Veto, read bool) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	err := c.withConn(ctx, "clickhouse.open", func(ctx context.Context, cn *conn) error {
		v := new(proto.ColUInt8)
		return cn.do(ctx, &statement{body: "SELECT 1 AS v", settings: []ch.Setting{s}, result: proto.Results{{Name: "v", Data: v}}, onRows: func(int) error { return nil }})
	})
	if err == nil {
		return true, nil
	}
	if !vetoed(err) {
		return false, err
	}
	var e *waybill.Error
	errors.As(err, &e)
	*vetoes = append(*vetoes, Veto{s.Key, s.Value, read, e.Err.Error()})
	return false, nil
}

// Granted reports whether the user has a right, spelt as in GRANT: "INSERT ON db.t".
func (c *Client) Granted(ctx context.Context, right string) (bool, error) {
	var granted proto.ColUInt8
	ok := false
	err := c.query(ctx, "clickhouse.grants", "CHECK GRANT "+right, proto.Results{{Name: "result", Data: &granted}}, func(int) error {
		ok = granted.Row(0) != 0
		return nil
	})
	return ok, err
}

// CurrentUser is who the server takes this client for.
func (c *Client) CurrentUser(ctx context.Context) (string, error) {
	return c.scalar(ctx, "SELECT currentUser() AS v")
}

// SettingValue is a setting as it is for this user; empty if the server does not know it.
func (c *Client) SettingValue(ctx context.Context, name string) (string, error) {
	return c.scalar(ctx, "SELECT value AS v FROM system.settings WHERE name = "+Literal(name))
}

// DatabaseExists reports whether there is a database that this user may see.
func (c *Client) DatabaseExists(ctx context.Context, name string) (bool, error) {
	n, err := c.scalar(ctx, "SELECT toString(count()) AS v FROM system.databases WHERE name = "+Literal(name))
	return n == "1", err
}

// TablesOf are the names of a database's tables that this user may see.
func (c *Client) TablesOf(ctx context.Context, database string) (names []string, err error) {
	err = c.Texts(ctx, "SELECT name FROM system.tables WHERE database = "+Literal(database)+" ORDER BY name LIMIT 10000", []string{"name"}, func(row []string) error {
		names = append(names, row[0])
		return nil
	})
	return names, err
}

// Disk is where a table's parts may be.
type Disk struct {
	Name        string
	Free, Total int64 // bytes; what the server keeps free is not counted as free
}

// Disks of the server. Those without an end, such as object storage, are left out.
func (c *Client) Disks(ctx context.Context) (disks []Disk, err error) {
	err = c.Texts(ctx, "SELECT name, toString(free_space - least(free_space, keep_free_space)) AS free, toString(total_space) AS total FROM system.disks WHERE total_space < 9e18 ORDER BY name",
		[]string{"name", "free", "total"}, func(row []string) error {
			free, _ := strconv.ParseInt(row[1], 10, 64) // what the server writes for a number is one
			total, _ := strconv.ParseInt(row[2], 10, 64)
			disks = append(disks, Disk{row[0], free, total})
			return nil
		})
	return disks, err
}

// TableState is what of a table does not matter to delivery, but to those who prepare it.
type TableState struct {
	// DeleteMode is what a lightweight DELETE does with projections: throw, drop or rebuild. Empty for engines without.
	DeleteMode string
	// Partitions are how many table partitions there are now.
	Partitions int64
	// BusiestInsert is the most table partitions that one INSERT of the last day fell into; 0: not known.
	BusiestInsert int64
	TTL           string // of rows, as the table says; empty: none
	// ReadOnly: it is a replica that takes no rows now.
	ReadOnly bool
	// WindowUsed are the block ids that came into the window within the last hour; -1: not known.
	WindowUsed int64
}

// TableState reads it. What the user may not see stays unknown.
func (c *Client) TableState(ctx context.Context, database, table string, info TableInfo) (TableState, error) {
	s := TableState{WindowUsed: -1}
	if !info.MergeTree {
		return s, nil
	}
	s.DeleteMode = info.Settings["lightweight_mutation_projection_mode"]
	var err error
	if s.DeleteMode == "" {
		if s.DeleteMode, err = c.scalar(ctx, "SELECT value AS v FROM system.merge_tree_settings WHERE name = 'lightweight_mutation_projection_mode'"); err != nil {
			return s, err
		}
	}
	if _, ttl, ok := strings.Cut(info.EngineFull, " TTL "); ok {
		s.TTL, _, _ = strings.Cut(ttl, " SETTINGS ")
	}
	of := fmt.Sprintf("database = %s AND table = %s", Literal(database), Literal(table))
	if s.Partitions, err = c.count(ctx, "SELECT toString(uniqExact(partition_id)) AS v FROM system.parts WHERE active AND "+of); err != nil {
		return s, err
	}
	busiest := "SELECT toString(max(n)) AS v FROM (SELECT uniqExact(partition_id) AS n FROM system.part_log WHERE event_type = 'NewPart' AND error = 0 AND event_date >= today() - 1 AND " + of + " GROUP BY query_id)"
	if s.BusiestInsert, err = c.count(ctx, busiest); err != nil {
		if waybill.ClassOf(err).Heals() {
			return s, err
		}
		s.BusiestInsert = 0 // no part log, or no right to it
	}
	if s.WindowUsed, _, err = c.WindowUse(ctx, database, table, time.Hour); err != nil {
		return s, err
	}
	if _, s.ReadOnly, _, err = c.ReplicaDelay(ctx, database, table); err != nil && waybill.ClassOf(err).Heals() {
		return s, err
	}
	return s, nil
}

func (c *Client) count(ctx context.Context, sql string) (int64, error) {
	text, err := c.scalar(ctx, sql)
	if err != nil || text == "" {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}
