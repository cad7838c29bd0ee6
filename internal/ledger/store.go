// Package ledger keeps the account of every record: rows, laws, and the other tables of Waybill's own database.
//
// A row of the ledger says what became of the records in one span of one partition. Rows of one (pipeline, epoch, topic,
// partition) tile the offset line (law L1, continuity) and add up (law L2, conservation); [Store.Laws] checks both. Rows older
// than a week are rolled up by the server into longer ones on which the same checks hold.
package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
)

// Store reads and migrates Waybill's database. Rows are written by package delivery's procedure, as blocks built here.
type Store struct {
	ch      *clickhouse.Client
	db      string
	cluster string // that the tables are made and changed on, where they are replicated; empty: one server
}

// New makes a store over the given database; empty means DefaultDatabase.
func New(ch *clickhouse.Client, database string) *Store {
	if database == "" {
		database = DefaultDatabase
	}
	return &Store{ch: ch, db: database}
}

// OnCluster has Migrate make the tables replicas of each other on the servers of a cluster; empty: on one server. What is there already stays
// as it is, on one server if that is where it is.
func (s *Store) OnCluster(name string) *Store {
	s.cluster = name
	return s
}

// Database is the name of Waybill's database.
func (s *Store) Database() string { return s.db }

// Migrate creates what is missing and brings the schema to this binary's version. It may be run by several workers at once
// and again at any time. A schema that is newer than this binary is a config error.
func (s *Store) Migrate(ctx context.Context, now time.Time) error {
	cluster, err := s.clusterOf(ctx)
	if err != nil {
		return err
	}
	if err := s.ch.Exec(ctx, onCluster("CREATE DATABASE IF NOT EXISTS "+clickhouse.Ident(s.db)+" ENGINE = Atomic", cluster)); err != nil {
		return err
	}
	have, err := s.Version(ctx)
	if err != nil {
		return err
	}
	if have > Version() {
		return s.newer(ctx, have)
	}
	for _, m := range migrations {
		if m.version <= have {
			continue
		}
		if err := s.apply(ctx, m, cluster, now); err != nil {
			return err
		}
	}
	return nil
}

// newer is what is wrong with a schema that is newer than this binary; nil if its migrations say that this binary may go on.
func (s *Store) newer(ctx context.Context, have uint32) error {
	var least proto.ColUInt32
	oldest := uint32(0)
	err := s.ch.Query(ctx, fmt.Sprintf("SELECT max(if(oldest = 0, version, oldest)) AS o FROM %s WHERE version > %d", s.table(TableMeta), Version()),
		proto.Results{{Name: "o", Data: &least}}, func(int) error {
			oldest = least.Row(0)
			return nil
		})
	if err != nil || oldest <= Version() {
		return renamed("ledger.migrate", err)
	}
	return &waybill.Error{
		Op: "ledger.migrate", Class: waybill.ClassConfig, Hint: "a newer Waybill has run here: run that version, or a newer one, everywhere; nothing was changed",
		Err: fmt.Errorf("database %s has schema version %d, which takes a binary of version %d or newer; this one knows %d", s.db, have, oldest, Version()),
	}
}

// clusterOf is the cluster that the tables are on, or are to be.
func (s *Store) clusterOf(ctx context.Context) (string, error) {
	if s.cluster == "" {
		return "", nil
	}
	var engine proto.ColStr
	cluster := s.cluster
	err := s.ch.Query(ctx, fmt.Sprintf("SELECT engine FROM system.tables WHERE database = %s AND name = %s", clickhouse.Literal(s.db), clickhouse.Literal(TableMeta)),
		proto.Results{{Name: "engine", Data: &engine}}, func(int) error {
			if !strings.HasPrefix(engine.Row(0), "Replicated") {
				cluster = ""
			}
			return nil
		})
	return cluster, err
}

func (s *Store) apply(ctx context.Context, m migration, cluster string, now time.Time) error {
	for _, sql := range m.sql(s.db, cluster) {
		if err := s.ch.Exec(ctx, sql); err != nil {
			return err
		}
	}
	version, at := proto.ColUInt32{m.version}, millisColumn()
	at.Append(now)
	in := proto.Input{{Name: "version", Data: version}, {Name: "applied_at", Data: at}}
	if m.version >= versionCompatible {
		in = append(in, proto.InputColumn{Name: "oldest", Data: proto.ColUInt32{m.oldest}})
	}
	a := s.ch.Insert(ctx, clickhouse.Insert{
		Database: s.db, Table: TableMeta, Input: in,
		Token: waybill.Token(fmt.Sprintf("meta-%d", m.version)),
	})
	if a.Err != nil {
		return a.Err
	}
	return nil
}

// Version is the highest schema version that has been applied to the database in full; 0 if there is none.
func (s *Store) Version(ctx context.Context) (uint32, error) {
	var exists proto.ColUInt8
	err := s.ch.Query(ctx, "EXISTS TABLE "+clickhouse.Table(s.db, TableMeta), proto.Results{{Name: "result", Data: &exists}}, func(int) error { return nil })
	if err != nil || exists.Rows() == 0 || exists.Row(0) == 0 {
		return 0, err
	}
	var version proto.ColUInt32
	have := uint32(0)
	err = s.ch.Query(ctx, "SELECT max(version) AS v FROM "+clickhouse.Table(s.db, TableMeta), proto.Results{{Name: "v", Data: &version}}, func(int) error {
		have = version.Row(0)
		return nil
	})
	return have, err
}

// millisColumn is a DateTime64(3, 'UTC').
func millisColumn() *proto.ColDateTime64 {
	return new(proto.ColDateTime64).WithPrecision(proto.PrecisionMilli).WithLocation(time.UTC)
}

// onceTokens is how often in a row the rows of a token may have been deleted while the server still remembers it.
const onceTokens = 100

// Once inserts rows under a token that all who want them there use, unless they are there, and makes sure that they are: there looks. A token outlives its rows: where
// they have been deleted since (`waybill delete`), the server takes the rows for those, and the next token of the chain counts. All come to the same one.
func (s *Store) Once(ctx context.Context, in clickhouse.Insert, there func(context.Context) (bool, error)) error {
	token := in.Token
	for k := range onceTokens {
		if is, err := there(ctx); err != nil || is {
			return err
		}
		if k > 0 {
			in.Token = waybill.Token(fmt.Sprintf("%s-%d", token, k))
		}
		if a := s.ch.Insert(ctx, in); a.Err != nil {
			return a.Err
		}
	}
	is, err := there(ctx)
	if err == nil && !is {
		err = &waybill.Error{Op: "ledger.once", Class: waybill.ClassRetryable, Err: fmt.Errorf("rows were inserted into %s.%s but cannot be read back", in.Database, in.Table)}
	}
	return err
}

// has reports whether a table of this database has a row that meets a condition.
func (s *Store) has(table, where string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (is bool, err error) {
		err = s.ch.Texts(ctx, fmt.Sprintf("SELECT '' AS n FROM %s WHERE %s LIMIT 1", s.table(table), where), []string{"n"}, func([]string) error { is = true; return nil })
		return is, renamed("ledger.once", err)
	}
}
