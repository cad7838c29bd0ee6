package contract

import (
	"fmt"
	"strings"
)

// SQL is the statement that carries out the change; it may be carried out any number of times. cluster is empty, or the name of the
// cluster that it is run on. A MODIFY leaves the column's DEFAULT, comment and codec as they are, and does nothing to a
// column that somebody has dropped.
func (c Change) SQL(database, table, cluster string) string {
	on := ""
	if cluster != "" {
		on = " ON CLUSTER " + identifier(cluster)
	}
	alter := fmt.Sprintf("ALTER TABLE %s.%s%s ", identifier(database), identifier(table), on)
	if c.Kind == ModifyColumn {
		return alter + fmt.Sprintf("MODIFY COLUMN IF EXISTS %s %s", identifier(c.Column), c.Type)
	}
	return alter + fmt.Sprintf("ADD COLUMN IF NOT EXISTS %s %s COMMENT %s", identifier(c.Column), c.Type, literal(c.comment()))
}

// comment is that of the column that the change adds.
func (c Change) comment() string {
	return ColumnComment(Column{From: c.Path, As: c.As, Format: c.Format})
}

// identifier is a name in backticks.
func identifier(name string) string { return "`" + escaper.Replace(name) + "`" }

// literal is a string in single quotes.
func literal(s string) string { return "'" + escaper.Replace(s) + "'" }

var escaper = strings.NewReplacer(`\`, `\\`, "`", "\\`", `'`, `\'`)
