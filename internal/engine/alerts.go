package engine

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/waybill-data/waybill/internal/alert"
	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/ledger"
)

// alertWait bounds how long a pipeline that ends waits for its last alerts to be delivered.
const alertWait = 5 * time.Second

// newAlerts makes the sender of a pipeline's alerts. It lives as long as the pipeline: what it has to tell may be that the sink is away.
func (p *Pipeline) newAlerts() *alert.Sender {
	me := worker() + " " + uuid.NewString()
	return alert.New(receivers(p.cfg.Alerts), alert.Deps{
		Log: p.log,
		Count: func(receiver string, o alert.Outcome, n int) {
			p.metrics.Alerts(receiver, string(o), n)
		},
		Waiting: p.metrics.SetAlertsWaiting,
		Claims: func() alert.Claims {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.target == nil {
				return nil
			}
			return &ledger.AlertClaims{Store: p.target.ledger, Pipeline: p.cfg.Name, Worker: me}
		},
	})
}

func receivers(alerts []config.Alert) []alert.Receiver {
	var out []alert.Receiver
	for _, a := range alerts {
		r := alert.Receiver{Name: a.Name, Protocol: alert.Protocol(a.Protocol), URL: a.URL.Reveal(), Labels: a.Labels, Severity: a.Severity, Kinds: a.Kinds, Headers: map[string]string{}}
		for name, value := range a.Headers {
			r.Headers[name] = value.Reveal()
		}
		out = append(out, r)
	}
	return out
}

// startAlerts has alerts delivered until stop is called.
func (p *Pipeline) startAlerts(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.alerts.Run(ctx)
	}()
	return func() { cancel(); <-done }
}

// flushAlerts waits for what is on its way, for a while.
func (p *Pipeline) flushAlerts() {
	ctx, cancel := context.WithTimeout(context.Background(), alertWait)
	defer cancel()
	p.alerts.Flush(ctx)
}
