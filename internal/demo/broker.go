package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill/internal/testenv/proc"
)

// BrokerCommand is the hidden command under `waybill demo` that ServeBroker is behind.
const BrokerCommand = "broker"

// ServeBroker runs the stand-in for Apache Kafka in this process, with its log in dir, until ctx ends or stdin does: stdin is
// a pipe from the demo, and so this process ends with the demo however that ends.
func ServeBroker(ctx context.Context, dir string, port int, stdin io.Reader) error {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.ClusterID("waybill-demo"),
		kfake.DataDir(dir), kfake.SyncWrites(), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	defer cluster.Close()
	orphaned := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // an error is an end as well
		close(orphaned)
	}()
	select {
	case <-ctx.Done():
	case <-orphaned:
	}
	return nil
}

// broker is the stand-in as a child process.
type broker struct {
	*proc.Daemon
	addr  string
	admin *kadm.Client
}

func startBroker(ctx context.Context, o *Options, dir string, log io.Writer) (*broker, error) {
	port, err := proc.FreePort()
	if err != nil {
		return nil, err
	}
	b := &broker{addr: proc.Loopback(port)}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.addr))
	if err != nil {
		return nil, err
	}
	b.admin = kadm.NewClient(client)
	b.Daemon = proc.New(proc.Spec{
		Name: "the broker",
		Command: func() (*exec.Cmd, error) {
			cmd, err := o.Command("demo", BrokerCommand, filepath.Join(dir, "kafka"), strconv.Itoa(port))
			if err != nil {
				return nil, err
			}
			_, err = cmd.StdinPipe()
			return cmd, err
		},
		Ready: func(ctx context.Context) error { _, err := b.admin.ListBrokers(ctx); return err },
		Log:   log,
	})
	if err := b.Start(ctx); err != nil {
		b.admin.Close()
		return nil, err
	}
	return b, nil
}

func (b *broker) stop() {
	b.admin.Close()
	b.Kill()
}

func (b *broker) createTopic(ctx context.Context, partitions int32) error {
	answers, err := b.admin.CreateTopics(ctx, partitions, 1, nil, topic)
	if err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	if err := answers[topic].Err; err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	return nil
}

// committed is how far the group has settled each partition: one offset per partition, 0 where there is none yet.
func (b *broker) committed(ctx context.Context, partitions int32) ([]int64, error) {
	out := make([]int64, partitions)
	answers, err := b.admin.FetchOffsets(ctx, group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return out, nil // nobody has joined yet
	}
	if err != nil {
		return nil, fmt.Errorf("fetch the group's offsets: %w", err)
	}
	var problems []error
	answers.Each(func(r kadm.OffsetResponse) {
		if r.Err != nil {
			problems = append(problems, r.Err)
		} else if r.Topic == topic && r.Partition < partitions {
			out[r.Partition] = max(0, r.At)
		}
	})
	return out, errors.Join(problems...)
}

// ends are the end offsets of the partitions.
func (b *broker) ends(ctx context.Context, partitions int32) ([]int64, error) {
	out := make([]int64, partitions)
	listed, err := b.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("list end offsets: %w", err)
	}
	listed.Each(func(l kadm.ListedOffset) {
		if l.Err == nil && l.Partition < partitions {
			out[l.Partition] = l.Offset
		}
	})
	return out, listed.Error()
}
