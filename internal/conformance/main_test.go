package conformance_test

import (
	"testing"

	"github.com/waybill-data/waybill/internal/conformance"
	"github.com/waybill-data/waybill/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestSuites_AreComplete(t *testing.T) {
	conformance.ClickHouseSuite.Check(t)
	conformance.KafkaSuite.Check(t)
}
