package kafka

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill"
)

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		err   error
		class waybill.Class
	}{
		{kerr.UnknownMemberID, waybill.ClassFenced},
		{fmt.Errorf("wrapped: %w", kerr.FencedMemberEpoch), waybill.ClassFenced},
		{kerr.OffsetOutOfRange, waybill.ClassFenced},
		{kerr.UnknownTopicID, waybill.ClassFenced},
		{kerr.UnknownTopicOrPartition, waybill.ClassRetryable},
		{kerr.StaleMemberEpoch, waybill.ClassRetryable},
		{kerr.NotLeaderForPartition, waybill.ClassRetryable},
		{kerr.ThrottlingQuotaExceeded, waybill.ClassThrottled},
		{kerr.TopicAuthorizationFailed, waybill.ClassDenied},
		{kerr.SaslAuthenticationFailed, waybill.ClassDenied},
		{kerr.InvalidRequest, waybill.ClassBug},
		{kerr.TelemetryTooLarge, waybill.ClassUnknown},
		{errors.New("dial tcp: connection refused"), waybill.ClassRetryable},
		{context.DeadlineExceeded, waybill.ClassRetryable},
		{&kgo.ErrDataLoss{}, waybill.ClassFenced},
		{kgo.ErrClientClosed, waybill.ClassFenced},
	} {
		if got := classify("op", c.err, nowhere); got.Class != c.class {
			t.Errorf("%v: %s, want %s", c.err, got.Class, c.class)
		}
	}
}

func TestRules_EachHasAReasonAndPeopleGetAHint(t *testing.T) {
	unhinted := map[*kerr.Error]bool{kerr.UnsupportedCompressionType: true, kerr.MessageTooLarge: true}
	for err, r := range rules {
		if r.why == "" {
			t.Errorf("%v has no reason", err)
		}
		if r.class.NeedsPerson() && r.hint == "" && !unhinted[err] {
			t.Errorf("%v needs a person and tells them nothing", err)
		}
		if r.class == waybill.ClassUnknown {
			t.Errorf("%v is in the table without a class", err)
		}
	}
}

func TestFetchProblem(t *testing.T) {
	for _, c := range []struct {
		err  error
		want FetchProblem
	}{
		{kerr.OffsetOutOfRange, ProblemOutOfRange},
		{&kgo.ErrDataLoss{}, ProblemTruncated},
		{kerr.UnknownTopicID, ProblemRecreated},
		{kerr.CorruptMessage, ProblemUndecoded},
		{errors.New("unable to decompress batch"), ProblemUndecoded},
		{kerr.TopicAuthorizationFailed, ProblemRefused},
		{kerr.UnknownServerError, ProblemOther},
	} {
		if got := fetchProblem(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}
