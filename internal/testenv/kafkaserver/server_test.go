package kafkaserver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/kafkaserver"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func client(t *testing.T, srv *kafkaserver.Server, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(srv.Addr()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func limit(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func produce(t *testing.T, cl *kgo.Client, topic string, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		r := &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "%d", i)}
		if err := cl.ProduceSync(limit(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// consume reads n records in a group and commits them.
func consume(t *testing.T, srv *kafkaserver.Server, topic, group string, n int, opts ...kgo.Opt) {
	t.Helper()
	ctx := limit(t)
	cl := client(t, srv, append(opts, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	for got := 0; got < n; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		got += fetches.NumRecords()
	}
	if err := cl.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	cl.Close()
}

func TestServer_RecordsAndOffsetsSurviveKillAndRestart(t *testing.T) {
	srv := testenv.Kafka(t)
	cl := client(t, srv)
	adm := kadm.NewClient(cl)
	if _, err := adm.CreateTopic(limit(t), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	produce(t, cl, "t", 0, 10)
	consume(t, srv, "t", "g", 10)
	addr := srv.Addr()

	srv.Kill()
	if err := srv.Restart(limit(t)); err != nil {
		t.Fatal(err)
	}
	if srv.Addr() != addr {
		t.Fatal("a restart keeps the port")
	}
	produce(t, cl, "t", 10, 15)
	consume(t, srv, "t", "g", 5) // it would wait for ever if the offsets had gone, or read 15

	ends, err := adm.ListEndOffsets(limit(t), "t")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := ends.Lookup("t", 0); o.Offset != 15 {
		t.Fatalf("end offset: got %d, want 15", o.Offset)
	}
	offsets, err := adm.FetchOffsets(limit(t), "g")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := offsets.Lookup("t", 0); o.At != 15 {
		t.Fatalf("committed: got %d, want 15", o.At)
	}
}

func TestServer_DefaultsForTests(t *testing.T) {
	srv := testenv.SharedKafka(t)
	cl := client(t, srv)
	adm := kadm.NewClient(cl)

	err := cl.ProduceSync(limit(t), &kgo.Record{Topic: "unheard-of"}).FirstErr()
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("topics must not create themselves: got %v", err)
	}
	if _, err := adm.CreateTopic(limit(t), 1, 1, nil, "defaults"); err != nil {
		t.Fatal(err)
	}
	produce(t, cl, "defaults", 0, 1)
	consume(t, srv, "defaults", "classic", 1, kgo.SessionTimeout(time.Second), kgo.HeartbeatInterval(200*time.Millisecond))

	consume(t, srv, "defaults", "kip848", 1, kgo.ServerSideBalancer())
	groups, err := adm.DescribeConsumerGroups(limit(t), "kip848")
	if err != nil {
		t.Fatal(err)
	}
	if g := groups["kip848"]; g.Err != nil {
		t.Errorf("not a group of the consumer protocol: %v", g.Err)
	}
}

func TestServer_OffsetMetadataLimitIsEnforced(t *testing.T) {
	srv := testenv.Kafka(t, func(o *kafkaserver.Options) {
		o.Properties = map[string]string{"offset.metadata.max.bytes": "100"}
	})
	adm := kadm.NewClient(client(t, srv))
	if _, err := adm.CreateTopic(limit(t), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	commit := func(metadata string) error {
		var o kadm.Offsets
		o.Add(kadm.Offset{Topic: "t", LeaderEpoch: -1, Metadata: metadata})
		rs, err := adm.CommitOffsets(limit(t), "g", o)
		return errors.Join(err, rs.Error())
	}
	if err := commit(strings.Repeat("x", 100)); err != nil {
		t.Errorf("100 bytes: %v", err)
	}
	if err := commit(strings.Repeat("x", 101)); !errors.Is(err, kerr.OffsetMetadataTooLarge) {
		t.Errorf("101 bytes: got %v", err)
	}
}

func TestServer_SuspendedAnswersNothingUntilResumed(t *testing.T) {
	srv := testenv.Kafka(t)
	adm := kadm.NewClient(client(t, srv))
	if err := srv.Suspend(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := adm.ListTopics(ctx); err == nil {
		t.Fatal("a suspended broker answered")
	}
	if err := srv.Resume(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 30*time.Second, "the broker answers again", func() bool {
		_, err := adm.ListTopics(limit(t))
		return err == nil
	})
}

func TestLocate_MissingSaysHowToGetIt(t *testing.T) {
	t.Setenv("WAYBILL_KAFKA_JARS", "")
	t.Setenv("WAYBILL_ENGINES_CACHE", t.TempDir())
	if _, err := kafkaserver.Locate(); err == nil ||
		!strings.Contains(err.Error(), "tools/engines/fetch kafka") && !strings.Contains(err.Error(), "java is not installed") {
		t.Fatalf("got %v", err)
	}
}
