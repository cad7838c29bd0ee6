package check

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/delivery"
	"github.com/waybill-data/waybill/internal/kafka"
)

var kafkaChecks = []Check{
	{ID: "brokers", Group: GroupKafka, Asks: "a broker answers", judge: judgeBrokers},
	{ID: "advertised", Group: GroupKafka, Asks: "the addresses that the cluster names answer", Needs: []string{"brokers"}, judge: judgeAdvertised},
	{ID: "topic", Group: GroupKafka, Asks: "the topic is there", Needs: []string{"brokers"}, judge: judgeTopic},
	{ID: "topic_read", Group: GroupKafka, Asks: "the user may read the topic", Needs: []string{"topic"}, judge: judgeTopicRead},
	{ID: "group", Group: GroupKafka, Asks: "the user may use the group", Needs: []string{"brokers"}, judge: judgeGroup},
	{ID: "group_use", Group: GroupKafka, Asks: "nobody else is in the group", Needs: []string{"group"}, judge: judgeGroupUse},
	{ID: "position", Group: GroupKafka, Asks: "the group's position is in the topic", Needs: []string{"topic", "group"}, judge: judgePosition},
	{ID: "retention", Group: GroupKafka, Asks: "records are kept until they are read", Needs: []string{"topic", "group"}, judge: judgeRetention},
	{ID: "compaction", Group: GroupKafka, Asks: "the topic keeps every record", Needs: []string{"topic"}, judge: judgeCompaction},
	{ID: "record_size", Group: GroupKafka, Asks: "the largest record fits", Needs: []string{"topic"}, judge: judgeRecordSize},
	{ID: "offset_metadata", Group: GroupKafka, Asks: "the brokers take the intents of batches", Needs: []string{"brokers"}, judge: judgeOffsetMetadata},
	{ID: "session_timeout", Group: GroupKafka, Asks: "the brokers take the session timeout", Needs: []string{"brokers"}, judge: judgeSession},
	{ID: "record_time", Group: GroupKafka, Asks: "records bear times that have been", Needs: []string{"topic"}, judge: judgeRecordTime},
	{ID: "dead_letter_topic", Group: GroupKafka, Asks: "dead letters can go to their topic", Needs: []string{"brokers"}, judge: judgeMirror},
}

// reaches are what an address that does not answer is told by, and what to do.
var reaches = map[kafka.Reach]struct{ what, mend string }{
	kafka.ReachNoHost:    {"the name does not resolve", "correct the host in source.kafka.brokers, or the DNS of this machine"},
	kafka.ReachRefused:   {"nobody listens there", "correct the port in source.kafka.brokers, or start the broker"},
	kafka.ReachSilent:    {"there is no answer in time", "look for a firewall, or for a port of another service"},
	kafka.ReachWantsTLS:  {"it speaks TLS, and the file speaks to it without", "speak TLS to it, or name the port of a listener without TLS"},
	kafka.ReachPlain:     {"it speaks no TLS, and the file speaks TLS to it", "name the port of a listener with TLS, or speak to it without"},
	kafka.ReachUntrusted: {"its certificate does not hold", "name the authority that has signed it, and the host that is in it"},
	kafka.ReachCertAsked: {"it asks for a client certificate", "give a client certificate and its key"},
	kafka.ReachWantsSASL: {"it wants to know who is calling (SASL), and the file names no user", "give the user and the mechanism, or name the port of a listener without SASL"},
	kafka.ReachNoSASL:    {"it does not offer the SASL mechanism of the file", "use a mechanism that it offers"},
	kafka.ReachDenied:    {"it does not take the user and password", "correct the user, the password or the mechanism"},
	kafka.ReachStranger:  {"whoever answers there is no Kafka broker", "correct host and port in source.kafka.brokers"},
	kafka.ReachUnknown:   {"it cannot be asked", "see what the error says"},
}

func unreached(e *kafka.Endpoint) (what, mend string) {
	r := reaches[e.Reach]
	what, mend = r.what, r.mend
	if e.Reach == kafka.ReachUnknown || e.Reach == kafka.ReachUntrusted || e.Reach == kafka.ReachStranger {
		what += ": " + e.Err.Error()
	}
	if len(e.Mechanisms) > 0 {
		what += "; it offers " + strings.Join(e.Mechanisms, ", ")
	}
	return what, mend
}

func judgeBrokers(f *Facts) verdict {
	var v verdict
	severity, good := waybill.SeverityError, 0
	for i := range f.Kafka.Seeds {
		if f.Kafka.Seeds[i].Reach == kafka.ReachOK {
			severity = waybill.SeverityWarning // one is enough to find the others
			good++
		}
	}
	for i := range f.Kafka.Seeds {
		e := &f.Kafka.Seeds[i]
		if e.Reach == kafka.ReachOK {
			continue
		}
		what, mend := unreached(e)
		v.add(Finding{Severity: severity, What: fmt.Sprintf("broker %s: %s", e.Addr, what),
			Why: "the addresses of the file are where the cluster is found", Mend: []Mend{do(mend)}})
	}
	if good > 0 && !f.Kafka.Asked {
		v.add(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("the brokers answer, and do not say what there is: %v", f.Kafka.LimitsErr),
			Why: "nothing can be read", Mend: []Mend{do("see the brokers' logs")}})
	}
	return v.orWell(fmt.Sprintf("%d of %d addresses answer", good, len(f.Kafka.Seeds)))
}

func judgeAdvertised(f *Facts) verdict {
	var v verdict
	for i := range f.Kafka.Brokers {
		e := &f.Kafka.Brokers[i]
		if e.Reach == kafka.ReachOK || slices.ContainsFunc(f.Kafka.Seeds, func(s kafka.Endpoint) bool { return s.Addr == e.Addr }) {
			continue
		}
		what, _ := unreached(e)
		host, _, _ := net.SplitHostPort(e.Addr)
		mend := "correct advertised.listeners of the broker: clients are sent to what it says"
		if host == "localhost" || host == "127.0.0.1" {
			mend += "; localhost is right for nobody but the broker's own machine"
		}
		v.add(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("the cluster sends clients to %s, and there %s", e.Addr, what),
			Why: "partitions that this broker leads cannot be read, though the addresses of the file answer", Mend: []Mend{do(mend)}})
	}
	return v.orWell(fmt.Sprintf("%d brokers", len(f.Kafka.Brokers)))
}

func topicOf(f *Facts) (string, kafka.TopicState) {
	name := f.Pipeline.Source.Kafka.Topic
	return name, f.Kafka.Topics[name]
}

// bootstrap is how the brokers are given to Kafka's own commands.
func bootstrap(f *Facts) string {
	return "--bootstrap-server " + f.Pipeline.Source.Kafka.Brokers[0]
}

func judgeTopic(f *Facts) verdict {
	name, t := topicOf(f)
	switch {
	case t.Missing:
		what := fmt.Sprintf("topic %q does not exist", name)
		mend := []Mend{command(fmt.Sprintf("kafka-topics.sh %s --create --topic %s --partitions N", bootstrap(f), name))}
		if near := config.Closest(name, f.Kafka.Visible); near != "" {
			what += fmt.Sprintf("; there is %q", near)
			mend = append([]Mend{do(fmt.Sprintf("write `topic: %s`, if that is meant", near))}, mend...)
		}
		return found(Finding{Severity: waybill.SeverityError, What: what, Why: "there is nothing to read", Mend: mend})
	case t.Denied:
		return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("the user may not see topic %q, should there be one", name),
			Why: "without DESCRIBE its partitions cannot be found", Mend: []Mend{acl(f, "--operation Describe --operation Read", "--topic "+name)}})
	case t.Err != nil:
		return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("topic %q cannot be asked about: %v", name, t.Err),
			Why: "nothing can be read", Mend: []Mend{do("see the brokers' logs")}})
	case len(t.Leaderless) > 0:
		return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("nobody leads partitions %v of topic %q", t.Leaderless, name),
			Why: "their records cannot be read until a broker that has them is back", Mend: []Mend{do("bring the brokers back that hold them")}})
	}
	if t.Replicas == 1 && len(f.Kafka.Brokers) > 1 {
		return found(Finding{Severity: waybill.SeverityInfo, What: fmt.Sprintf("topic %q has one replica in a cluster of %d brokers", name, len(f.Kafka.Brokers)),
			Why: "a broker that is lost takes records along that nobody has read yet", Mend: []Mend{do("raise the topic's replication factor")}})
	}
	return well(fmt.Sprintf("%s, %d partitions", name, len(t.Info.Partitions)))
}

// acl is the command that grants rights. The user's name is not always known here.
func acl(f *Facts, operations, resource string) Mend {
	return command(fmt.Sprintf("kafka-acls.sh %s --add --allow-principal User:NAME %s %s", bootstrap(f), operations, resource))
}

func judgeTopicRead(f *Facts) verdict {
	name, t := topicOf(f)
	if !t.RightsKnown {
		return unknown("the brokers do not say what the user may do")
	}
	if t.MayRead {
		return well("")
	}
	return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("the user may see topic %q and not read it", name),
		Why: "every fetch would be refused", Mend: []Mend{acl(f, "--operation Read", "--topic "+name)}})
}

func judgeGroup(f *Facts) verdict {
	name, g := f.Pipeline.Source.Kafka.Group, f.Kafka.Group
	switch {
	case g.Denied, g.Err == nil && g.RightsKnown && !g.MayRead:
		return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("the user may not use group %q", name),
			Why: "a worker joins it, and commits positions and intents to it", Mend: []Mend{acl(f, "--operation Read --operation Describe", "--group "+name)}})
	case g.Err != nil:
		return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("group %q cannot be asked about: %v", name, g.Err),
			Why: "a worker joins it, and commits positions to it", Mend: []Mend{do("see the brokers' logs")}})
	}
	return well(name)
}

// ours is the client id of every worker.
const ours = "waybill"

func judgeGroupUse(f *Facts) verdict {
	var others []string
	for _, m := range f.Kafka.Group.Members {
		if m.Client != ours {
			others = append(others, fmt.Sprintf("%s at %s", m.Client, strings.TrimPrefix(m.Host, "/")))
		}
	}
	if len(others) > 0 {
		return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("group %q is in use by others: %s", f.Pipeline.Source.Kafka.Group, strings.Join(others, ", ")),
			Why: "they would share the partitions: what they read, this pipeline would not", Mend: []Mend{do("give the pipeline a group of its own: source.kafka.group")}})
	}
	if n := len(f.Kafka.Group.Members); n > 0 {
		return well(fmt.Sprintf("%d workers of Waybill are in it", n))
	}
	return well("")
}

func judgePosition(f *Facts) verdict {
	name, t := topicOf(f)
	g := f.Kafka.Group
	switch {
	case g.CommittedErr != nil:
		return unknown(fmt.Sprintf("the group's offsets cannot be read: %v", g.CommittedErr))
	case t.ExtentsErr != nil:
		return unknown(fmt.Sprintf("the topic's offsets cannot be read: %v", t.ExtentsErr))
	}
	var v verdict
	at, foreign := 0, 0
	for _, p := range t.Info.Partitions {
		c, ok := g.Committed[waybill.TopicPartition{Topic: name, Partition: p.Partition}]
		if !ok {
			continue
		}
		at++
		if _, err := delivery.ParseMetadata(c.Metadata); errors.Is(err, delivery.ErrForeignMetadata) {
			foreign++
		}
		judgeOffset(f, &v, p, c.Offset)
	}
	if foreign == at && at > 0 {
		v.add(Finding{Severity: waybill.SeverityInfo, What: fmt.Sprintf("the positions of group %q were put there by another consumer", f.Pipeline.Source.Kafka.Group),
			Why: "the pipeline begins where that one has stopped; `start` has no effect", Mend: []Mend{do("choose another group, if it should not")}})
	}
	if at == 0 {
		return v.orWell("none yet; start: " + string(f.Pipeline.Source.Kafka.Start.At))
	}
	return v.orWell(fmt.Sprintf("%d of %d partitions have one", at, len(t.Info.Partitions)))
}

// judgeOffset holds a position of the group against the log and the ledger.
func judgeOffset(f *Facts, v *verdict, p kafka.PartitionInfo, offset int64) {
	of := fmt.Sprintf("%s/%d", f.Pipeline.Source.Kafka.Topic, p.Partition)
	switch {
	case offset < p.LogStart:
		v.add(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("%s begins at offset %d, and the group is at %d: %d offsets are gone unread", of, p.LogStart, offset, p.LogStart-offset),
			Why: "their records cannot be had from the topic any more; a worker puts them on record as lost and goes on", Mend: []Mend{do("raise the topic's retention before more go; run the worker")}})
	case offset > p.End:
		v.add(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("%s ends at offset %d, and the group is at %d", of, p.End, offset),
			Why: "the topic was made anew, or its log was cut: the same offsets are other records now", Mend: []Mend{do("see docs/runbook/end_below_position.md; a topic that was made anew needs a new epoch")}})
	}
	tip, ok := f.Tips[p.Partition]
	if !ok || tip <= offset || len(f.Kafka.Group.Members) > 0 { // those who are in the group commit when they have settled
		return
	}
	then := "a worker goes on where the ledger ends"
	if f.Pipeline.Source.Kafka.WhenMoved == config.Stop {
		then = "a worker stops, as the file says (when_moved: stop)"
	}
	v.add(Finding{Severity: waybill.SeverityWarning, What: fmt.Sprintf("the group is at offset %d of %s, and the ledger ends at %d", offset, of, tip),
		Why: "somebody has moved the group's position back; " + then, Mend: []Mend{do("see docs/runbook/position_moved_back.md")}})
}

// Margin is how soon records must go for `retention` to warn.
const Margin = 12 * time.Hour

func judgeRetention(f *Facts) verdict {
	name, t := topicOf(f)
	switch {
	case t.ConfigErr != nil:
		return unknown(fmt.Sprintf("the topic's settings cannot be read (DESCRIBE_CONFIGS on it): %v", t.ConfigErr))
	case t.ExtentsErr != nil || f.Kafka.Group.CommittedErr != nil:
		return unknown("positions are not known")
	case !t.Config.Deletes || t.Config.Retention < 0 && t.Config.RetentionBytes < 0:
		return well("without end")
	}
	var going int64
	for _, p := range t.Info.Partitions {
		at, start := p.LogStart, f.Pipeline.Source.Kafka.Start
		c, ok := f.Kafka.Group.Committed[waybill.TopicPartition{Topic: name, Partition: p.Partition}]
		switch {
		case ok:
			at = max(at, c.Offset)
		case start.At == config.StartOffsets:
			at = max(at, start.Offsets[p.Partition])
		case start.At != config.Earliest:
			continue
		}
		if edge, ok := t.Expiring[p.Partition]; ok && edge < 0 {
			going += p.End - at // no record is younger
		} else if ok {
			going += max(0, edge-at)
		}
	}
	if going > 0 {
		return found(Finding{Severity: waybill.SeverityWarning, What: fmt.Sprintf("topic %q removes %d offsets that are not read yet within %s: retention is %s", name, going, Margin, t.Config.Retention),
			Why:  "what is removed before it is read is lost; begin soon, or keep records for longer",
			Mend: []Mend{command(fmt.Sprintf("kafka-configs.sh %s --alter --topic %s --add-config retention.ms=%d", bootstrap(f), name, (7 * 24 * time.Hour).Milliseconds()))}})
	}
	text := t.Config.Retention.String()
	if t.Config.Retention < 0 {
		text = fmt.Sprintf("%d bytes of a partition", t.Config.RetentionBytes)
	}
	return well(text)
}

func judgeCompaction(f *Facts) verdict {
	name, t := topicOf(f)
	switch {
	case t.ConfigErr != nil:
		return unknown("the topic's settings cannot be read")
	case !t.Config.Compacted:
		return well("")
	}
	return found(Finding{Severity: waybill.SeverityWarning, What: fmt.Sprintf("topic %q is compacted: of each key it keeps the latest record", name),
		Why:  "earlier ones go, read or not, and nobody can tell them from offsets that never had a record; a backfill makes the rows of what is left",
		Mend: []Mend{do("keep the records: `archive` in the file, or cleanup.policy=delete on the topic")}})
}

func judgeRecordSize(f *Facts) verdict {
	name, t := topicOf(f)
	if t.ConfigErr != nil {
		return unknown("the topic's settings cannot be read")
	}
	largest, batch := t.Config.MaxMessage, f.Pipeline.Batch.Bytes
	lower := command(fmt.Sprintf("kafka-configs.sh %s --alter --topic %s --add-config max.message.bytes=%d", bootstrap(f), name, min(batch, f.Demands.MaxRead)))
	switch {
	case largest > f.Demands.MaxRead:
		return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("topic %q takes batches of up to %d bytes, and Waybill reads answers of up to %d", name, largest, f.Demands.MaxRead),
			Why: "one such batch would stop its partition for good", Mend: []Mend{lower}})
	case largest > batch:
		return found(Finding{Severity: waybill.SeverityWarning, What: fmt.Sprintf("topic %q takes batches of up to %d bytes, more than batch.bytes (%d)", name, largest, batch),
			Why: "a record as large as that would be a batch of its own, past the memory that the file allows for one", Mend: []Mend{do(fmt.Sprintf("write batch.bytes of %d or more", largest)), lower}})
	}
	return well(fmt.Sprintf("up to %d bytes", largest))
}

func judgeOffsetMetadata(f *Facts) verdict {
	if f.Kafka.LimitsErr != nil {
		return unknown(fmt.Sprintf("the brokers' settings cannot be read (DESCRIBE_CONFIGS on the cluster): offset.metadata.max.bytes must be at least %d: %v", f.Demands.Metadata, f.Kafka.LimitsErr))
	}
	have := f.Kafka.Limits.OffsetMetadata
	if have == 0 {
		return unknown("the brokers do not say what offset.metadata.max.bytes is")
	}
	if have < f.Demands.Metadata && f.Pipeline.Delivery == config.ExactlyOnce {
		return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("offset.metadata.max.bytes of the brokers is %d, and %d batches in flight take up to %d", have, f.Demands.InFlight, f.Demands.Metadata),
			Why:  "what a worker is about to insert is on record beside the group's offsets; the commit would be refused",
			Mend: []Mend{do("write offset.metadata.max.bytes=4096, which is Kafka's default, into the brokers' server.properties and restart them")}})
	}
	return well(fmt.Sprintf("offset.metadata.max.bytes is %d, %d are needed", have, f.Demands.Metadata))
}

func judgeSession(f *Facts) verdict {
	l, k := f.Kafka.Limits, f.Pipeline.Source.Kafka
	if f.Kafka.LimitsErr != nil || k.Protocol == config.Consumer { // the broker's own setting rules
		return well("")
	}
	if k.SessionTimeout >= l.MinSession && (k.SessionTimeout <= l.MaxSession || l.MaxSession == 0) {
		return well(fmt.Sprintf("%s, the brokers take %s to %s", k.SessionTimeout, l.MinSession, l.MaxSession))
	}
	return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("session_timeout is %s, and the brokers take %s to %s", k.SessionTimeout, l.MinSession, l.MaxSession),
		Why: "the group would refuse the worker", Mend: []Mend{do(fmt.Sprintf("write source.kafka.session_timeout of %s to %s", l.MinSession, l.MaxSession))}})
}

// aheadLimit is how far in the future a record's time may be without a word.
const aheadLimit = time.Minute

func judgeRecordTime(f *Facts) verdict {
	name, t := topicOf(f)
	if t.Newest < 0 {
		return well("")
	}
	newest := time.UnixMilli(t.Newest)
	if ahead := newest.Sub(f.Now); ahead > aheadLimit {
		return found(Finding{Severity: waybill.SeverityWarning, What: fmt.Sprintf("a record of topic %q bears a time %s from now", name, ahead.Round(time.Second)),
			Why:  "the clock of a producer, of the broker or of this machine is wrong, or the time is in other units; retention and counts by the minute go by it",
			Mend: []Mend{do("set the clocks (NTP), or see what producers write")}})
	}
	return well("the newest is of " + newest.UTC().Format(time.DateTime))
}

func judgeMirror(f *Facts) verdict {
	name := f.Pipeline.DeadLetters.Mirror
	if name == "" {
		return well("")
	}
	t := f.Kafka.Topics[name]
	switch {
	case t.Missing:
		return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("topic %q, which dead letters go to, does not exist", name),
			Why: "batches with dead letters would wait for it", Mend: []Mend{command(fmt.Sprintf("kafka-topics.sh %s --create --topic %s", bootstrap(f), name))}})
	case t.Denied, t.Err == nil && t.RightsKnown && !t.MayWrite:
		return found(Finding{Severity: waybill.SeverityError, What: fmt.Sprintf("the user may not write to topic %q, which dead letters go to", name),
			Why: "batches with dead letters would wait for it", Mend: []Mend{acl(f, "--operation Write --operation Describe", "--topic "+name)}})
	case t.Err != nil:
		return unknown(fmt.Sprintf("topic %q: %v", name, t.Err))
	}
	return well(name)
}
