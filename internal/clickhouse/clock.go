package clickhouse

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

// clockAge is how old a measurement of the server's clock may be before an INSERT with a deadline takes a new one first.
const clockAge = time.Minute

// serverClock is the last measurement of how far the server's clock is ahead of ours.
type serverClock struct {
	mu       sync.RWMutex
	offset   time.Duration // server - local
	margin   time.Duration // half the round trip: the true offset is within offset ± margin
	measured time.Time     // by the local clock; zero: never
}

// ServerNow is the server's clock at the given local time, as last measured. See ClockMargin for how well.
func (c *Client) ServerNow(local time.Time) time.Time {
	c.clock.mu.RLock()
	defer c.clock.mu.RUnlock()
	return local.Add(c.clock.offset)
}

// ClockMargin bounds the error of ServerNow at the time of the last measurement.
func (c *Client) ClockMargin() time.Duration {
	c.clock.mu.RLock()
	defer c.clock.mu.RUnlock()
	return c.clock.margin
}

// MeasureClock measures the server's clock offset anew.
func (c *Client) MeasureClock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.QueryTimeout)
	defer cancel()
	return c.withConn(ctx, "clickhouse.clock", c.measure)
}

// measure asks twice, because the first query on a connection is slower, and keeps the quicker round trip.
func (c *Client) measure(ctx context.Context, cn *conn) error {
	var offset, margin time.Duration
	for i := range 2 {
		sent := c.now()
		micros, err := serverMicros(ctx, cn, c.reads)
		if err != nil {
			return err
		}
		half := c.now().Sub(sent) / 2
		if i == 0 || half < margin {
			offset, margin = time.UnixMicro(micros).Sub(sent.Add(half)), half
		}
	}
	c.clock.mu.Lock()
	defer c.clock.mu.Unlock()
	c.clock.offset, c.clock.margin, c.clock.measured = offset, margin, c.now()
	return nil
}

func serverMicros(ctx context.Context, cn *conn, reads []ch.Setting) (int64, error) {
	var column proto.ColInt64
	answer, got := int64(0), false
	err := cn.do(ctx, &statement{
		body:     "SELECT toUnixTimestamp64Micro(now64(6)) AS t",
		settings: reads,
		result:   proto.Results{{Name: "t", Data: &column}},
		onRows: func(int) error {
			answer, got = column.Row(0), true
			return nil
		},
	})
	if err == nil && !got {
		err = errors.New("the server did not say what time it is")
	}
	return answer, err
}

// refreshClock measures on cn if the last measurement is old.
func (c *Client) refreshClock(ctx context.Context, cn *conn) error {
	c.clock.mu.RLock()
	age := c.now().Sub(c.clock.measured)
	c.clock.mu.RUnlock()
	if age < clockAge {
		return nil
	}
	return c.measure(ctx, cn)
}
