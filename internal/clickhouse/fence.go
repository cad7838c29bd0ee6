package clickhouse

import (
	"fmt"
	"strings"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

// Names of the constraints that keep writers of other epochs out of a table. See docs/adr/0015.
const (
	// FenceName is the constraint of a table that takes no rows of epochs before its own.
	FenceName = "waybill_epoch"
	// FenceEndName is the constraint of a table that another one takes the place of: it takes no rows of that one's epoch, nor of later ones.
	FenceEndName = "waybill_epoch_end"
)

// FenceConstraint is the constraint that keeps rows of epochs before this one out of a table, as CREATE TABLE and ALTER TABLE ADD take it.
// The table has the usual lineage columns.
func FenceConstraint(epoch waybill.Epoch) string {
	return FenceConstraintOn(contract.DefaultLineage().Epoch, epoch)
}

// FenceConstraintOn is FenceConstraint for a table whose column of the epoch has another name.
func FenceConstraintOn(column string, epoch waybill.Epoch) string {
	return fmt.Sprintf("CONSTRAINT %s CHECK %s >= %d", FenceName, Ident(column), epoch)
}

// FenceEndConstraintOn is the constraint that keeps rows of this epoch and of later ones out of a table. The table that is live gets it
// before another one takes its place: if the two change places twice, rows of the new epoch go to the new table or nowhere.
func FenceEndConstraintOn(column string, epoch waybill.Epoch) string {
	return fmt.Sprintf("CONSTRAINT %s CHECK %s < %d", FenceEndName, Ident(column), epoch)
}

// fenced reports whether the server refused a block by one of the two constraints. Other words of the message quote users' data.
func fenced(ex *ch.Exception) bool {
	if ex.Code != proto.ErrViolatedConstraint || strings.Contains(ex.Message, pushingToView) {
		return false
	}
	words := strings.TrimPrefix(ex.Message, "DB::Exception: ")
	for _, name := range []string{FenceName, FenceEndName} {
		if strings.HasPrefix(words, "Constraint "+Ident(name)+" for table ") {
			return true
		}
	}
	return false
}
