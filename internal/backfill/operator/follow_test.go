package operator

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/backfill"
)

// moving is a live pipeline that settles a thousand records a second, and the account of a backfill.
type moving struct {
	Live
	live, tip int64
}

func (m *moving) Committed(context.Context) (backfill.Positions, error) {
	return backfill.Positions{0: m.live}, nil
}

func (m *moving) Tips(context.Context, waybill.Epoch) (backfill.Positions, error) {
	return backfill.Positions{0: m.tip}, nil
}

func (m *moving) Begins(context.Context) (backfill.Positions, error) {
	return backfill.Positions{0: 0}, nil
}

// following fills a table whose account is lag seconds behind what it is told to read, for so many seconds at most. It says where live was when it had caught up.
func following(t *testing.T, lag, most int) (caught bool, until int64) {
	t.Helper()
	m := &moving{live: 50_000}
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	var beside func(context.Context)
	o := New(Deps{Live: m, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now },
		Every: func(_ context.Context, _ time.Duration, fn func(context.Context)) func() {
			beside = fn
			return func() {}
		}})
	o.last.Store(&backfill.Job{ID: "j"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.Deps.Run = func(ctx context.Context, w Work) error {
		var told []int64
		for second := 0; second < most; second++ {
			now = now.Add(time.Second)
			m.live += 1000
			beside(ctx)
			u, final := w.Until()
			told = append(told, u[0])
			if second >= lag {
				m.tip = told[second-lag]
			}
			if until = u[0]; final && m.tip == until {
				return nil
			}
		}
		cancel()
		return nil
	}
	caught, err := o.follow(ctx, "events_backfill_1")
	if err != nil {
		t.Fatal(err)
	}
	return caught, until
}

// A batch takes longer than a look at it: what live has settled a second ago is never there.
func TestFollow_EndsThoughLiveGoesOn(t *testing.T) {
	for _, lag := range []int{0, 1, 3, 8} {
		caught, until := following(t, lag, 60)
		if want := int64(50_000 + 1000*(2*lag+3)); !caught || until > want {
			t.Errorf("%d seconds behind: caught up: %v, at %d", lag, caught, until)
		}
	}
}

func TestFollow_HasNotCaughtUpFarBehind(t *testing.T) {
	if caught, _ := following(t, 15, 60); caught {
		t.Error("it has caught up, 15 seconds behind")
	}
}
