package faultproxy_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/internal/testenv"
	. "github.com/waybill-data/waybill/internal/testenv/faultproxy"
	"github.com/waybill-data/waybill/internal/testenv/kafkaserver"
)

func TestKafka_DropReplyOfACommit(t *testing.T) {
	p := testenv.Proxy(t, "")
	srv := testenv.Kafka(t, func(o *kafkaserver.Options) { o.AdvertisedAddr = p.Addr() })
	p.SetTarget(srv.Addr())
	cl, err := kgo.NewClient(kgo.SeedBrokers(p.Addr()), kgo.RequestRetries(0))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := adm.CreateTopic(ctx, 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	commit := func(at int64) error {
		var o kadm.Offsets
		o.Add(kadm.Offset{Topic: "t", At: at, LeaderEpoch: -1})
		rs, err := adm.CommitOffsets(ctx, "g", o)
		return errors.Join(err, rs.Error())
	}
	testenv.Eventually(t, time.Minute, "the group coordinator answers", func() bool { return commit(1) == nil })

	const offsetCommit = 8
	p.Set(DropReply().On(KafkaRequest(offsetCommit)).Times(1))
	if err := commit(2); err == nil {
		t.Error("the commit was answered")
	}
	wantApplied(t, p, NameDropReply, 1)
	testenv.Eventually(t, time.Minute, "the commit whose answer was lost is there", func() bool {
		got, err := adm.FetchOffsets(ctx, "g")
		o, _ := got.Lookup("t", 0)
		return err == nil && o.At == 2
	})
}
