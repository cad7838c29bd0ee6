package check

import (
	"fmt"

	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
)

// OwnRights are what `waybill run` needs of Waybill's own database.
func OwnRights(database string) []Grant {
	of := " ON " + clickhouse.Ident(database) + ".*"
	return []Grant{
		{Right: "SELECT" + of, For: "the ledger is read at every start"},
		{Right: "INSERT" + of, For: "what becomes of each record is on record there"},
		{Right: "CREATE DATABASE" + of, For: "the first worker makes the database, and each makes sure"},
		{Right: "CREATE TABLE" + of, For: "its tables are made, and an empty copy of a table when refused rows are looked for"},
		{Right: "CREATE VIEW" + of, For: "its views are made"},
		{Right: "ALTER TABLE" + of, For: "a newer version brings its tables up to date"},
		{Right: "DROP TABLE" + of, For: "copies that refused rows were looked for with are removed"},
	}
}

// Content is what there is to know of the place of long values.
type Content struct {
	Place  string  // for people
	Err    error   // why it cannot be used
	Grants []Grant // of a table
}

// ContentRights are what `waybill run` needs of the table of long values.
func ContentRights(database, table string) []Grant {
	of := " ON " + clickhouse.Table(database, table)
	return []Grant{
		{Right: "INSERT" + of, For: "long values go there"},
		{Right: "SELECT" + of, For: "the audit looks there for what rows refer to"},
		{Right: "CREATE TABLE" + of, For: "the first worker makes the table of long values, and each makes sure"},
	}
}

// TableRights are what it needs of one of the pipeline's tables.
func TableRights(t *Table) []Grant {
	c := t.Sink.ClickHouse
	of := " ON " + clickhouse.Table(c.Database, c.Table)
	rights := []Grant{
		{Right: "INSERT" + of, For: "rows go there"},
		{Right: "SELECT" + of, For: "which offsets are there is read after an insert without an answer, and by the audit"},
	}
	evolves := t.Contract.NewFields.Uses(contract.ModeEvolve) || t.Contract.TypeConflicts.Uses(contract.ModeEvolve)
	if evolves {
		rights = append(rights,
			Grant{Right: "ALTER ADD COLUMN" + of, For: "the file says evolve: a new field becomes a column"},
			Grant{Right: "ALTER MODIFY COLUMN" + of, For: "the file says evolve: a column is widened"})
	}
	if t.Missing && t.Contract.Tables == contract.ModeEvolve {
		rights = append(rights, Grant{Right: "CREATE TABLE" + of, For: "the file says tables: evolve, and the table is to be made"})
	}
	return append(rights, Grant{Right: "SELECT ON system.part_log", Optional: true,
		For: fmt.Sprintf("how many tokens come into the window of %s is read there, and what a view lacks is healed by it", bare(clickhouse.Table(c.Database, c.Table)))})
}
