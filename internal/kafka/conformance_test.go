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
	{"Start moves a position under a waiting poll", factStartMovesPosition},
	{"pause and resume lose nothing", factPauseResume},
	{"a cooperative move keeps what stays and silences what goes", factCooperativeMove},
	{"revoked before assigned elsewhere", factRevokedFirst},
	{"partitions added are assigned", factPartitionsAdded},
	{"the lease ends before another owner begins", factExpiry},
	{"a crash is noticed by the session timeout", factCrash},

	{"a static member comes back to its partitions", factStaticMemberComesBack},
	{"one instance id for two members", factOneInstanceIDForTwo},

	{"commit with metadata is read back", factCommitReadBack},
	{"commit of an unheld partition is not sent", factCommitUnheldRefused},
	{"a commit from before a move is fenced", factOldGenerationFenced},
	{"members are fenced, partitions are not", factMembersNotPartitions},
	{"a commit of a member that left is fenced", factLeftMemberFenced},
	{"a commit without a reply is unknown and sent once", factLostReplyNotRetried},
	{"the client's own commit is sent again", factClientRetriesCommits},
	{"metadata too large is refused per partition", factMetadataTooLarge},
	{"the metadata limit counts UTF-16 units", factMetadataLimitCountsUTF16},
	{"an unknown partition is refused beside a known one", factUnknownPartitionBesideKnown},
	{"offsets in an open transaction are not stable", factUnstableOffsets},

	{"aborted records are holes, markers are records", factTransactions},
	{"an open transaction holds the stable end", factStableEnd},
	{"compaction leaves holes that end a span", factCompactionHoles},
	{"out of range is an error, never a reset", factOutOfRange},
	{"a topic created again is not the topic", factTopicRecreated},
	{"records come whole, large, empty and null", factRecordsWhole},
	{"a reader joins no group", factReaderJoinsNoGroup},
}

// factCount makes the disappearance of a fact a failure.
const factCount = 28

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
	c, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.GroupMinSessionTimeout(0), kfake.BrokerConfigs(map[string]string{
		"group.consumer.heartbeat.interval.ms": "300", "group.consumer.session.timeout.ms": "2000",
	}))
	must(t, err)
	t.Cleanup(c.Close)
	return env{engine: "kfake", protocol: p, brokers: c.ListenAddrs(), fake: c}
}
