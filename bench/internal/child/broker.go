package child

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"
)

// serveBroker keeps its topics in memory.
func serveBroker(ctx context.Context, port int) error {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.ClusterID("waybill-bench"))
	if err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	defer cluster.Close()
	<-ctx.Done()
	return nil
}
