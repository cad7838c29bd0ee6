package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/kafkaserver"
)

// fact is one thing about consumer groups, offsets or logs that the delivery protocol stands on. All of them are asked of
// kfake and of Apache Kafka, under both group protocols.
type fact struct {
	name string
	run  func(*testing.T, env)
}

var facts = []fact{
	{"assigned partitions fetch nothing before Start", factNothingBeforeStart},
	{"commit with metadata is read back", factCommitReadBack},
}

// factCount makes the disappearance of a fact a failure.
const factCount = 2

func TestConformance_FactCount(t *testing.T) {
	if len(facts) != factCount {
		t.Fatalf("%d facts, expected %d", len(facts), factCount)
	}
}

func TestConformance_Kfake(t *testing.T) {
	for _, p := range []Protocol{ProtocolClassic, ProtocolConsumer} {
		t.Run(string(p), func(t *testing.T) { runFacts(t, kfakeEnv(t, p)) })
	}
}

func TestConformance_ApacheKafka(t *testing.T) {
	srv := testenv.Kafka(t, func(o *kafkaserver.Options) {
		o.Properties = map[string]string{"log.cleaner.backoff.ms": "100"}
	})
	for _, p := range []Protocol{ProtocolClassic, ProtocolConsumer} {
		t.Run(string(p), func(t *testing.T) {
			runFacts(t, env{engine: "apache", protocol: p, brokers: []string{srv.Addr()}})
		})
	}
}

func runFacts(t *testing.T, e env) {
	for _, f := range facts {
		t.Run(f.name, func(t *testing.T) { f.run(t, e) })
	}
}

func kfakeEnv(t *testing.T, p Protocol) env {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.GroupMinSessionTimeout(0))
	must(t, err)
	t.Cleanup(c.Close)
	return env{engine: "kfake", protocol: p, brokers: c.ListenAddrs(), fake: c}
}
