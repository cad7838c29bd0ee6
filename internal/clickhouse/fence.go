package clickhouse

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

// FenceName is the constraint of a table that takes no rows of epochs before its own. See docs/adr/0015.
const FenceName = "waybill_epoch"

// FenceConstraint is the constraint that keeps rows of epochs before this one out of a table, as CREATE TABLE and ALTER TABLE ADD take it.
// The table has the usual lineage columns.
func FenceConstraint(epoch waybill.Epoch) string {
	return FenceConstraintOn(contract.DefaultLineage().Epoch, epoch)
}

// FenceConstraintOn is FenceConstraint for a table whose column of the epoch has another name.
func FenceConstraintOn(column string, epoch waybill.Epoch) string {
	return fmt.Sprintf("CONSTRAINT %s CHECK %s >= %d", FenceName, Ident(column), epoch)
}

// closedPrefix is how the name of the constraint begins that keeps all rows out of a table, while those that depend on it are about to change places. See
// docs/adr/0024.
const closedPrefix = "waybill_closed_"

// ClosedName is the name of the constraint that keeps all rows out of a table which is to be written under an epoch.
func ClosedName(epoch waybill.Epoch) string { return fmt.Sprintf("%s%d", closedPrefix, epoch) }

// ClosedConstraint is that constraint, as ALTER TABLE ADD takes it.
func ClosedConstraint(column string, epoch waybill.Epoch) string {
	return fmt.Sprintf("CONSTRAINT IF NOT EXISTS %s CHECK %[2]s != %[2]s", ClosedName(epoch), Ident(column))
}

// closed finds the constraint in a statement that makes a table.
var closed = regexp.MustCompile(`CONSTRAINT ` + closedPrefix + `([0-9]+) CHECK `)

// fenced reports whether the server refused a block by one of these constraints. Other words of the message quote users' data.
func fenced(ex *ch.Exception) bool {
	if ex.Code != proto.ErrViolatedConstraint || strings.Contains(ex.Message, pushingToView) {
		return false
	}
	text := strings.TrimPrefix(ex.Message, "DB::Exception: ")
	return strings.HasPrefix(text, "Constraint "+Ident(FenceName)+" for table ") || strings.HasPrefix(text, "Constraint `"+closedPrefix)
}
