package diff

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/clickhouse"
	"github.com/waybill-data/waybill/internal/contract"
)

// pair is a column of both tables, or of one.
type pair struct {
	Column
	as string // the type that values are compared as; empty: as text
	// ordered: the server can say which value is the least.
	ordered bool
	rescued bool // it is the rescue column, of which the plan's id is not compared
}

// in is the column's type in a table; empty: the table does not have it.
func (p *pair) in(s *side) string {
	if s.name == "live" {
		return p.Live
	}
	return p.Shadow
}

func (p *pair) values(s *side) *Values {
	if s.name == "live" {
		return &p.Values
	}
	return &p.Shadows
}

// value is an expression for a value as it is compared.
func (p *pair) value(s *side) string {
	if p.rescued {
		return fmt.Sprintf(`replaceRegexpOne(replaceRegexpOne(%s, '^\\{"plan":"[0-9a-f]{16}",', '{'), ',"plan":"[0-9a-f]{16}"\\}$', '}')`, canonical(p.Name, p.in(s), ""))
	}
	return canonical(p.Name, p.in(s), p.as)
}

// hash is an expression for the hash of a value. The tuple keeps NULL from making the hash NULL.
func (p *pair) hash(s *side) string { return fmt.Sprintf("cityHash64(tuple(%s))", p.value(s)) }

// pair finds a column by name.
func (c *comparison) pair(name string) *pair {
	i := slices.IndexFunc(c.columns, func(p *pair) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return c.columns[i]
}

// compared are the columns whose values are compared; those of the key are equal by being it.
func (c *comparison) compared() []*pair {
	return slices.DeleteFunc(slices.Clone(c.columns), func(p *pair) bool { return p.State != Compared })
}

// canonical is an expression for the value of a column of one type as another; as text if that is empty.
func canonical(name, from, as string) string {
	v := clickhouse.Ident(name)
	switch bare := bareType(from); {
	case as == "" && isComposite(bare), loose(bare):
		if strings.HasPrefix(bare, "Dynamic") {
			return fmt.Sprintf("concat(dynamicType(%[1]s), ' ', toJSONString(%[1]s))", v)
		}
		return fmt.Sprintf("toJSONString(%s)", v) // paths in order, wherever a part keeps them
	case as == "":
		return fmt.Sprintf("toString(%s)", v)
	case bare != as:
		v = fmt.Sprintf("CAST(%s, %s)", v, clickhouse.Literal(as))
	}
	if plain := withoutNull(as); plain == "Float32" || plain == "Float64" {
		return fmt.Sprintf("if(isNaN(%[1]s), CAST(nan, %[2]s), %[1]s)", v, clickhouse.Literal(as)) // there are many NaNs
	}
	return v
}

// bareType is a type without what only concerns how it is kept.
func bareType(t string) string {
	if inner, ok := strings.CutPrefix(t, "LowCardinality("); ok {
		return strings.TrimSuffix(inner, ")")
	}
	return t
}

func withoutNull(t string) string {
	if inner, ok := strings.CutPrefix(t, "Nullable("); ok {
		return strings.TrimSuffix(inner, ")")
	}
	return t
}

// loose types keep values of many types, each part in its own way: they are compared as they are written.
func loose(t string) bool {
	return strings.HasPrefix(t, "Dynamic") || strings.Contains(t, "JSON") || strings.Contains(t, "Dynamic")
}

// isComposite: values of such a type have parts, and no order that says something.
func isComposite(t string) bool {
	for _, begin := range []string{"Array(", "Map(", "Tuple(", "Nested(", "Variant(", "JSON", "Dynamic", "AggregateFunction(", "SimpleAggregateFunction(", "Point", "Ring", "Polygon", "MultiPolygon", "LineString", "MultiLineString", "QBit("} {
		if strings.HasPrefix(t, begin) {
			return true
		}
	}
	return false
}

// pairs looks which columns there are, and how they can be compared.
func (c *comparison) pairs(ctx context.Context) error {
	for _, in := range c.shadow.schema.Columns {
		if holds(in) {
			c.columns = append(c.columns, &pair{Column: Column{Name: in.Name, State: New, Shadow: in.Type}})
		}
	}
	for _, in := range c.live.schema.Columns {
		if !holds(in) {
			continue
		}
		if p := c.pair(in.Name); p != nil {
			p.Live, p.State = in.Type, Compared
		} else {
			c.columns = append(c.columns, &pair{Column: Column{Name: in.Name, State: Gone, Live: in.Type}})
		}
	}
	for _, p := range c.columns {
		if err := c.settle(ctx, p); err != nil {
			return err
		}
	}
	for _, name := range c.opts.Key {
		if p := c.pair(name); p == nil || p.Live == "" || p.Shadow == "" {
			return refused(waybill.ClassConfig, "", "column %s does not hold values in both tables: rows cannot be matched by it", name)
		}
	}
	// Compared ones first, each group as its table has it.
	order := []State{Compared, New, Gone, NotCompared}
	slices.SortStableFunc(c.columns, func(a, b *pair) int { return slices.Index(order, a.State) - slices.Index(order, b.State) })
	return nil
}

func holds(in contract.TableColumn) bool {
	return in.DefaultKind != "ALIAS" && in.DefaultKind != "EPHEMERAL"
}

// settle decides how a column is compared.
func (c *comparison) settle(ctx context.Context, p *pair) error {
	p.Varies = varies(p.Name, c.shadow.schema.Columns)
	if p.Varies == "" {
		p.Varies = varies(p.Name, c.live.schema.Columns)
	}
	p.as = bareType(p.Live)
	if p.Live == "" {
		p.as = bareType(p.Shadow)
	}
	if p.State == Compared {
		p.except(c)
	}
	if p.State == Compared && p.Varies != "" && c.opts.Plan != nil && leftToServer(c.opts.Plan, p.Name) {
		p.State, p.Why = NotCompared, madeUp+p.Varies
	}
	if p.State == Compared && bareType(p.Live) != bareType(p.Shadow) {
		if err := c.common(ctx, p); err != nil {
			return err
		}
	}
	if p.Name == c.opts.Rescue && p.State == Compared && holdsRescued(p.Live) && holdsRescued(p.Shadow) {
		p.rescued, p.As = true, "text, without the plan's id"
	}
	return c.probe(ctx, p)
}

// holdsRescued: a rescue column is text, or JSON.
func holdsRescued(t string) bool {
	plain := withoutNull(bareType(t))
	return plain == "String" || strings.HasPrefix(plain, "JSON")
}

// Reasons why a column is not compared that are no news.
const (
	ByKey   = "rows are matched by it"
	ByEpoch = "it says which epoch wrote the row"
)

// madeUp is why a column says nothing of the records.
const madeUp = "the server fills it, with another value each time: "

// except leaves out what is no value.
func (p *pair) except(c *comparison) {
	switch name := p.Name; {
	case slices.Contains(c.opts.Without, name):
		p.State, p.Why = NotCompared, "it was left out by --without"
	case slices.Contains(c.opts.Key, name), len(c.opts.Key) == 0 && slices.Contains([]string{c.live.by.Topic, c.live.by.Partition, c.live.by.Offset}, name):
		p.State, p.Why = NotCompared, ByKey
	case name == c.live.by.Epoch || name == c.shadow.by.Epoch:
		p.State, p.Why = NotCompared, ByEpoch
	}
}

// common finds the type that takes the values of both. If the server says that there is none, it is text.
func (c *comparison) common(ctx context.Context, p *pair) error {
	p.as, p.As = "", "text"
	err := c.texts(ctx, fmt.Sprintf("SELECT toTypeName([defaultValueOfTypeName(%s), defaultValueOfTypeName(%s)][1]) AS waybill_type", clickhouse.Literal(bareType(p.Live)), clickhouse.Literal(bareType(p.Shadow))),
		[]string{"waybill_type"}, func(row []string) error {
			if t := bareType(row[0]); !loose(t) && !strings.Contains(t, "Variant(") {
				p.as, p.As = t, t
			}
			return nil
		})
	if err != nil && serverCode(err) == 0 {
		return err
	}
	return nil
}

// probe asks the server whether it can do what will be asked of it.
func (c *comparison) probe(ctx context.Context, p *pair) error {
	for _, s := range c.sides() {
		if p.in(s) == "" {
			continue
		}
		err := c.client.Exec(ctx, fmt.Sprintf("SELECT %s FROM %s LIMIT 0%s", p.hash(s), s.from(), c.settings()))
		switch {
		case err == nil:
		case serverCode(err) == 0:
			return err
		default:
			p.State, p.Why = NotCompared, fmt.Sprintf("the server does not compare values of %s: %v", p.in(s), errors.Unwrap(err))
			return nil
		}
	}
	p.ordered = !isComposite(bareType(p.Live)) && !isComposite(bareType(p.Shadow)) && !loose(p.Live) && !loose(p.Shadow)
	return nil
}
