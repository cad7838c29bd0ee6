package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/bench/internal/child"
	"github.com/waybill-data/waybill/bench/internal/result"
	"github.com/waybill-data/waybill/bench/internal/system"
	"github.com/waybill-data/waybill/internal/testenv/kafkaserver"
	"github.com/waybill-data/waybill/internal/testenv/proc"
)

// broker is one of the two, in a process of its own.
type broker struct {
	name  string
	addr  string
	pid   int
	admin *kadm.Client
	kill  func()
}

// startTimeout bounds the start of anything.
const startTimeout = 90 * time.Second

func (l *Lab) startBroker(ctx context.Context, name string) (*broker, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	b, err := &broker{name: name}, error(nil)
	switch name {
	case result.KFake:
		err = b.startKFake()
	case result.Kafka:
		err = b.startKafka(ctx, filepath.Join(l.dir, "kafka"))
	default:
		err = fmt.Errorf("no broker %q: choose %s or %s", name, result.KFake, result.Kafka)
	}
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.addr))
	if err != nil {
		b.kill()
		return nil, err
	}
	b.admin = kadm.NewClient(client)
	if err := b.await(ctx); err != nil {
		b.stop()
		return nil, fmt.Errorf("%s does not answer: %w", name, err)
	}
	return b, nil
}

func (b *broker) startKFake() error {
	port, err := proc.FreePort()
	if err != nil {
		return err
	}
	cmd, err := child.Command(child.Orders{Role: child.Broker, Port: port})
	if err != nil {
		return err
	}
	p, err := system.Start("kfake", cmd)
	if err != nil {
		return err
	}
	b.addr, b.pid, b.kill = proc.Loopback(port), p.PID(), p.Kill
	return nil
}

func (b *broker) startKafka(ctx context.Context, dir string) error {
	s, err := kafkaserver.Start(ctx, kafkaserver.Options{Dir: dir})
	if err != nil {
		return err
	}
	b.addr, b.pid, b.kill = s.Addr(), s.PID(), s.Kill
	return nil
}

func (b *broker) await(ctx context.Context) error {
	for {
		_, err := b.admin.ListBrokers(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		pause(ctx, 50*time.Millisecond)
	}
}

func (b *broker) stop() {
	b.admin.Close()
	b.kill()
}

func (b *broker) deleteTopics(ctx context.Context, topics []string) error {
	answers, err := b.admin.DeleteTopics(ctx, topics...)
	if err == nil {
		err = answers.Error()
	}
	return err
}

// ends are where a topic's partitions end: each of their records becomes a row.
func (b *broker) ends(ctx context.Context, topic string, partitions int) ([]int64, error) {
	all, err := b.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make([]int64, partitions)
	for p := range out {
		o, ok := all.Lookup(topic, int32(p))
		if !ok || o.Err != nil {
			return nil, fmt.Errorf("where partition %d of %s ends is not known: %w", p, topic, o.Err)
		}
		out[p] = o.Offset
	}
	return out, nil
}

// kafkaVersion is read off the name of the jar.
func kafkaVersion() string {
	jars, err := kafkaserver.Locate()
	if err != nil {
		return "unknown"
	}
	files, err := filepath.Glob(filepath.Join(jars, "kafka_*.jar"))
	if err != nil {
		return "unknown"
	}
	for _, f := range files {
		if m := regexp.MustCompile(`kafka_[\d.]+-([\d.]+)\.jar$`).FindStringSubmatch(f); m != nil {
			return m[1]
		}
	}
	return "unknown"
}

// pause waits, but not beyond ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
