package kafka

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/waybill-data/waybill/internal/testenv"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(exit{m}, goleak.IgnoreTopFunction("os/exec.(*Cmd).Wait"))
}

// exit lets testenv stop its shared servers before goroutines are counted.
type exit struct{ m *testing.M }

func (e exit) Run() int { return testenv.Run(e.m) }
