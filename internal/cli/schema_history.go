package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
	"github.com/waybill-data/waybill/internal/ledger"
)

func newSchemaHistory(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history FILE",
		Short: "What changed when, by offset",
		Long: `What changed when, by offset: the pipeline's plans in the order in which they
were first used, with the first offset of each partition that each one wrote,
what is different from the plan before, and the changes of the table that
Waybill carried out or was refused.

The first offsets are exact however old. Records are counted by plan; in rows
of the ledger that are older than eight days, by the plan with the highest id of
the row.`,
		Example: `  waybill schema history llm-calls.yaml
  waybill schema history llm-calls.yaml -o json | jq '.plans[].first'`,
		Args: args(cobra.ExactArgs(1)),
	}
	o := outputFlag(cmd)
	cmd.RunE = withDesk(func(ctx context.Context, d *desk, _ []string) error { return schemaHistory(ctx, s, *o, d) })
	return cmd
}

// history is what `schema history -o json` prints.
type history struct {
	Pipeline string     `json:"pipeline"`
	Epoch    uint32     `json:"epoch"`
	Plans    []planUsed `json:"plans"` // in order of first use; those not used last
	// Refused are the changes that the server did not carry out, oldest first.
	Refused []tableChange `json:"refused"`
}

type planUsed struct {
	Plan        string        `json:"plan"`
	FirstSeen   time.Time     `json:"first_seen"`
	FirstUsed   *time.Time    `json:"first_used,omitempty"`
	First       []firstOffset `json:"first"`       // by topic and partition
	Differences []difference  `json:"differences"` // from the plan before
	Changes     []tableChange `json:"changes"`     // of the table, that led to this plan

	plan *contract.Plan
}

type firstOffset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Read      int64  `json:"read"`
	Written   int64  `json:"written"`
}

type tableChange struct {
	At        time.Time `json:"at"`
	Kind      string    `json:"kind"`
	Column    string    `json:"column"`
	Path      string    `json:"path"`
	FromType  string    `json:"from_type,omitempty"`
	ToType    string    `json:"to_type"`
	Why       string    `json:"why"`
	Statement string    `json:"statement"`
	Error     string    `json:"error,omitempty"`
	Topic     string    `json:"topic,omitempty"` // of the record that first needed it
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
}

func schemaHistory(ctx context.Context, s Streams, o output, d *desk) error {
	h, err := d.history(ctx)
	if err != nil {
		return err
	}
	if o == outputJSON {
		return printJSON(s.Out, h)
	}
	return h.print(s.Out)
}

func (d *desk) history(ctx context.Context) (*history, error) {
	if err := d.recorded(ctx); err != nil {
		return nil, err
	}
	plans, err := d.ledger.Plans(ctx, d.cfg.Name)
	if err != nil {
		return nil, unreached(err)
	}
	uses, err := d.ledger.PlanUses(ctx, d.cfg.Name, d.cfg.Epoch)
	if err != nil {
		return nil, unreached(err)
	}
	made, err := d.ledger.Changes(ctx, d.cfg.Name)
	if err != nil {
		return nil, unreached(err)
	}
	h := &history{Pipeline: d.cfg.Name, Epoch: uint32(d.cfg.Epoch), Plans: []planUsed{}, Refused: []tableChange{}}
	if err := h.order(plans, uses); err != nil {
		return nil, err
	}
	h.place(made)
	return h, nil
}

// order puts the plans in the order of their first use.
func (h *history) order(plans []ledger.Plan, uses []ledger.PlanUse) error {
	for _, p := range ledger.OwnPlans(plans) {
		parsed, err := contract.ParsePlan([]byte(p.Text))
		if err != nil {
			return err
		}
		used := planUsed{Plan: p.ID.String(), FirstSeen: p.FirstSeen, First: []firstOffset{}, Differences: []difference{}, Changes: []tableChange{}, plan: parsed}
		for _, u := range uses {
			if u.Plan != p.ID {
				continue
			}
			used.First = append(used.First, firstOffset{u.Topic, u.Partition, u.First, u.Read, u.Written})
			if at := u.Time; used.FirstUsed == nil || at.Before(*used.FirstUsed) {
				used.FirstUsed = &at
			}
		}
		h.Plans = append(h.Plans, used)
	}
	slices.SortStableFunc(h.Plans, func(a, b planUsed) int {
		return cmp.Or(cmp.Compare(b2i(a.FirstUsed == nil), b2i(b.FirstUsed == nil)), a.since().Compare(b.since()))
	})
	for i := 1; i < len(h.Plans); i++ {
		h.Plans[i].Differences = differences(h.Plans[i-1].plan, h.Plans[i].plan)
	}
	return nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// since is when the plan was first used, or else seen.
func (p *planUsed) since() time.Time {
	if p.FirstUsed != nil {
		return *p.FirstUsed
	}
	return p.FirstSeen
}

// place puts each change beside the plan that it led to.
func (h *history) place(made []ledger.Change) {
	for _, c := range made {
		change := tableChange{
			At: c.At, Kind: string(c.Kind), Column: c.Column, Path: c.Path, FromType: c.From, ToType: c.Type, Why: c.Why, Statement: c.Statement, Error: c.Error,
			Topic: c.First.Topic, Partition: c.First.Partition, Offset: c.First.Offset,
		}
		i := slices.IndexFunc(h.Plans, func(p planUsed) bool { return c.After != 0 && p.is(c.After) })
		if c.Outcome == ledger.OutcomeRefused {
			h.Refused = append(h.Refused, change)
		} else if i >= 0 {
			h.Plans[i].Changes = append(h.Plans[i].Changes, change)
		}
	}
}

// is reports whether the plan, or that of one of its routes, has the id.
func (p *planUsed) is(id waybill.PlanID) bool {
	return p.plan.ID() == id || slices.ContainsFunc(p.plan.Routes(), func(r contract.Route) bool { return r.Plan.ID() == id })
}

func (h *history) print(w io.Writer) error {
	var b strings.Builder
	wrap(&b, "", fmt.Sprintf("%s, epoch %d: %d plans", h.Pipeline, h.Epoch, len(h.Plans)))
	for i := range h.Plans {
		b.WriteByte('\n')
		h.Plans[i].print(&b)
	}
	if len(h.Refused) > 0 {
		b.WriteByte('\n')
		wrap(&b, "", "refused by the server:")
		for _, c := range h.Refused {
			wrap(&b, "  ", fmt.Sprintf("%s %s: %s", moment(c.At), c.text(), c.Error))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *planUsed) print(b *strings.Builder) {
	switch {
	case p.FirstUsed == nil:
		wrap(b, "", fmt.Sprintf("plan %s, seen %s, not used", p.Plan, moment(p.FirstSeen)))
	default:
		wrap(b, "", fmt.Sprintf("plan %s, used from %s on", p.Plan, moment(*p.FirstUsed)))
	}
	shown := p.First[:min(len(p.First), maxShown)]
	for _, f := range shown {
		wrap(b, "  ", fmt.Sprintf("%s/%d from offset %d: read %s, written %s", f.Topic, f.Partition, f.Offset, count(f.Read), count(f.Written)))
	}
	more(b, len(p.First)-len(shown), "partitions")
	for _, x := range p.Differences {
		wrap(b, "  ", x.String())
	}
	for _, c := range p.Changes {
		wrap(b, "  ", fmt.Sprintf("%s %s", moment(c.At), c.text()))
	}
}

// text is a change in words.
func (c tableChange) text() string {
	what := fmt.Sprintf("added %s %s for %s", c.Column, c.ToType, c.Path)
	if c.FromType != "" {
		what = fmt.Sprintf("%s from %s to %s for %s", c.Column, c.FromType, c.ToType, c.Path)
	}
	if c.Topic != "" {
		what += fmt.Sprintf(", first needed at %s/%d offset %d", c.Topic, c.Partition, c.Offset)
	}
	return what + ": " + c.Why
}
