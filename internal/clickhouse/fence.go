package clickhouse

import (
	"fmt"
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

// fenced reports whether the server refused a block by that constraint. Other words of the message quote users' data.
func fenced(ex *ch.Exception) bool {
	if ex.Code != proto.ErrViolatedConstraint || strings.Contains(ex.Message, pushingToView) {
		return false
	}
	return strings.HasPrefix(strings.TrimPrefix(ex.Message, "DB::Exception: "), "Constraint "+Ident(FenceName)+" for table ")
}
