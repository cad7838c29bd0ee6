package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/ledger"
)

// uninstallOptions are the flags of `waybill uninstall`.
type uninstallOptions struct {
	tables, others, yes bool
}

func newUninstall(s Streams) *cobra.Command {
	var o uninstallOptions
	cmd := &cobra.Command{
		Use:   "uninstall FILE|DIR...",
		Short: "Remove all that Waybill has left on servers and brokers",
		Long: `Drops the consumer groups of the pipelines in the given files, and the database
waybill of their servers. Without --yes it says what there is, and changes
nothing.

With --tables it also takes out of the pipelines' tables what they have for
Waybill's sake: the offset projection, the fence of a backfill, and the lineage
columns that the table is not ordered by. Their rows stay, and so does the
rescue column: it has values that are nowhere else. Archives stay: drop them
yourself. What is known of erasures goes with the database: who reads a topic
again has those records again.

It is refused while workers are in a group, and where pipelines are on record
that none of the files is of (--others drops what is on record of them, too;
their groups stay); while a backfill is under way, or a replay, repair or
erasure is not finished; and where a backfill has left tables: "waybill backfill
cleanup" comes first.`,
		Example: `  waybill uninstall pipelines/
  waybill uninstall pipelines/ --tables --yes`,
		Args: args(cobra.MinimumNArgs(1)),
	}
	f := cmd.Flags()
	f.BoolVar(&o.tables, "tables", false, "take projection, fence and lineage columns out of the pipelines' tables")
	f.BoolVar(&o.others, "others", false, "also what is on record of pipelines that no file is of")
	f.BoolVar(&o.yes, "yes", false, "do it")
	cmd.RunE = func(cmd *cobra.Command, places []string) error { return uninstall(cmd.Context(), s, places, o) }
	return cmd
}

// site is a ClickHouse server with the pipelines of the files that are on it.
type site struct {
	*desk
	out  io.Writer
	cfgs []*config.Pipeline
}

func uninstall(ctx context.Context, s Streams, places []string, o uninstallOptions) error {
	cfgs, err := config.LoadPlaces(places, os.LookupEnv)
	if err != nil {
		return err
	}
	var sites []*site
	defer func() {
		for _, at := range sites {
			at.close()
		}
	}()
	for _, cfg := range cfgs {
		i := slices.IndexFunc(sites, func(at *site) bool { return at.cfg.Sink.ClickHouse.Addr == cfg.Sink.ClickHouse.Addr })
		if i < 0 {
			d, err := openDesk(ctx, cfg.File)
			if err != nil {
				return err
			}
			sites, i = append(sites, &site{desk: d, out: s.Out}), len(sites)
		}
		sites[i].cfgs = append(sites[i].cfgs, cfg)
	}
	for _, at := range sites { // everything that speaks against it, before anything is dropped
		if err := at.object(ctx, o); err != nil {
			return err
		}
	}
	for _, at := range sites {
		if err := at.uninstall(ctx, o); err != nil {
			return err
		}
	}
	if !o.yes {
		_, err := io.WriteString(s.Out, "say --yes to do it\n")
		return err
	}
	return nil
}

var errOthers = errors.New("pipelines are on record that none of the files is of")

// object says what speaks against it.
func (at *site) object(ctx context.Context, o uninstallOptions) error {
	for _, cfg := range at.cfgs {
		if _, err := dropGroups(ctx, cfg, false); err != nil {
			return err
		}
	}
	version, err := at.ledger.Version(ctx)
	if err != nil || version == 0 {
		return unreached(err)
	}
	known, err := at.ledger.Names(ctx)
	if err != nil {
		return unreached(err)
	}
	var ours []string
	for _, cfg := range at.cfgs {
		ours = append(ours, names(cfg)...)
	}
	if others := slices.DeleteFunc(slices.Clone(known), func(n string) bool { return slices.Contains(ours, n) }); len(others) > 0 && !o.others {
		return usage(&waybill.Error{Op: "uninstall", Class: waybill.ClassConfig, Err: fmt.Errorf("%w: %s", errOthers, strings.Join(others, ", ")),
			Hint: "name their files too, or say --others"})
	}
	jobs, err := backfillsOver(ctx, at.ledger, "uninstall", known...)
	if err != nil {
		return err
	}
	kept, err := keptTables(ctx, at.client, jobs)
	if err == nil && len(kept) > 0 {
		err = usage(&waybill.Error{Op: "uninstall", Class: waybill.ClassConfig, Err: fmt.Errorf("backfills have left tables: %s", strings.Join(kept, "; ")), Hint: "run `waybill backfill cleanup` for them first: afterwards nothing names them"})
	}
	return err
}

func (at *site) uninstall(ctx context.Context, o uninstallOptions) error {
	say := func(format string, a ...any) error {
		verb := "would drop "
		if o.yes {
			verb = "dropped "
		}
		_, err := fmt.Fprintf(at.out, verb+format+"\n", a...)
		return err
	}
	version, err := at.ledger.Version(ctx)
	if err != nil {
		return unreached(err)
	}
	for _, cfg := range at.cfgs {
		var work []string
		if version > 0 {
			jobs, err := backfillsOver(ctx, at.ledger, "uninstall", names(cfg)...)
			if err != nil {
				return err
			}
			work = workGroups(jobs)
		}
		groups, err := dropGroups(ctx, cfg, o.yes, work...)
		if err != nil {
			return err
		}
		for _, g := range groups {
			if err := say("group %s", g); err != nil {
				return err
			}
		}
	}
	if err := at.dropDatabase(ctx, o, say); err != nil {
		return err
	}
	if !o.tables {
		return nil
	}
	for _, cfg := range at.cfgs {
		for _, of := range cfg.Tables() {
			if err := at.clean(ctx, of.Sink.ClickHouse, o, say); err != nil {
				return err
			}
		}
	}
	return nil
}

func (at *site) dropDatabase(ctx context.Context, o uninstallOptions, say func(string, ...any) error) error {
	tables := 0
	err := at.client.Texts(ctx, "SELECT name AS n FROM system.tables WHERE database = "+clickhouse.Literal(ledger.DefaultDatabase), []string{"n"}, func([]string) error { tables++; return nil })
	if err != nil || tables == 0 {
		return unreached(err)
	}
	erased := "0"
	err = at.client.Texts(ctx, "SELECT toString(uniqExact(erasure)) AS n FROM "+clickhouse.Table(ledger.DefaultDatabase, ledger.TableErasures), []string{"n"}, func(row []string) error { erased = strings.Clone(row[0]); return nil })
	if err != nil && !clickhouse.NoTable(err) {
		return unreached(err)
	}
	if o.yes {
		if err := at.ledger.Drop(ctx); err != nil {
			return unreached(err)
		}
	}
	if err := say("database %s, on %s", ledger.DefaultDatabase, at.cfg.Sink.ClickHouse.Addr); err != nil || erased == "0" {
		return err
	}
	_, err = fmt.Fprintf(at.out, "with it goes what is known of %s erasures: who reads the topics again has their records again\n", erased)
	return err
}

// clean takes out of a table what it has for Waybill's sake: what refers to columns first.
func (at *site) clean(ctx context.Context, c config.ClickHouse, o uninstallOptions, say func(string, ...any) error) error {
	var create string
	err := at.client.Texts(ctx, fmt.Sprintf("SELECT create_table_query AS q FROM system.tables WHERE database = %s AND name = %s", clickhouse.Literal(c.Database), clickhouse.Literal(c.Table)),
		[]string{"q"}, func(row []string) error { create = row[0]; return nil })
	if err != nil || create == "" {
		return unreached(err)
	}
	table := clickhouse.Table(c.Database, c.Table)
	drop := func(what, name string) error {
		if o.yes {
			if err := at.client.Exec(ctx, fmt.Sprintf("ALTER TABLE %s DROP %s IF EXISTS %s SETTINGS mutations_sync = 2, alter_sync = 2", table, what, clickhouse.Ident(name))); err != nil {
				return unreached(err)
			}
		}
		return say("%s %s of table %s", strings.ToLower(what), name, c.Place())
	}
	for _, x := range []struct{ what, name string }{{"PROJECTION", clickhouse.ProjectionName}, {"CONSTRAINT", clickhouse.FenceName}} {
		if strings.Contains(create, x.what+" "+x.name+" ") {
			if err := drop(x.what, x.name); err != nil {
				return err
			}
		}
	}
	keys := map[string]bool{} // columns, and whether the table is ordered or partitioned by them
	err = at.client.Texts(ctx, fmt.Sprintf(`SELECT name AS n, toString(is_in_partition_key OR is_in_sorting_key OR is_in_primary_key) AS k FROM system.columns
WHERE database = %s AND table = %s`, clickhouse.Literal(c.Database), clickhouse.Literal(c.Table)), []string{"n", "k"}, func(row []string) error {
		keys[strings.Clone(row[0])] = row[1] == "1" || row[1] == "true"
		return nil
	})
	if err != nil {
		return unreached(err)
	}
	for _, column := range []string{c.Lineage.Topic, c.Lineage.Partition, c.Lineage.Offset, c.Lineage.Epoch} {
		key, there := keys[column]
		switch {
		case !there:
		case key:
			if _, err := fmt.Fprintf(at.out, "stays: column %s of table %s, which is ordered by it\n", column, c.Place()); err != nil {
				return err
			}
		default:
			if err := drop("COLUMN", column); err != nil {
				return err
			}
		}
	}
	return nil
}
