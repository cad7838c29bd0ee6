package kafka

import (
	"context"
	"errors"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill"
)

// rule is what one of the broker's error codes means here.
type rule struct {
	class waybill.Class
	// refused: an OffsetCommit answered so was turned down before anything was written. Where it is false the offsets may
	// be in the log all the same.
	refused bool
	why     string // the reason for the class, and for refused
	hint    string // for a person; empty where waiting is all one can do
}

// rules is the one table of broker error codes. What is not in it is ClassUnknown and, for a commit, of unknown outcome.
var rules = map[*kerr.Error]rule{
	// Membership: whoever gets these owns nothing any more. The coordinator checks them before it writes.
	kerr.UnknownMemberID:   {waybill.ClassFenced, true, "the member was removed from the group", ""},
	kerr.IllegalGeneration: {waybill.ClassFenced, true, "the group has moved on to another generation", ""},
	kerr.FencedMemberEpoch: {waybill.ClassFenced, true, "the member's epoch was ended by the broker", ""},
	kerr.FencedInstanceID:  {waybill.ClassFenced, true, "another member joined under this instance id", "give each replica an instance id of its own"},
	kerr.GroupIDNotFound:   {waybill.ClassFenced, true, "the group is gone, and the membership with it", ""},
	// The epoch of the request is behind (or, rarely, ahead of) the member's: a commit built anew carries the right one.
	kerr.StaleMemberEpoch:    {waybill.ClassRetryable, true, "the member's epoch changed between building and sending", ""},
	kerr.RebalanceInProgress: {waybill.ClassRetryable, true, "commits wait until every member has joined", ""},

	// The coordinator answers these both when it refuses and when an append that it has begun then fails to be
	// replicated (NOT_LEADER becomes NOT_COORDINATOR, too few replicas become COORDINATOR_NOT_AVAILABLE).
	kerr.NotCoordinator:          {waybill.ClassRetryable, false, "the coordinator moved, perhaps after it had appended", ""},
	kerr.CoordinatorNotAvailable: {waybill.ClassRetryable, false, "no coordinator, or its log lacks replicas after the append", ""},
	kerr.RequestTimedOut:         {waybill.ClassRetryable, false, "the append was not replicated in time and may still be", ""},
	kerr.UnknownServerError:      {waybill.ClassRetryable, false, "the broker failed somewhere in between", "see the broker's log"},
	kerr.NetworkException:        {waybill.ClassRetryable, false, "the broker lost a connection of its own", ""},
	kerr.KafkaStorageError:       {waybill.ClassRetryable, false, "a disk of the broker failed", "see the broker's log"},

	kerr.CoordinatorLoadInProgress: {waybill.ClassRetryable, true, "the coordinator is still reading its log and writes nothing", ""},
	kerr.ThrottlingQuotaExceeded:   {waybill.ClassThrottled, true, "over a quota", ""},
	kerr.UnstableOffsetCommit:      {waybill.ClassRetryable, true, "a transaction holds this group's offsets", "stop whoever commits this group's offsets in transactions"},

	// Sizes. The offsets log refuses the whole append.
	kerr.OffsetMetadataTooLarge:  {waybill.ClassConfig, true, "the string is longer than offset.metadata.max.bytes", "raise the broker's offset.metadata.max.bytes or lower the number of batches in flight"},
	kerr.InvalidCommitOffsetSize: {waybill.ClassConfig, true, "the commit does not fit one batch of the offsets log", "raise max.message.bytes of __consumer_offsets or use fewer partitions per worker"},
	kerr.MessageTooLarge:         {waybill.ClassConfig, true, "the request does not fit the log it goes to", ""},

	// Topics and positions.
	kerr.UnknownTopicOrPartition: {waybill.ClassRetryable, true, "this broker does not know the partition (yet)", "check that the topic exists"},
	kerr.UnknownTopicID:          {waybill.ClassFenced, true, "the topic was deleted, and perhaps created again", "see the runbook on a recreated topic"},
	kerr.InconsistentTopicID:     {waybill.ClassFenced, true, "the topic was deleted, and perhaps created again", "see the runbook on a recreated topic"},
	kerr.InvalidTopicException:   {waybill.ClassConfig, true, "not a topic's name", "correct the topic's name"},
	kerr.OffsetOutOfRange:        {waybill.ClassFenced, true, "the position is not in the log: retention, or a log that was cut", "see the runbook on lost records"},
	kerr.LeaderNotAvailable:      {waybill.ClassRetryable, true, "an election is under way", ""},
	kerr.NotLeaderForPartition:   {waybill.ClassRetryable, true, "the leader moved", ""},
	kerr.FencedLeaderEpoch:       {waybill.ClassRetryable, true, "our metadata is older than the broker's", ""},
	kerr.UnknownLeaderEpoch:      {waybill.ClassRetryable, true, "our metadata is newer than the broker's", ""},
	kerr.OffsetNotAvailable:      {waybill.ClassRetryable, true, "the new leader has not caught up", ""},
	kerr.ReplicaNotAvailable:     {waybill.ClassRetryable, true, "the replica is being moved", ""},
	kerr.BrokerNotAvailable:      {waybill.ClassRetryable, true, "the broker is gone", ""},
	kerr.CorruptMessage:          {waybill.ClassRetryable, true, "a batch failed its checksum: on the way, or on the disk", "see the broker's log"},

	// A person mends these on the brokers or in the files that the client reads for each connection, and a pipeline that runs goes on: they
	// are tried again. A connection is refused before it can write anything.
	kerr.SaslAuthenticationFailed:   {waybill.ClassDenied, true, "the broker refused the credentials", "check source.kafka.sasl against what the broker knows; files are read again by the next connection"},
	kerr.UnsupportedSaslMechanism:   {waybill.ClassDenied, true, "the broker does not offer this SASL mechanism", "use a mechanism of the listener (sasl.enabled.mechanisms), or a listener that has this one"},
	kerr.IllegalSaslState:           {waybill.ClassDenied, true, "the broker expected another step of SASL", "give source.kafka.sasl if the listener wants it, or take it out"},
	kerr.TopicAuthorizationFailed:   {waybill.ClassDenied, true, "no right to the topic", "grant READ and DESCRIBE on the topic"},
	kerr.GroupAuthorizationFailed:   {waybill.ClassDenied, true, "no right to the group", "grant READ on the group"},
	kerr.ClusterAuthorizationFailed: {waybill.ClassDenied, true, "no right to the cluster", "grant DESCRIBE on the cluster"},

	// What only a person can mend, and then starts the pipeline.
	kerr.UnsupportedVersion:         {waybill.ClassConfig, true, "the broker is too old for this request", "use a newer broker, or the classic protocol"},
	kerr.UnsupportedCompressionType: {waybill.ClassConfig, true, "the broker cannot serve this compression", ""},
	kerr.InvalidGroupID:             {waybill.ClassConfig, true, "not a group's name, or a group of another type", "correct the group's name"},
	kerr.InvalidSessionTimeout:      {waybill.ClassConfig, true, "outside the broker's limits", "choose a session timeout within group.min/max.session.timeout.ms"},
	kerr.InconsistentGroupProtocol:  {waybill.ClassConfig, true, "other members of the group use another protocol", "give the pipeline a group of its own"},
	kerr.UnsupportedAssignor:        {waybill.ClassConfig, true, "the broker lacks the assignor", "allow the uniform assignor, or use the classic protocol"},
	kerr.GroupMaxSizeReached:        {waybill.ClassDenied, true, "the group is full", "raise group.max.size or run fewer replicas"},
	kerr.InvalidRequest:             {waybill.ClassBug, true, "the broker calls the request malformed", ""},
}

// ruleFor finds the rule of the broker error in err's tree.
func ruleFor(err error) (rule, *kerr.Error, bool) {
	var ke *kerr.Error
	if !errors.As(err, &ke) {
		return rule{}, nil, false
	}
	r, ok := rules[ke]
	return r, ke, ok
}

// classify turns any error of the client or of a broker into a *waybill.Error. Errors without a broker's code are about
// connections, and those heal.
func classify(op string, err error, at waybill.Position) *waybill.Error {
	var known *waybill.Error
	if errors.As(err, &known) {
		return known
	}
	e := &waybill.Error{Op: op, Position: at, Err: err, Class: waybill.ClassRetryable}
	r, ke, ok := ruleFor(err)
	if ke != nil {
		e.Code = int(ke.Code)
		e.Class = waybill.ClassUnknown
	}
	var loss *kgo.ErrDataLoss
	var closed *kgo.ErrFirstReadEOF
	switch {
	case ok:
		e.Class, e.Hint = r.class, r.hint
	case errors.As(err, &loss):
		e.Class, e.Hint = waybill.ClassFenced, "see the runbook on lost records"
	case errors.Is(err, kgo.ErrClientClosed):
		e.Class = waybill.ClassFenced
	case errors.As(err, &closed), strings.Contains(err.Error(), "tls alert record"):
		e.Hint = "if it goes on: hold source.kafka.tls and source.kafka.sasl against the broker's listener at this port"
	case errors.Is(err, kgo.ErrMaxDecompress):
		e.Class, e.Hint = waybill.ClassConfig, "the batch is larger than this client will decompress"
	}
	return e
}

func configError(op, what, hint string) *waybill.Error {
	return &waybill.Error{Op: op, Position: nowhere, Class: waybill.ClassConfig, Hint: hint, Err: errors.New(what)}
}

var nowhere = waybill.Position{Partition: -1, Offset: -1}

func position(tp waybill.TopicPartition, offset int64) waybill.Position {
	return waybill.Position{Topic: tp.Topic, Partition: tp.Partition, Offset: offset}
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// FetchProblem names what stopped a partition, for those that need an answer of their own.
type FetchProblem string

// The problems of a fetch.
const (
	ProblemOutOfRange FetchProblem = "out_of_range"    // the position is before the log start or past the end
	ProblemTruncated  FetchProblem = "truncated"       // the log was cut below the position and written anew
	ProblemRecreated  FetchProblem = "topic_recreated" // the topic id is gone: deleted, perhaps created again
	ProblemUndecoded  FetchProblem = "undecodable"     // a batch that does not parse, decompress or match its checksum
	ProblemRefused    FetchProblem = "refused"         // the broker will not serve it: rights, versions
	ProblemOther      FetchProblem = "other"
)

func fetchProblem(err error) FetchProblem {
	var loss *kgo.ErrDataLoss
	_, ke, known := ruleFor(err)
	switch {
	case errors.As(err, &loss):
		return ProblemTruncated
	case errors.Is(err, kerr.OffsetOutOfRange):
		return ProblemOutOfRange
	case errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID):
		return ProblemRecreated
	case errors.Is(err, kerr.CorruptMessage), ke == nil && !kgo.IsRetryableBrokerErr(err) && !isContext(err):
		return ProblemUndecoded
	case known && rules[ke].class.NeedsPerson():
		return ProblemRefused
	}
	return ProblemOther
}
