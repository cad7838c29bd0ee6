package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
)

// Insert is one INSERT: one native block under one token. The column list is the block's.
type Insert struct {
	Database, Table string
	Input           proto.Input // at least one column and one row; each Data.Type() is the exact type to send
	Token           waybill.Token
	// Deadline, by the server's clock: a block that the server starts to process later is refused by the server itself and
	// nothing of it lands, however long the request was on its way. Zero: none. See docs/adr/0002.
	Deadline time.Time
	// Types are the types that the table's columns must have, for the block's columns, as ColumnTypes gave them: else the server
	// refuses the block and nothing of it lands. Left to itself it casts, in silence. Empty: not checked. See docs/adr/0011.
	Types   string
	QueryID string // empty: one is drawn
}

// Outcome is what is known of an INSERT.
type Outcome uint8

const (
	// Unknown: no answer. The rows may have landed, may land later, or never.
	Unknown Outcome = iota
	// Landed: acknowledged, and no block of it was deduplicated anywhere: every row is there.
	Landed
	// Deduplicated: acknowledged, but some block was taken for one that is already there, or the server did not say, as over
	// HTTP it never does.
	Deduplicated
	// Refused: the server answered with an exception. Rows may be there all the same (table partitions commit one by one,
	// and views run after their source).
	Refused
)

var outcomeNames = [...]string{"unknown", "landed", "deduplicated", "refused"}

func (o Outcome) String() string { return outcomeNames[o] }

// Answered reports whether the server acknowledged the token: it has then landed or swallowed the rows.
func (o Outcome) Answered() bool { return o == Landed || o == Deduplicated }

// Answer is what came of an INSERT.
type Answer struct {
	Outcome Outcome
	// Duplicated: the server's counter of deduplicated blocks was above zero. A Deduplicated outcome without it means that the
	// server sent no counters.
	Duplicated bool
	Late       bool           // refused by its deadline: nothing of this request landed
	Changed    bool           // refused as the table's columns are no longer of Insert.Types: nothing of this request landed
	Fenced     bool           // refused as the table takes no rows of the block's epoch: nothing of this request landed
	Exchanged  bool           // refused as the name came to mean another table while the server worked on it: nothing of this request landed
	NotSent    bool           // no byte of the statement left: nothing can land
	Err        *waybill.Error // nil for Landed and Deduplicated
	Rows       int            // rows sent
	Parts      int64          // data parts that were written, views' included, as the server counted; 0 over HTTP
	Wall       time.Duration  // from acquiring a connection to the answer
}

// The messages mark our own throwIf. They must not occur in users' constraints and views.
const (
	lateMessage    = "waybill: deadline passed"
	changedMessage = "waybill: the table has changed"
)

// says reports whether the server refused by our throwIf with that message. The text that follows it quotes the expression, and with it
// other messages.
func says(ex *ch.Exception, message string) bool {
	return ex.Code == proto.ErrFunctionThrowIfValueIsNonZero && strings.HasPrefix(strings.TrimPrefix(ex.Message, "DB::Exception: "), message)
}

// Insert sends one block and says what the server answered. It never retries.
func (c *Client) Insert(ctx context.Context, in Insert) Answer {
	started := c.now()
	a := Answer{}
	if len(in.Input) > 0 {
		a.Rows = in.Input[0].Data.Rows()
	}
	err := c.checkInsert(in)
	if err != nil {
		a.NotSent = true
	} else {
		err = c.sendInsert(ctx, in, &a)
	}
	if err != nil {
		a.settleError(in, err)
	}
	a.Wall = c.now().Sub(started)
	return a
}

// checkInsert refuses what must never go out.
func (c *Client) checkInsert(in Insert) error {
	bug := func(err error) error {
		return &waybill.Error{Op: "clickhouse.insert", Class: waybill.ClassBug, Err: err}
	}
	if in.Token == "" {
		return bug(errors.New("an insert without a token"))
	}
	if err := checkBlock(in.Input); err != nil {
		return bug(err)
	}
	return nil
}

func (c *Client) sendInsert(ctx context.Context, in Insert, a *Answer) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.InsertTimeout)
	defer cancel()
	cn, err := c.pool.get(ctx)
	if err != nil {
		a.NotSent = true
		return err
	}
	if !in.Deadline.IsZero() {
		if err := cn.run(ctx, c.refreshClock); err != nil {
			c.pool.put(cn, false)
			a.NotSent = true
			return err
		}
	}
	var events insertEvents
	err = cn.run(ctx, func(ctx context.Context, cn *conn) error { return cn.do(ctx, c.insertRequest(in, &events)) })
	c.pool.put(cn, err == nil)
	if err != nil {
		return err
	}
	a.Outcome, a.Duplicated, a.Parts = events.outcome(), events.duplicated > 0, events.parts
	return nil
}

func (c *Client) insertRequest(in Insert, events *insertEvents) *statement {
	return &statement{
		body:    insertStatement(in),
		queryID: in.QueryID,
		input:   in.Input,
		settings: c.settings.with(
			ch.Setting{Key: "insert_deduplication_token", Value: string(in.Token), Important: true},
			// The second bound: it limits how long the server works on the block once it has it.
			ch.Setting{Key: "max_execution_time", Value: fmt.Sprintf("%.3f", c.cfg.InsertTimeout.Seconds()), Important: true},
			ch.Setting{Key: "receive_timeout", Value: fmt.Sprintf("%.3f", c.cfg.InsertTimeout.Seconds()), Important: true},
		),
		onEvents: events.add,
	}
}

// insertStatement builds the INSERT; its column list is the block's. It always goes by input(): only there is NULL for a column
// that is not Nullable its DEFAULT on both transports, and nothing is cast before the table's types are known.
func insertStatement(in Insert) string {
	names, structure := make([]string, len(in.Input)), make([]string, len(in.Input))
	for i, col := range in.Input {
		names[i] = Ident(col.Name)
		structure[i] = names[i] + " " + string(col.Data.Type())
	}
	list := strings.Join(names, ", ")
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM input(%s)%s FORMAT Native",
		Table(in.Database, in.Table), list, list, Literal(strings.Join(structure, ", ")), where(in, names))
}

// where has the server refuse a late block, and one that is not made for the table as it is now. nowInBlock64 is evaluated when the
// block is processed; now64 would be a constant of the query's analysis, before the block has arrived.
func where(in Insert, names []string) string {
	var conditions []string
	if !in.Deadline.IsZero() {
		conditions = append(conditions, fmt.Sprintf("throwIf(nowInBlock64(3) > fromUnixTimestamp64Milli(%d), %s) = 0", in.Deadline.UnixMilli(), Literal(lateMessage)))
	}
	if in.Types != "" {
		conditions = append(conditions, fmt.Sprintf("throwIf(%s != %s, %s) = 0", columnTypes(in.Database, in.Table, names), Literal(in.Types), Literal(changedMessage)))
	}
	if len(conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(conditions, " AND ")
}

// columnTypes is an expression for the types of a table's columns as the server has them now; it reads no rows. names are quoted.
func columnTypes(database, table string, names []string) string {
	return fmt.Sprintf("toTypeName((SELECT tuple(%s) FROM %s LIMIT 0))", strings.Join(names, ", "), Table(database, table))
}

// ColumnTypes are the types that a table's columns have now, in the server's spelling, for Insert.Types of a block with these columns.
func (c *Client) ColumnTypes(ctx context.Context, database, table string, columns []string) (string, error) {
	names := make([]string, len(columns))
	for i, name := range columns {
		names[i] = Ident(name)
	}
	return c.scalar(ctx, "SELECT "+columnTypes(database, table, names)+" AS v")
}

// settleError fills a from a failed insert.
func (a *Answer) settleError(in Insert, err error) {
	e := asWaybill("clickhouse.insert", err)
	e.Token = in.Token
	a.Err = e
	var notSent *notSentError
	if errors.As(err, &notSent) {
		a.NotSent = true
	}
	ex, answered := ch.AsException(err)
	if !answered || a.NotSent {
		return
	}
	a.Outcome = Refused
	a.Late, a.Changed = says(ex, lateMessage), says(ex, changedMessage)
	a.Fenced, a.Exchanged = fenced(ex), ex.Code == proto.ErrTableUUIDMismatch
}

// insertEvents are the server's own counters for one INSERT.
type insertEvents struct {
	seen       bool // any counter of the insert arrived
	duplicated int64
	parts      int64
}

func (e *insertEvents) add(batch []ch.ProfileEvent) {
	for _, ev := range batch {
		if ev.Type != proto.ProfileIncrement {
			continue
		}
		switch ev.Name {
		case "InsertedRows":
			e.seen = true
		case "DuplicatedInsertedBlocks":
			e.duplicated += ev.Value
		case "InsertedCompactParts", "InsertedWideParts":
			e.parts += ev.Value
		}
	}
}

func (e *insertEvents) outcome() Outcome {
	if e.seen && e.duplicated == 0 {
		return Landed
	}
	return Deduplicated
}
